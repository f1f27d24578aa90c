"""Schedules of the real handlers, and that the simulation is what it claims to be."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.planted import PLANTED, planted
from tests.simulation.schedule import play
from tests.simulation.world import Stage, staged

SCHEDULES = 250

CAUGHT_BY: dict[str, int] = {
}
"""The first seed that catches each mistake; another change of the functions may move it."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def test_everything_holds_in_every_schedule(stage: Stage) -> None:
    failed = {seed: result.violations for seed in range(SCHEDULES) if (result := play(seed, stage)).violations}
    assert not failed, f"replay with: make simulate SEED={min(failed)}"


def test_schedules_are_rough(stage: Stage) -> None:
    """A simulation in which nothing goes wrong proves nothing."""
    told: list[str] = []
    for seed in range(60):
        play(seed, stage, told.append)
    text = "\n".join(told)
    for event in (
        "✗ died before", "✗ died after", "✗ error", "✗ answer lost", "✗ done twice", "freezes", "the model: refused",
        "the model: unavailable", "BrokenContract", "is lost", "event lost", "expired", "promotes m-2",
    ):  # fmt: skip
        assert event in text, event


def test_a_seed_replays_call_by_call_in_any_process(stage: Stage) -> None:
    here: list[str] = []
    play(3, stage, here.append)
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.simulation", "--seed", "3"]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert there.splitlines()[: len(here)] == here


def test_many_seeds_end_with_one_object_that_counts_them() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.simulation", "--schedules", "20"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    answer = json.loads(output.splitlines()[-1])
    assert list(answer) == ["schedules", "violations", "seconds", "failing_seeds"]
    assert (answer["schedules"], answer["violations"], answer["failing_seeds"]) == (20, 0, [])


@pytest.mark.parametrize("mistake", PLANTED)
def test_every_planted_mistake_is_caught(mistake: str, stage: Stage) -> None:
    seeds = sorted(range(1_000), key=lambda seed: seed != CAUGHT_BY.get(mistake))
    with planted(mistake):
        assert any(play(seed, stage).violations for seed in seeds)
