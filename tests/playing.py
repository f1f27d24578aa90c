"""The command lines of the simulations: one schedule by its seed, or many on all cores."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Played(NamedTuple):
    """One schedule, with its counts of events and its violations."""

    seed: int
    violations: list[str]
    counts: Mapping[str, int] = {}


def run(
    program: str,
    replay: Callable[[int], list[str]],
    play: Callable[[Sequence[int]], list[Played]],
    chunk: int,
) -> int:
    """The program's exit code: `replay` prints one schedule, `play` plays `chunk` of them in a process.

    Both return the violations. `play` must be a function that another process can import.
    """
    parser = argparse.ArgumentParser(prog=program)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="replay one schedule, step by step")
    which.add_argument("--schedules", type=int, help="play so many")
    parser.add_argument("--first", type=int, default=0, help="their first seed")
    options = parser.parse_args()
    if options.seed is not None:
        violations = replay(options.seed)
        for violation in violations:
            print(f"VIOLATION: {violation}")
        return 1 if violations else 0
    seeds = range(options.first, options.first + options.schedules)
    began = time.monotonic()
    counts, violated, failing = Counter[str](), 0, []
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else None
    with multiprocessing.Pool(cores) as pool:
        chunks = [seeds[start : start + chunk] for start in range(0, len(seeds), chunk)]
        for schedules in pool.imap_unordered(play, chunks):
            for schedule in schedules:
                counts.update(schedule.counts)
                if schedule.violations:
                    failing.append(schedule.seed)
                    violated += len(schedule.violations)
                    print(f"seed {schedule.seed}: {schedule.violations[0]}", flush=True)
    seconds = round(time.monotonic() - began, 1)
    print(
        json.dumps(
            {"schedules": len(seeds), "first": options.first}
            | counts
            | {"violations": violated, "seconds": seconds, "failing_seeds": sorted(failing)}
        )
    )
    return 1 if failing else 0
