"""The figures follow their definitions: counted by hand, and as scikit-learn counts them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from model.judging import figures
from model.judging.answered import Answered
from tests.model.answered import random_answers

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0])
COUNTS = figures.confusion(TRUTH, PREDICTED, 4)


def test_the_confusion_matrix_has_a_row_for_each_true_location() -> None:
    assert COUNTS.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_q10_is_the_share_of_right_locations() -> None:
    assert figures.accuracy(COUNTS) == 0.5


def test_recall_needs_a_true_protein_and_precision_a_named_one() -> None:
    rows = figures.by_location(COUNTS)
    assert rows["recall"] == pytest.approx([2 / 3, 0.5, 0.0, np.nan], nan_ok=True)
    assert rows["precision"] == pytest.approx([0.5, 0.5, np.nan, np.nan], nan_ok=True)
    assert rows["f1"] == pytest.approx([4 / 7, 0.5, 0.0, np.nan], nan_ok=True)


def test_macro_f1_counts_each_location_that_occurs_alike() -> None:
    # F1: 2*2/(4+3), 2*1/(2+2), 0; the fourth location does not occur.
    assert figures.macro_f1(COUNTS) == pytest.approx((4 / 7 + 0.5 + 0) / 3)


def test_a_location_that_is_named_but_never_true_does_not_count_in_macro_f1() -> None:
    counts = figures.confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert figures.macro_f1(counts) == pytest.approx((2 / 3 + 1) / 2)


labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(labels)
def test_counting_figures_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    counts = figures.confusion(truth, predicted, 5)
    rows = figures.by_location(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (
            counts.astype(int).tolist()
            == reference.confusion_matrix(truth, predicted, labels=range(5)).tolist()
        )
        assert figures.accuracy(counts) == pytest.approx(reference.accuracy_score(truth, predicted))
        assert figures.correlation(counts) == pytest.approx(
            reference.matthews_corrcoef(truth, predicted), abs=1e-12
        )
        present = sorted(set(truth.tolist()))
        f1 = reference.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
        assert figures.macro_f1(counts) == pytest.approx(f1)
        each = reference.precision_recall_fscore_support(
            truth, predicted, labels=range(5), zero_division=np.nan
        )
        for name, values in zip(("precision", "recall", "f1"), each, strict=False):
            assert rows[name] == pytest.approx(values, nan_ok=True), name
        for index in range(5):
            one = reference.matthews_corrcoef(truth == index, predicted == index)
            assert rows["mcc"][index] == pytest.approx(one, abs=1e-12)


def test_log_loss_is_scikit_learns() -> None:
    answered = random_answers()
    expected = reference.log_loss(answered.truth, answered.probabilities, labels=range(10))
    assert figures.point(answered)["log_loss"] == pytest.approx(expected)


def test_membrane_q2_leaves_unknown_proteins_out() -> None:
    membrane = np.array([0.9, 0.2, 0.4, 0.5, 0.9])
    bound = np.array([1.0, 0.0, 1.0, 1.0, -1.0])
    answered = Answered(np.eye(5), membrane, np.arange(5), bound, np.full(5, 100))
    assert figures.point(answered)["membrane_q2"] == 0.75
    unknown = figures.point(answered.only(np.arange(5) == 4))
    assert np.isnan(unknown["membrane_q2"]) and np.isnan(unknown["membrane_ece"])


def test_the_membranes_calibration_error_is_that_of_the_known_calls() -> None:
    answered = random_answers()
    is_known = answered.bound >= 0
    call = answered.membrane[is_known] >= 0.5
    confidence = np.where(call, answered.membrane[is_known], 1 - answered.membrane[is_known])
    expected = slow_calibration_error(confidence, call == (answered.bound[is_known] == 1))
    assert figures.point(answered)["membrane_ece"] == pytest.approx(expected)


def slow_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """The definition, bin by bin."""
    total = 0.0
    for index in range(bins):
        inside = [
            (c, r)
            for c, r in zip(confidence, right, strict=True)
            if index <= c * bins < index + 1 or (c == 1 and index == bins - 1)
        ]
        if inside:
            total += abs(np.mean([c for c, _ in inside]) - np.mean([r for _, r in inside])) * len(inside)
    return total / len(confidence)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    nine = np.full(10, 0.9)
    assert figures.calibration_error(nine, np.ones(10)) == pytest.approx(0.1)
    assert figures.calibration_error(nine, np.array([1] * 9 + [0])) == pytest.approx(0.0)
    assert figures.calibration_error(np.array([1.0]), np.array([True])) == 0.0
    # Too sure by 0.6 in one bin and too modest by 0.1 in another: gaps do not cancel out.
    mixed, right = np.array([0.9, 0.6] * 5), np.array([1, 0] * 5)
    assert figures.calibration_error(mixed, right) == pytest.approx(0.35)
    answered = random_answers()
    expected = slow_calibration_error(answered.confidence, answered.right)
    assert figures.point(answered)["ece"] == pytest.approx(expected)


def test_reliability_says_what_is_in_each_bin() -> None:
    probabilities = np.array([[0.92, 0.08], [0.91, 0.09], [0.55, 0.45]])
    answered = Answered(probabilities, np.zeros(3), np.array([0, 1, 0]), np.zeros(3), np.ones(3, dtype=int))
    assert figures.reliability(answered) == [
        {"from": 0.5333, "to": 0.6, "proteins": 1, "confidence": 0.55, "accuracy": 1.0},
        {"from": 0.8667, "to": 0.9333, "proteins": 2, "confidence": 0.915, "accuracy": 0.5},
    ]


def test_several_samples_are_measured_as_each_alone() -> None:
    answered = random_answers(50)
    rows = np.random.default_rng(1).integers(50, size=(4, 50))
    together = figures.figures(answered, rows)
    for index, row in enumerate(rows):
        alone = figures.figures(answered, row[None])
        for name, values in together.items():
            assert values[index] == pytest.approx(alone[name][0], nan_ok=True), name


def test_leaving_the_least_sure_out_raises_accuracy_where_confidence_means_something() -> None:
    right = np.array([True, False, True, True])
    confidence, accuracy = figures.accuracy_by_rank(np.array([0.9, 0.2, 0.8, 0.7]), right)
    assert confidence.tolist() == [0.9, 0.8, 0.7, 0.2]
    assert accuracy.tolist() == [1, 1, 1, 0.75]
    # Equal confidence: the order among them must not matter.
    _, accuracy = figures.accuracy_by_rank(np.full(4, 0.5), right)
    assert accuracy == pytest.approx([0.75] * 4)


def test_the_abstention_curve_ends_at_q10_and_its_area_is_the_mean_over_all_shares() -> None:
    answered = random_answers()
    curve = figures.abstention(answered)
    assert [point["share"] for point in curve["points"]] == pytest.approx(np.linspace(0.05, 1, 20))
    assert curve["points"][-1]["accuracy"] == pytest.approx(answered.right.mean(), abs=1e-4)
    by_hand = answered.right[np.argsort(-answered.confidence)]
    assert curve["points"][9]["accuracy"] == pytest.approx(by_hand[:200].mean(), abs=1e-4)
    expected = np.mean([by_hand[: rank + 1].mean() for rank in range(400)])
    assert curve["area"] == pytest.approx(expected, abs=1e-4)


def test_the_threshold_parts_certain_from_uncertain_answers() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.55, 0.45]])
    truth = np.array([0, 0, 1, 0])
    answered = Answered(probabilities, np.zeros(4), truth, np.zeros(4), np.ones(4, dtype=int))
    assert figures.uncertain(answered, 0.8) == {
        "below": 0.8,
        "certain_share": 0.5,
        "certain_accuracy": 1.0,
        "uncertain_accuracy": 0.5,
    }
    assert figures.uncertain(answered, 0.0)["uncertain_accuracy"] is None
    assert figures.uncertain(answered, 1.0)["certain_accuracy"] is None


def test_mistakes_are_the_wrong_answers_most_confident_first() -> None:
    answered = random_answers()
    worst = figures.mistakes(answered, most=5)
    assert len(worst) == 5
    assert [confidence for *_, confidence in worst] == sorted((c for *_, c in worst), reverse=True)
    assert worst[0][1] == pytest.approx(answered.confidence[~answered.right].max(), abs=1e-4)
    assert all(answered.predicted[row] != answered.truth[row] for row, _ in worst)
