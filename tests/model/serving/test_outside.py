"""The detector says how far a protein is outside of a model's knowledge, alike wherever it is asked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.serving.artifact import read_artifact, write_description
from model.serving.composition import SIZE
from model.serving.inference import model_fn, predict_fn
from model.serving.outside import Detector
from tests.model.tiny import build_tiny_bert_artifact, build_tiny_ensemble, random_sequences

SEQUENCES = random_sequences([40, 300, 41, 90])


def drawn(scores: list[float], kinds: tuple[str, ...] = ("prokaryotic", "artificial")) -> Detector:
    """A detector that has learned nothing."""
    random = np.random.default_rng(0)
    shapes: dict[str, Any] = {"hidden": (8, SIZE), "hidden_bias": 8, "answer": (1 + len(kinds), 8)}
    weights = {name: random.normal(0, 0.1, shape) for name, shape in shapes.items()}
    weights |= {"center": np.zeros(SIZE), "scale": np.ones(SIZE), "answer_bias": np.zeros(1 + len(kinds))}
    # As they are kept, so that nothing is lost on the way.
    kept = {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}
    return Detector(kept, scores, kinds, 0.95)


def with_detector(folder: Path, detector: Detector) -> Path:
    write_description(replace(read_artifact(folder), outside=detector.save(folder)))
    return folder


@pytest.fixture(params=[build_tiny_ensemble, build_tiny_bert_artifact])
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One whose networks read the detector's numbers too, and one whose do not."""
    folder: Path = request.param(tmp_path / "artifact")
    return folder


def test_an_artifact_without_a_detector_says_nothing_of_it(artifact: Path) -> None:
    answer = predict_fn(SEQUENCES, model_fn(str(artifact)))
    assert "outside_above" not in answer and "uncertain_below" not in answer
    assert all("outside" not in prediction for prediction in answer["predictions"])


def test_a_detector_changes_no_probability_and_says_of_each_protein_how_far_it_is_outside(
    artifact: Path,
) -> None:
    before = predict_fn(SEQUENCES, model_fn(str(artifact)))
    calibration = {**read_artifact(artifact).calibration, "uncertain_below": 0.4}
    write_description(replace(read_artifact(artifact), calibration=calibration))
    answer = predict_fn(SEQUENCES, model_fn(str(with_detector(artifact, drawn([-9, -1, 0, 9])))))
    assert (answer["uncertain_below"], answer["outside_above"]) == (0.4, 0.95)
    for old, new in zip(before["predictions"], answer["predictions"], strict=True):
        outside, like = new.pop("outside"), new.pop("outside_like")
        assert 0 <= outside <= 1 and like in ("prokaryotic", "artificial")
        assert new["probabilities"] == pytest.approx(old.pop("probabilities"), abs=1e-5)
        assert new["checksum"] == old["checksum"]


def test_how_far_a_protein_is_outside_does_not_depend_on_its_batch(artifact: Path) -> None:
    model = model_fn(str(with_detector(artifact, drawn([-9, -1, 0, 9]))))
    together = predict_fn(SEQUENCES, model)["predictions"]
    alone = [predict_fn([sequence], model)["predictions"][0] for sequence in SEQUENCES]
    assert [each["outside"] for each in together] == [each["outside"] for each in alone]


def test_what_is_written_is_what_is_read(artifact: Path) -> None:
    detector = drawn([-2.0, 0.5, 3.0])
    again = Detector.read(artifact, detector.save(artifact))
    numbers = np.random.default_rng(1).normal(0, 1, (5, SIZE)).astype(np.float32)
    assert again is not None and again.kinds == detector.kinds
    assert (again.judge(numbers)[0] == detector.judge(numbers)[0]).all()
    assert again.judge(numbers)[1] == detector.judge(numbers)[1]


def test_the_share_is_that_of_known_proteins_with_a_lower_score() -> None:
    detector = drawn([0.0])
    numbers = np.random.default_rng(1).normal(0, 1, (101, SIZE)).astype(np.float32)
    scores = np.sort(detector.score(numbers))
    judged = drawn(scores.tolist()).judge(numbers)[0]
    assert judged == pytest.approx(detector.score(numbers).argsort().argsort() / 100, abs=1e-3)


def test_it_is_in_the_archive_that_serves(artifact: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(with_detector(artifact, drawn([0.0, 1.0])), copy)
    assert predict_fn(SEQUENCES, model_fn(str(copy)))["predictions"][0].keys() >= {"outside", "outside_like"}
