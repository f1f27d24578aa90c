"""The loss by hand: cross-entropy, the membrane where it is known, and the distance from a teacher."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.learning.loss import MEMBRANE_WEIGHT, Goal, summed_distance, summed_loss

EVEN = torch.ones(3)
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5]])
BOUND = torch.tensor([1.0, -2.0])


def log_probability(row: int, location: int) -> float:
    return float(LOGITS[row].log_softmax(0)[location])


def test_it_is_the_sum_of_both_tasks_over_the_proteins() -> None:
    truth, membrane = torch.tensor([0, 2]), torch.tensor([1.0, 0.0])
    loss = summed_loss(LOGITS, BOUND, truth, membrane, EVEN, 0.0)
    places = -log_probability(0, 0) - log_probability(1, 2)
    bound = math.log1p(math.exp(-1.0)) + math.log1p(math.exp(-2.0))
    assert float(loss) == pytest.approx(places + MEMBRANE_WEIGHT * bound, rel=1e-6)


def test_smoothing_gives_every_location_its_share() -> None:
    truth, membrane = torch.tensor([0, 2]), torch.tensor([-1.0, -1.0])
    loss = summed_loss(LOGITS, BOUND, truth, membrane, EVEN, 0.3)
    shares = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    expected = -sum(shares[row][place] * log_probability(row, place) for row in (0, 1) for place in (0, 1, 2))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_a_teachers_own_answers_are_at_no_distance_and_others_at_kullback_leiblers() -> None:
    assert float(summed_distance(LOGITS, BOUND, LOGITS, BOUND)) == pytest.approx(0, abs=1e-6)
    taught = torch.zeros(2, 3)
    distance = summed_distance(LOGITS, BOUND, taught, BOUND)
    expected = sum(
        (1 / 3) * (math.log(1 / 3) - log_probability(row, place)) for row in (0, 1) for place in range(3)
    )
    assert float(distance) == pytest.approx(expected, rel=1e-5)


def goal(taught: tuple[Tensor, Tensor] | None, share: float) -> Goal:
    return Goal(
        truth=torch.tensor([0, 2, 1]),
        membrane=torch.tensor([1.0, 0.0, -1.0]),
        weights=torch.tensor([1.0, 1.0, 3.0]),
        smoothing=0.0,
        shift=torch.tensor([0.0, 1.0, 0.0]),
        taught=taught,
        distillation=share,
    )


def test_a_goal_looks_up_the_chosen_proteins_and_shifts_their_logits() -> None:
    loss = goal(None, 0.0).summed_loss(LOGITS[:1], BOUND[:1], [1])
    shift = torch.tensor([[0.0, 1.0, 0.0]])
    expected = summed_loss(
        LOGITS[:1] + shift, BOUND[:1], torch.tensor([2]), torch.zeros(1), torch.tensor([1.0, 1.0, 3.0]), 0.0
    )
    assert float(loss) == pytest.approx(float(expected))


def test_distillation_is_the_share_of_the_loss_that_holds_on_and_knows_no_shift() -> None:
    taught = torch.zeros(3, 3), torch.zeros(3)
    alone = goal(None, 0.0).summed_loss(LOGITS, BOUND, [0, 1])
    distance = summed_distance(LOGITS, BOUND, taught[0][:2], taught[1][:2])
    loss = goal(taught, 0.25).summed_loss(LOGITS, BOUND, [0, 1])
    assert float(loss) == pytest.approx(0.75 * float(alone) + 0.25 * float(distance))
