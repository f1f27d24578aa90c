"""Measures the claims about speed and memory again on this machine: `python -m benchmarks`.

A benchmark is a module here, named in `__main__`, with

    def run(rounds: int) -> Iterator[Row]: ...

that yields one `harness.Row` a claim. The compared ways are timed in turn, round by round, in one process on
the same weights (`harness.interleave`), and a row gives the median of the rounds' ratios. See `harness.py`.
"""
