"""A small model in bf16 is a model version of its own: it answers alike, or is not written at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from model import precision
from model.judging.card import card
from model.precision import Agreement, PrecisionError, narrowed
from model.proteins import labelled as data
from model.serving.artifact import read_artifact
from model.serving.inference import Request, predict_fn
from model.serving.loading import load
from tests.model.tiny import build_tiny_bert_artifact, build_tiny_ensemble, random_sequences, write_labelled

ALIKE = Agreement(proteins=1_000, same_location=1.0, largest_difference=0.001, q10=0.75, q10_fp32=0.75)


@pytest.fixture
def proteins(tmp_path: Path) -> list[data.LabelledProtein]:
    return list(data.read_labelled(write_labelled(tmp_path / "labelled.fasta", 60)))


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that learned nothing is unsure of everything, and one location in a hundred may turn."""
    monkeypatch.setattr(precision, "MIN_SAME_LOCATION", 0.9)
    monkeypatch.setattr(precision, "MAX_Q10_LOSS", 0.1)


def computed(folder: Path, dtype: torch.dtype) -> tuple[set[torch.dtype], np.ndarray]:
    """The types in which the convolutions of a loaded model are computed, and its probabilities."""
    model = load(folder, torch.device("cpu"), dtype)
    dtypes: set[torch.dtype] = set()
    convolve = torch.nn.functional.conv2d

    def noting(image: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        dtypes.add(image.dtype)
        return convolve(image, *rest, **named)

    with patch.object(torch.nn.functional, "conv2d", noting):
        answer = predict_fn(Request(random_sequences([20, 70, 300])), model)
    return dtypes, np.array([each["probabilities"] for each in answer["predictions"]])


@pytest.mark.usefixtures("lenient")
def test_the_head_is_in_bf16_only_where_it_was_judged_so_and_the_processor_has_it(
    tmp_path: Path, proteins: list[data.LabelledProtein]
) -> None:
    folder, out = build_tiny_ensemble(tmp_path / "wide"), tmp_path / "narrow"
    narrowed(read_artifact(folder), out, "narrow-1", proteins)
    assert computed(folder, torch.bfloat16)[0] == {torch.float32}
    without, expected = computed(out, torch.float32)
    dtypes, answers = computed(out, torch.bfloat16)
    assert (without, dtypes) == ({torch.float32}, {torch.bfloat16})
    assert answers == pytest.approx(expected, abs=0.01) and not np.array_equal(answers, expected)


@pytest.mark.usefixtures("lenient")
def test_it_is_a_version_that_says_what_it_is(tmp_path: Path, proteins: list[data.LabelledProtein]) -> None:
    wide = read_artifact(build_tiny_ensemble(tmp_path / "wide"))
    agreement = narrowed(wide, tmp_path / "narrow", "narrow-1", proteins)
    written = read_artifact(tmp_path / "narrow")
    assert (written.version, written.narrow, wide.narrow) == ("narrow-1", True, False)
    assert (
        written.precision["of"] == wide.version and written.precision["proteins"] == agreement.proteins == 60
    )
    assert written.calibration["proteins"] == 60
    assert "It answers in bf16" in (tmp_path / "narrow" / "README.md").read_text()
    assert "bf16" not in card(wide)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"same_location": 0.99}, "whose location is the same"),
        ({"largest_difference": 0.02}, "largest difference"),
        ({"largest_difference": float("nan")}, "largest difference"),
        ({"q10": 0.74}, "Q10"),
        ({"q10": float("nan")}, "Q10"),
    ],
)
def test_a_model_that_answers_otherwise_is_refused(change: dict[str, float], named: str) -> None:
    ALIKE.require()
    with pytest.raises(PrecisionError, match=named):
        replace(ALIKE, **change).require()


def test_nothing_is_written_of_a_model_that_is_refused(
    tmp_path: Path, proteins: list[data.LabelledProtein], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(PrecisionError):
        narrowed(
            read_artifact(build_tiny_ensemble(tmp_path / "wide")), tmp_path / "out", "narrow-1", proteins
        )
    assert not (tmp_path / "out").exists()


def test_a_large_model_is_no_case_for_it(tmp_path: Path, proteins: list[data.LabelledProtein]) -> None:
    artifact = read_artifact(build_tiny_bert_artifact(tmp_path / "large"))
    with pytest.raises(PrecisionError, match="a small model"):
        narrowed(artifact, tmp_path / "out", "narrow-1", proteins)


def test_an_artifact_from_before_answers_in_fp32(tmp_path: Path) -> None:
    assert read_artifact(build_tiny_ensemble(tmp_path / "older")).precision == {}
