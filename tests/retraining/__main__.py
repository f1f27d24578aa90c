"""`make simulate-retraining SEED=17` plays one schedule, `make simulate-retraining N=5000` the seeds from 0 on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.playing import Played, run
from tests.retraining.schedule import Schedule, real_machine


def replay(seed: int) -> list[str]:
    """Play one schedule and print how its executions ended."""
    schedule = Schedule(seed, real_machine)
    violations = schedule.play()
    for execution in schedule.executions.values():
        print(f"{execution.name} {execution.slot or 'by hand'}: {execution.status} {execution.ended or ''}")
    return violations


def play_all(seeds: Sequence[int]) -> list[Played]:
    """Play these seeds, one after the other."""
    return [_played(seed) for seed in seeds]


def _played(seed: int) -> Played:
    schedule = Schedule(seed, real_machine)
    violations = schedule.play()
    changes = schedule.cloud.models.alias().revision
    counts = {"starts": len(schedule.executions), "changes_of_the_active_version": changes}
    return Played(seed, violations, counts)


if __name__ == "__main__":
    sys.exit(run("make simulate-retraining", replay, play_all, 20))
