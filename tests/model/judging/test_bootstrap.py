"""Intervals say how far a figure can be trusted: as wide as theory says, and the same every time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from model.judging import bootstrap, figures
from model.judging.answered import Answered
from model.judging.figures import HEADLINE
from tests.model.answered import random_answers


def test_the_interval_of_a_share_is_as_wide_as_the_binomial_says() -> None:
    answered = random_answers(2000)
    share = answered.right.mean()
    low, high = bootstrap.intervals(answered)["q10"]
    reach = 1.96 * np.sqrt(share * (1 - share) / 2000)
    assert low == pytest.approx(share - reach, abs=0.003)
    assert high == pytest.approx(share + reach, abs=0.003)


def test_intervals_are_the_same_every_time_and_for_any_size_of_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = random_answers(100)
    once = bootstrap.intervals(answered)
    assert bootstrap.intervals(answered) == once
    monkeypatch.setattr(bootstrap, "_INDICES_AT_ONCE", 700)
    assert bootstrap.intervals(answered) == once
    assert bootstrap.intervals(answered, seed=1) != once


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    everybody = random_answers(20000, seed=5)
    truth = everybody.right.mean()
    covered = 0
    for seed in range(100):
        chosen = np.random.default_rng(seed).random(len(everybody)) < 0.015
        low, high = bootstrap.intervals(everybody.only(chosen), resamples=400)["q10"]
        covered += low <= truth <= high
    assert 89 <= covered <= 100


def test_the_interval_of_a_calibration_error_holds_it_although_resampling_inflates_it() -> None:
    for seed in range(8):
        answered = random_answers(200, seed=seed)
        error = float(figures.point(answered)["ece"])
        assert bootstrap.resampled(answered)["ece"].mean() > error + 0.005
        low, high = bootstrap.intervals(answered)["ece"]
        assert 0 <= low < error < high
        assert high - error < 0.06, "what resampling adds is taken off above, too"


def test_what_no_protein_can_tell_has_no_interval() -> None:
    answered = random_answers(30)
    truth = np.where(answered.truth == 4, 3, answered.truth)
    answered = dataclasses.replace(answered, truth=truth, bound=np.full(30, -1.0))
    between = bootstrap.intervals(answered)
    assert between["membrane_q2"] == (None, None)
    assert between["location_recall"][4] == (None, None)


def test_a_model_as_good_as_its_word_is_within_chance_and_a_boaster_is_not() -> None:
    answered = random_answers(3000)
    mean, at_most = bootstrap.error_by_chance(answered)
    assert 0 < mean < at_most
    assert figures.point(answered)["ece"] < at_most
    boasting = answered.probabilities**2
    boasting /= boasting.sum(axis=1, keepdims=True)
    boaster = dataclasses.replace(answered, probabilities=boasting)
    assert figures.point(boaster)["ece"] > bootstrap.error_by_chance(boaster)[1]


def worse(answered: Answered, share: float) -> Answered:
    """The same answers, some of them turned round."""
    turned = answered.probabilities.copy()
    chosen = np.random.default_rng(3).random(len(answered)) < share
    turned[chosen] = turned[chosen][:, ::-1]
    return dataclasses.replace(answered, probabilities=turned)


def test_a_worse_challenger_is_worse_beyond_its_interval_and_an_equal_one_is_not() -> None:
    champion = random_answers(1500)
    same = bootstrap.compare(champion, champion)
    assert all(same[name]["difference"] == 0 and same[name]["interval"] == (0, 0) for name in HEADLINE)
    comparison = bootstrap.compare(champion, worse(champion, 0.1))
    assert comparison["q10"]["difference"] == pytest.approx(
        comparison["q10"]["challenger"] - comparison["q10"]["champion"], abs=2e-4
    )
    assert comparison["q10"]["interval"][1] < 0
    assert comparison["log_loss"]["interval"][0] > 0
    assert comparison["membrane_q2"]["difference"] == 0
    assert len(comparison["recall"]) == 10 and comparison["recall"][0]["interval"][1] < 0


def test_pairing_tells_apart_what_two_separate_intervals_cannot() -> None:
    champion = random_answers(1500)
    challenger = worse(champion, 0.02)
    paired = bootstrap.compare(champion, challenger)["q10"]["interval"]
    alone = [bootstrap.intervals(each)["q10"] for each in (champion, challenger)]
    assert alone[1][1] > alone[0][0], "the intervals overlap"
    assert paired[1] < 0, "and yet the difference is certain"


def test_models_are_compared_on_the_same_proteins_only() -> None:
    with pytest.raises(ValueError, match="same proteins"):
        bootstrap.compare(random_answers(50), random_answers(50, seed=1))
