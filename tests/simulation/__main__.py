"""`make simulate SEED=17` replays one schedule, `make simulate N=10000` plays the seeds from 0 on."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable

from tests.simulation.schedule import Result, play
from tests.simulation.stage import staged

_CHUNK = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="replay one schedule, call by call")
    which.add_argument("--schedules", type=int, help="play the seeds from 0 to one less than this")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed)
    return _play_many(arguments.schedules)


def _replay(seed: int) -> int:
    with staged() as stage:
        result = play(seed, stage, print)
    print(f"\nseed {seed}: {result.steps} calls in {result.seconds:.0f} simulated seconds")
    for violation in result.violations:
        print(f"VIOLATION: {violation}")
    return 1 if result.violations else 0


def _play_many(schedules: int) -> int:
    began = time.monotonic()
    chunks = [range(first, min(first + _CHUNK, schedules)) for first in range(0, schedules, _CHUNK)]
    failed: list[Result] = []
    with multiprocessing.Pool(os.process_cpu_count() if hasattr(os, "process_cpu_count") else None) as pool:
        for results in pool.imap_unordered(play_all, chunks):
            for result in results:
                failed.append(result)
                print(f"seed {result.seed}: {result.violations[0]}", flush=True)
    answer = {
        "schedules": schedules,
        "violations": sum(len(result.violations) for result in failed),
        "seconds": round(time.monotonic() - began, 1),
        "failing_seeds": sorted(result.seed for result in failed),
    }
    print(json.dumps(answer))
    return 1 if failed else 0


def play_all(seeds: Iterable[int]) -> list[Result]:
    """Play these seeds; return the schedules in which something did not hold."""
    gc.disable()  # what a schedule leaves is let go at its end
    with staged() as stage:
        results = [play(seed, stage) for seed in seeds]
    gc.enable()
    gc.collect()
    return [result for result in results if result.violations]


if __name__ == "__main__":
    sys.exit(main())
