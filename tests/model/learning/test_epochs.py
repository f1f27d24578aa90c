"""The steps of an epoch: every protein once, in packs of like length, shared by processes."""

from __future__ import annotations

import numpy as np
import pytest

from model.learning.epochs import Step, padding_share, plan_epoch

LENGTHS = np.random.default_rng(1).integers(10, 300, 500)


def members(packs: list[list[int]]) -> list[int]:
    return sorted(index for pack in packs for index in pack)


def test_an_epoch_sees_every_protein_once_in_packs_of_like_length() -> None:
    steps = plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=0)
    packs = [pack for step in steps for pack in step.packs]
    assert members(packs) == list(range(500))
    assert all(step.proteins == sum(map(len, step.packs)) >= 32 for step in steps[:-1])
    padded = sum(len(pack) * (max(LENGTHS[pack]) + 2) for pack in packs)
    assert padded < 1.1 * sum(LENGTHS + 2)
    assert 0 < padding_share(steps, LENGTHS + 2) < 0.2  # here rounded up to a multiple as well
    assert padding_share([Step(2, [[0], []])], np.array([32, 64])) == 0


def test_the_next_epoch_is_ordered_otherwise_and_a_repeated_one_alike() -> None:
    def plan(epoch: int) -> list[list[list[int]]]:
        planned = plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=epoch)
        return [step.packs for step in planned]

    assert plan(0) == plan(0) != plan(1)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_processes_share_each_step_in_equal_number_of_packs(world: int) -> None:
    alone = plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=0)
    shares = [
        plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=0, rank=rank, world=world)
        for rank in range(world)
    ]
    for number, step in enumerate(alone):
        parts = [share[number] for share in shares]
        assert members([pack for part in parts for pack in part.packs]) == members(step.packs)
        assert len({len(part.packs) for part in parts}) == 1
        assert {part.proteins for part in parts} == {step.proteins}
