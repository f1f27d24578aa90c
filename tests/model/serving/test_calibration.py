"""A calibration that an artifact keeps is applied to every answer, and to nothing that is not finite."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.serving.artifact import read_artifact, write_description
from model.serving.calibration import Calibration, softmax
from model.serving.inference import model_fn, predict_fn

RANDOM = np.random.default_rng(7)
HONEST = RANDOM.normal(size=(4000, 5)) * 2
BOUND_LOGITS = RANDOM.normal(size=4000) * 2


def test_softmax_rows_sum_to_one_whatever_the_logits() -> None:
    probabilities = softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]]))
    assert probabilities == pytest.approx(np.array([[0.5, 0.5], [0.0, 1.0]]))


def test_an_older_artifacts_temperatures_are_read_as_before() -> None:
    old = Calibration.read({"location_temperature": 0.8781, "membrane_temperature": 1.2419}, 5)
    probabilities, membrane = old.apply(HONEST, BOUND_LOGITS)
    assert probabilities == pytest.approx(softmax(HONEST / 0.8781), abs=1e-12)
    assert membrane == pytest.approx(1 / (1 + np.exp(-BOUND_LOGITS / 1.2419)), abs=1e-12)
    assert old.uncertain_below is None


def test_logits_that_are_not_finite_spoil_their_own_row_only() -> None:
    broken = HONEST[:3].copy()
    broken[1, 2] = np.nan
    broken[2, 0] = np.inf
    probabilities, membrane = Calibration.read(
        {"location_temperature": 1, "membrane_temperature": 1}, 5
    ).apply(broken, np.array([0.0, np.nan, -800.0]))
    assert np.isfinite(probabilities[0]).all() and not np.isfinite(probabilities[1:]).all(axis=1).any()
    assert membrane[[0, 2]] == pytest.approx([0.5, 0.0]) and np.isnan(membrane[1])


def test_a_served_answer_is_calibrated_by_what_the_artifact_says(tiny_artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_artifact, tmp_path / "vector")
    artifact = read_artifact(tmp_path / "vector")
    shift = [0.0] * 9 + [25.0]
    vector = {"location_scale": [0.5] * 10, "location_shift": shift, "membrane_temperature": 1e9}
    write_description(replace(artifact, calibration=dict(artifact.calibration) | vector))
    sequence = "MKVLAAGIVGLLLAQWS" * 3
    plain, scaled = (
        predict_fn([sequence], model_fn(str(folder)))["predictions"][0]
        for folder in (tiny_artifact, tmp_path / "vector")
    )
    expected = softmax(0.5 * np.log([plain["probabilities"]]) + np.array(shift))[0]
    assert scaled["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert np.argmax(scaled["probabilities"]) == 9 and scaled["membrane"] == pytest.approx(0.5)
