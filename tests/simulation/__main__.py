"""`make simulate SEED=17` replays one schedule, `make simulate N=10000` plays the seeds from 0 on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from tests.playing import Played, run
from tests.simulation.schedule import play
from tests.simulation.stage import staged


def replay(seed: int) -> list[str]:
    """Play one schedule and print every call of it."""
    with staged() as stage:
        result = play(seed, stage, print)
    print(f"\nseed {seed}: {result.steps} calls in {result.seconds:.0f} simulated seconds")
    return result.violations


def play_all(seeds: Sequence[int]) -> list[Played]:
    """Play these seeds, one after the other."""
    gc.disable()  # the objects of a schedule are let go at its end
    with staged() as stage:
        results = [play(seed, stage) for seed in seeds]
    gc.enable()
    gc.collect()
    return [Played(result.seed, result.violations) for result in results]


if __name__ == "__main__":
    sys.exit(run("make simulate", replay, play_all, 50))
