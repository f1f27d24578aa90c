"""`python -m benchmarks [NAME…] [--rounds N]`: one JSON object a line, exit 1 if a bar is missed.

Without a name the quick ones, which take less than three minutes and no large model; `all` is every one.
"""

from __future__ import annotations

import argparse
import importlib

QUICK = ("split", "starts", "small", "cloud", "scale")
LARGE = ("memory", "serving", "training")  # slow, the last two of ProtBERT's size


def main() -> int:
    """Every benchmark named, or the quick ones."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure performance.")
    parser.add_argument(
        "names", nargs="*", choices=(*QUICK, *LARGE, "all", []), help="the quick ones if none is named"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of timing; the median is told")
    options = parser.parse_args()
    held = True
    names = [*QUICK, *LARGE] if "all" in options.names else options.names or QUICK
    for name in names:
        for row in importlib.import_module(f"benchmarks.{name}").run(options.rounds):
            print(row.line(), flush=True)
            held = held and row.holds
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
