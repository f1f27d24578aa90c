"""The model that ships is whole, small, honest about itself, and better than guessing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import model
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import pack, read_artifact
from model.serving.inference import model_fn, predict_fn
from model.serving.loading import Model
from tests.model.tiny import random_sequences

FOLDER = Path(model.__file__).parent / "default"
PREPROINSULIN = (  # human INS, P01308: secreted, by the signal peptide it begins with
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQCCTSICSLYQLENYCN"
)


@pytest.fixture(scope="module")
def default() -> Model:
    return model_fn(str(FOLDER))


def test_it_is_small_enough_to_ship(tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20e6
    assert pack(FOLDER, tmp_path / "model.tar.gz").stat().st_size < 20e6


def test_its_card_and_its_description_give_the_same_test_figures() -> None:
    artifact = read_artifact(FOLDER)
    assert artifact.locations == LOCATIONS and artifact.max_residues >= 2046
    assert artifact.metrics["split"] == "test" and artifact.metrics["proteins"] == 2773
    assert artifact.metrics["q10"] >= 0.55
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for figure in ("q10", "macro_f1", "membrane_q2", "ece"):
        assert f"{artifact.metrics[figure]:.4f}" in card
    assert "/" not in json.dumps(artifact.training)  # no path of the machine that trained it


def test_it_tells_letters_at_random_from_a_protein(default: Model) -> None:
    answer = predict_fn([PREPROINSULIN, *random_sequences([300] * 20)], default)
    insulin, *letters = [each["outside"] > answer["outside_above"] for each in answer["predictions"]]
    assert not insulin and sum(letters) >= 18


def test_its_card_says_how_often_it_errs_on_what_it_does_not_know() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for group in (
        "without one",
        "29 residues from the middle",
        "B. subtilis 168 (RefSeq), not learned from",
        "yeast",
        "shuffled",
    ):
        assert f"| {group} |" in card, group


def test_it_knows_that_insulin_is_secreted_and_not_held_by_a_membrane(default: Model) -> None:
    prediction = predict_fn([PREPROINSULIN], default)["predictions"][0]
    assert LOCATIONS[int(np.argmax(prediction["probabilities"]))] == "Extracellular"
    assert max(prediction["probabilities"]) > 0.5
    assert prediction["membrane"] < 0.5
