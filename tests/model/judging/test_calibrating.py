"""Calibrated probabilities can be taken at their word, and the way there is chosen on held-out proteins."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.judging import calibrating
from model.serving import calibration
from model.serving.calibration import Calibration, softmax


def drawn(logits: np.ndarray, seed: int = 0) -> np.ndarray:
    """A true location for each row, as often as the logits' probabilities say."""
    random = np.random.default_rng(seed)
    truth = (random.random((len(logits), 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    return np.minimum(truth, logits.shape[1] - 1)


RANDOM = np.random.default_rng(7)
HONEST = RANDOM.normal(size=(4000, 5)) * 2
TRUTH = drawn(HONEST)
BOUND_LOGITS = RANDOM.normal(size=4000) * 2
BOUND = np.where(RANDOM.random(4000) < 0.1, -1.0, RANDOM.random(4000) < 1 / (1 + np.exp(-BOUND_LOGITS)))


def test_the_temperature_finds_back_how_sharp_the_logits_were_made() -> None:
    assert calibrating.fit_temperature(HONEST * 3, TRUTH) == pytest.approx(3, rel=0.05)


def test_vector_scaling_finds_back_scales_and_shifts() -> None:
    scale, shift = np.array([0.5, 0.7, 1.0, 1.3, 0.6]), np.array([1.0, -1.0, 0.0, 0.5, -0.5])
    # Logits from which this scale and shift lead to the honest ones (their row means are free).
    logits = (HONEST - shift) / scale
    truth = drawn(calibration.scaled(logits, scale, shift))
    found_scale, found_shift = calibrating.fit_vector(logits, truth)
    assert found_scale == pytest.approx(scale, abs=0.12)
    assert found_shift - found_shift.mean() == pytest.approx(shift - shift.mean(), abs=0.25)


def test_vector_scaling_ends_where_its_penalised_log_loss_is_least() -> None:
    truth = drawn(HONEST + np.array([1.0, 0, 0, 0, -1.0]))
    scale, shift = calibrating.fit_vector(HONEST, truth)
    temperature = calibrating.fit_temperature(HONEST, truth)

    def loss(scale: np.ndarray, shift: np.ndarray) -> float:
        probabilities = softmax(calibration.scaled(HONEST, scale, shift))[np.arange(len(truth)), truth]
        apart = ((scale - 1 / temperature) ** 2).sum() + (shift**2).sum()
        return float(-np.log(probabilities).sum() + calibrating.PRIOR / 2 * apart)

    best = loss(scale, shift)
    for _ in range(50):
        assert loss(scale + RANDOM.normal(size=5) * 0.01, shift + RANDOM.normal(size=5) * 0.01) > best


def test_one_temperature_is_kept_where_a_vector_gains_nothing() -> None:
    fitted = calibrating.fit(HONEST * 2, TRUTH, BOUND_LOGITS / 3, BOUND)
    assert fitted["method"] == "temperature" and "location_scale" not in fitted
    assert fitted["location_temperature"] == pytest.approx(2, rel=0.05)
    assert fitted["membrane_temperature"] == pytest.approx(1 / 3, rel=0.1)


def test_a_vector_is_chosen_where_locations_are_named_too_often_and_it_serves_others_too() -> None:
    skewed = HONEST + np.array([2.0, 0.0, 0.0, 0.0, -2.0])
    fitted = json.loads(json.dumps(calibrating.fit(skewed[:2000], TRUTH[:2000], BOUND_LOGITS, BOUND)))
    assert fitted["method"] == "vector"
    assert fitted["held_out_log_loss"]["vector"] < fitted["held_out_log_loss"]["temperature"]
    plain = {
        name: value for name, value in fitted.items() if name not in ("location_scale", "location_shift")
    }
    losses, hits = {}, {}
    for name, each in (("vector", fitted), ("temperature", plain)):
        probabilities, _ = Calibration.read(each, 5).apply(skewed[2000:], BOUND_LOGITS[2000:])
        losses[name] = -np.log(probabilities[np.arange(2000), TRUTH[2000:]]).mean()
        hits[name] = (probabilities.argmax(axis=1) == TRUTH[2000:]).mean()
    honest = softmax(HONEST[2000:])
    assert losses["vector"] == pytest.approx(-np.log(honest[np.arange(2000), TRUTH[2000:]]).mean(), abs=0.02)
    assert losses["temperature"] > losses["vector"] + 0.2
    assert hits["vector"] > hits["temperature"] + 0.1


def test_a_location_with_few_validation_proteins_gets_no_scale_of_its_own() -> None:
    skewed = HONEST + np.array([2.0, 0.0, 0.0, 0.0, -2.0])
    few = np.flatnonzero(TRUTH != 2).tolist() + np.flatnonzero(TRUTH == 2)[:19].tolist()
    assert calibrating.fit(skewed[few], TRUTH[few], BOUND_LOGITS[few], BOUND[few])["method"] == "temperature"


@pytest.mark.parametrize("proteins", [1, 2, 7])
def test_a_handful_of_proteins_is_calibrated_without_a_fault(proteins: int) -> None:
    unknown = np.full(proteins, -1.0)
    fitted = calibrating.fit(HONEST[:proteins], TRUTH[:proteins], BOUND_LOGITS[:proteins], unknown)
    assert fitted["method"] == "temperature" and fitted["membrane_temperature"] == 1.0
    assert np.isfinite(fitted["location_temperature"]) and 0 <= fitted["uncertain_below"] <= 1


def test_the_threshold_is_the_lowest_at_which_answers_are_right_often_enough() -> None:
    confidence = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    right = np.array([True, True, True, True, False, False, False])
    assert calibrating.threshold(confidence, right, 0.8) == 0.51  # four of five from there on
    assert calibrating.threshold(confidence, right, 1.0) == 0.61
    assert calibrating.threshold(confidence, right, 0.5) == 0.0
    assert calibrating.threshold(confidence, ~right, 0.8) == 1.0  # never often enough: all are uncertain


def test_certain_answers_of_other_proteins_are_right_as_often_as_promised() -> None:
    fitted = calibrating.fit(HONEST[:2000], TRUTH[:2000], BOUND_LOGITS, BOUND)
    probabilities, _ = Calibration.read(fitted, 5).apply(HONEST[2000:], BOUND_LOGITS[2000:])
    certain = probabilities.max(axis=1) >= fitted["uncertain_below"]
    right = probabilities.argmax(axis=1) == TRUTH[2000:]
    assert right[certain].mean() == pytest.approx(fitted["certain_accuracy"], abs=0.03)
    assert right[~certain].mean() < 0.55


# ── by kinds of proteins, and sets ──────────────────────────


def sure_of_some(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, truth and kinds: of kind 0 honest, of kind 2 three times too unsure; no protein is of kind 1."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 5))
    shares = calibration.softmax(logits)
    truth = (shares.cumsum(axis=1) < random.random((count, 1))).sum(axis=1).clip(max=4)
    kinds = np.where(random.random(count) < 0.5, 0, 2)
    return np.where(kinds[:, None] == 2, logits / 3, logits), truth, kinds


def test_each_kind_has_a_temperature_of_its_own_and_few_take_that_of_all() -> None:
    logits, truth, kinds = sure_of_some(4000, 1)
    fitted = calibrating.fit_kinds(logits, truth, np.zeros(4000), np.full(4000, -1.0), kinds, 3)
    honest, none_there, unsure = fitted["temperature_by_relative"]
    assert honest == pytest.approx(1, abs=0.1) and unsure == pytest.approx(1 / 3, abs=0.05)
    assert none_there == pytest.approx(fitted["location_temperature"], abs=1e-4)
    other, truth, kinds = sure_of_some(4000, 2)
    probabilities, _ = Calibration.read(fitted, 5).apply(other, np.zeros(4000), kinds)
    for kind in (0, 2):
        part, right = probabilities[kinds == kind], truth[kinds == kind]
        assert part.max(axis=1).mean() == pytest.approx((part.argmax(axis=1) == right).mean(), abs=0.02)


def test_sets_hold_the_truth_nine_times_in_ten_and_are_no_larger_than_that_needs() -> None:
    logits, truth, kinds = sure_of_some(4000, 3)
    fitted = calibrating.fit_kinds(logits, truth, np.zeros(4000), np.full(4000, -1.0), kinds, 3)
    model = Calibration.read(fitted, 5)
    other, truth, kinds = sure_of_some(4000, 4)
    probabilities, _ = model.apply(other, np.zeros(4000), kinds)
    assert model.reach is not None
    chosen = calibration.sets(probabilities, model.reach[kinds])
    assert chosen[np.arange(4000), truth].mean() == pytest.approx(0.9, abs=0.02)
    assert chosen[np.arange(4000), probabilities.argmax(axis=1)].all()
    # The locations in a set are more probable than all others.
    assert (
        np.where(chosen, probabilities, 1).min(axis=1) >= np.where(chosen, 0, probabilities).max(axis=1)
    ).all()


def test_a_model_that_is_always_right_has_sets_of_one() -> None:
    probabilities, truth = np.full((50, 4), 0.01), np.arange(50) % 4
    probabilities[np.arange(50), truth] = 0.97
    reach = calibrating.fit_reach(probabilities, truth)
    assert calibration.sets(probabilities, np.full(50, reach)).sum(axis=1).tolist() == [1] * 50
