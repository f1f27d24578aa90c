"""Schedules of the real handlers, and tests of the simulation itself."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.planted import PLANTED, planted
from tests.simulation.schedule import play
from tests.simulation.stage import Stage, staged

SCHEDULES = 60  # `make simulate` plays as many as it is told

CAUGHT_BY: dict[str, int] = {
    "batches are counted by an atomic counter": 2,
    "an upload is complete with its first shard": 0,
    "a batch that has its marker needs no tail": 21,
    "only who wrote the marker does the tail": 21,
    "a shard is abandoned while its batches are on their way": 124,
    "a delivery is acknowledged before its work": 1,
    "the marker comes before the part": 3,
    "the marker comes before the rows": 15,
    "a late writer counts its own rows, not those that stand": 114,
    "a shard that is recorded counts as sent": 0,
    "an upload is noted as announced before it is": 5,
    "an upload that ended is closed before it is announced": 12,
    "a lease that expires stands for the marker": 1,
    "a part is overwritten by a late writer": 122,
    "the model version is read again, not pinned": 10,
    "a cancelled upload asks the model on": 316,
    "an upload that ended may end again": 8,
    "why an upload waits may be noted at any time": 165,
    "what a batch write leaves undone is ignored": 5,
    "a query ends with its first page": 0,
    "a wait counts as a failed delivery": 1,
    "an upload's id leaves the object's version out": 0,
    "known answers are shared by model versions": 0,
    "answers come back in another order": 3,
    "the first failure is a protein's own": 43,
    "the record a damaged file stops in is taken for whole": 14,
    "batches depend on the time they are cut at": 0,
    "checksums are not looked at": 216,
    "an attempt ends another one": 47,
    "what ends after its shard was abandoned belongs to the result": 280,
    "a retry asks again for what an earlier one answered": 303,
    "a retry leaves a failed record as it is": 45,
    "a failure is put over an answer": 122,
    "results that cannot be written are tried for ever": 8,
    "results are given up before the deadline": 8,
    "a time-out is the protein's own": 16,
    "nobody looks at the time before a call": 119,
    "a slow protein holds up those beside it": 16,
    "who gives a batch up forgets its answers": 16,
    "no function is allowed to loop": 46,
    "a dead event is thrown away": 67,
    "a delivery that failed stays hidden": 6,
    "a batch waits for a quarter of an hour": 8,
    "shards of a file that went away are not sent": 839,
    "shards are planned, and left to the sweep": 0,
    "the last batch of a shard is left to the sweep": 1,
    "the stream leaves out what is finishing": 1,
    "retries are not told their deadline": 16,
    "an upload whose model came is left to the sweep": 1,
    "failed records are not reported": 15,
    "failed records are reported by their receipts": 21,
    "the template does not ask which records failed": 236,
    "parts are merged as they come": 0,
    "a conflict of two writers is taken for success": 0,
    "an upload is read without consistency": 2,
    "a shard is read without consistency": 10,
    "markers are read without consistency": 11,
    "a batch write that failed is taken for done": 21,
    "keys that were not read are taken for unknown": 5,
    "uploads expire at their deadline": 0,
    "an upload's item grows with its batches": 8,
    "a batch past its deadline is dropped": 21,
    "the clock tells which attempt is newer": 15,
    "a message of the release before is refused": 8,
    "a marker of the release before is refused": 26,
    "a shard's batches are counted before they are sent": 15,
    "a dead letter is removed before its end": 67,
    "the records of a retry count once more": 460,
    "every run sends what is in work again": 11,
    "a dead shard is given up at once": 374,
    "lines are counted within their shard": 4,
    "a shard has a line more than it has": 21,
    "a part that was not read has no lines": 344,
    "of a record that was retried the oldest row counts": 20,
    "offsets are sorted as words": 1,
    "an organism is noted by who makes the row": 67,
    "records are found once more in each attempt": 1,
    "records of batches that are done are not read": 15,
    "each attempt is announced with the results of the first": 1,
    "an attempt counts as announced": 1,
    "an attempt has the deadline of the first": 1,
    "batches are cut by the settings of the day": 0,
    "there is always room": 7,
    "who is decompressed takes no room": 7,
    "each search of the bucket begins anew": 30,
    "messages are in no group": 0,
    "a batch that waits is asked about at once": 0,
    "an upload is full by the number of its shards": 46,
    "markers that nobody counted stay so": 0,
    "parts of what failed are left": 67,
    "windows overlap by a byte": 4,
    "as many records as there may be are too many": 66,
    "what is deleted is erased once": 29,
    "the parts of what is deleted are left": 17,
    "rows of the first shard alone are erased": 82,
    "batches of what is deleted are asked about": 29,
    "a deleted upload leaves no row": 6,
}
"""A seed that catches each mistake, the first one when it was noted; another change may move it."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def test_everything_holds_in_every_schedule_and_schedules_are_rough(stage: Stage) -> None:
    """A simulation in which nothing goes wrong proves nothing."""
    lines: list[str] = []
    failed = [seed for seed in range(SCHEDULES) if play(seed, stage, lines.append).violations]
    assert not failed, f"replay with: make simulate SEED={failed[0]}"
    text = "\n".join(lines)
    for event in (
        "✗ died before", "✗ died after", "✗ error", "✗ answer lost", "✗ done twice", "freezes", "the model: refused",
        "the model: unavailable", "BrokenContract", "is lost", "event lost", "expired", "promotes m-2",
        "ended by its timeout", "two writers at once", "a stream record is given up",
        "withdraw#", "s3.DeleteObjects",
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
    assert list(answer) == ["schedules", "first", "violations", "seconds", "failing_seeds"]
    assert (answer["schedules"], answer["violations"], answer["failing_seeds"]) == (20, 0, [])


@pytest.mark.slow
@pytest.mark.parametrize("mistake", PLANTED)
def test_every_planted_mistake_is_caught(mistake: str, stage: Stage) -> None:
    seeds = sorted(range(1_000), key=lambda seed: seed != CAUGHT_BY.get(mistake))
    with planted(mistake):
        assert any(play(seed, stage).violations for seed in seeds)
