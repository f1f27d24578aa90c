"""`make simulate-retraining SEED=17` plays one schedule, `make simulate-retraining N=5000` the seeds from 0 on."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time

from tests.retraining.schedule import Schedule, real_machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate-retraining")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="play one schedule and say how its executions ended")
    which.add_argument("--schedules", type=int, help="play the seeds from 0 to one less than this")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _play_one(arguments.seed)
    return _play_many(arguments.schedules)


def _play_one(seed: int) -> int:
    schedule = Schedule(seed, real_machine)
    violations = schedule.play()
    for execution in schedule.executions.values():
        print(f"{execution.name} {execution.slot or 'by hand'}: {execution.status} {execution.ended or ''}")
    for violation in violations:
        print(f"VIOLATION: {violation}")
    return 1 if violations else 0


def _play_many(schedules: int) -> int:
    began = time.monotonic()
    failed: dict[int, list[str]] = {}
    starts = promotions = 0
    with multiprocessing.Pool() as pool:
        for seed, violations, started, revision in pool.imap_unordered(_played, range(schedules), 20):
            starts, promotions = starts + started, promotions + revision
            if violations:
                failed[seed] = violations
                print(f"seed {seed}: {violations[0]}", flush=True)
    answer = {
        "schedules": schedules,
        "starts": starts,
        "changes_of_the_active_version": promotions,
        "violations": sum(map(len, failed.values())),
        "seconds": round(time.monotonic() - began, 1),
        "failing_seeds": sorted(failed),
    }
    print(json.dumps(answer))
    return 1 if failed else 0


def _played(seed: int) -> tuple[int, list[str], int, int]:
    schedule = Schedule(seed, real_machine)
    violations = schedule.play()
    return seed, violations, len(schedule.executions), schedule.cloud.models.alias().revision


if __name__ == "__main__":
    sys.exit(main())
