"""`python -m benchmarks [NAME…] [--rounds N]`: one JSON object a line, exit 1 if a bar is missed."""

from __future__ import annotations

import argparse
import importlib

MODULES = ("serving", "training")


def main() -> int:
    """Every benchmark named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what is claimed.")
    parser.add_argument("names", nargs="*", choices=(*MODULES, []), help="which; all if none is named")
    parser.add_argument("--rounds", type=int, default=3, help="of timing; the median is told")
    options = parser.parse_args()
    held = True
    for name in options.names or MODULES:
        for row in importlib.import_module(f"benchmarks.{name}").run(options.rounds):
            print(row.line(), flush=True)
            held = held and row.holds
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
