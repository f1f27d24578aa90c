"""Fuzzes the reading of files, guided by coverage: `python -m tests.hostile.fuzz [libFuzzer's options] [folder]`.

Needs the extra `fuzz`. It begins with the seeds beside it, keeps new inputs in the folder if there is one,
and leaves an input that breaks a rule of `reading.check` as `crash-…` where it is run.
"""

import sys
from pathlib import Path

import atheris

READ = (
    *("alphabets", "annotation", "archives", "fasta", "formats", "headers", "layout", "lines", "nucleotides"),
    *("placeholders", "protein", "text", "three_letters", "unpack", "words"),
)

with atheris.instrument_imports(include=[f"functions.domain.{name}" for name in READ]):
    from tests.hostile.reading import check

SEEDS = Path(__file__).parent / "seeds"


def main() -> None:
    seeds = ",".join(str(path) for path in sorted(SEEDS.iterdir()))
    options = [f"-seed_inputs={seeds}", f"-dict={SEEDS}.dict", "-max_len=160", "-rss_limit_mb=512"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:]], check)  # of two alike the last one counts
    atheris.Fuzz()


if __name__ == "__main__":
    main()
