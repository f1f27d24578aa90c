"""The outcome of a run: its figures, what it tells, and an artifact that says what it does not know."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model import train
from model.job import METRICS
from model.learning import outcome
from model.learning.activations import Tokens
from model.learning.distribution import Processes
from model.learning.settings import Settings
from model.proteins.labelled import LOCATIONS, MEMBRANE_UNKNOWN, LabelledProtein, read_labelled
from model.serving.artifact import read_artifact
from model.serving.classifier import build_small, small_config
from model.serving.inference import model_fn, predict_fn
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer
from tests.model.runs import plain, write_channels
from tests.model.tiny import HEAD, write_labelled

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def proteins(tmp_path: Path) -> list[LabelledProtein]:
    return read_labelled(write_labelled(tmp_path / "labelled.fasta", 40))


def sure(proteins: list[LabelledProtein]) -> outcome.Answers:
    """Logits that name each protein's own location, and its membrane where that is known."""
    logits = np.full((len(proteins), len(LOCATIONS)), -2.0)
    logits[np.arange(len(proteins)), [protein.location for protein in proteins]] = 2.0
    return logits, np.array([4.0 if protein.membrane == 1 else -4.0 for protein in proteins])


def test_an_epochs_figures_are_those_of_calibrated_answers(proteins: list[LabelledProtein]) -> None:
    metrics = outcome.report(sure(proteins), proteins)
    assert metrics["q10"] == metrics["macro_f1"] == metrics["membrane_q2"] == 1.0
    assert metrics["split"] == "validation" and metrics["loss"] < 0.1
    calibration, figures = outcome.judge(sure(proteins), proteins)
    assert figures["q10"] == 1.0 and calibration["method"] == "temperature"


def test_a_protein_gets_the_same_logits_however_many_are_looked_at_at_once(
    proteins: list[LabelledProtein],
) -> None:
    classifier, batch_sizes = build_small(small_config(32, 1, 64), len(LOCATIONS), HEAD), list[int]()

    class Counting(nn.Module):
        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
            batch_sizes.append(len(ids))
            return classifier(ids, mask)

    tokenizer = ResidueTokenizer(PROTEIN_VOCABULARY)
    tokens = Tokens([tokenizer.encode(each.sequence) for each in proteins], tokenizer, 66)
    wide = outcome.predict(ALONE, classifier, Counting(), tokens, 4096, "fp32")
    assert max(batch_sizes) > 4
    batch_sizes.clear()
    narrow = outcome.predict(ALONE, classifier, Counting(), tokens, 4096, "fp32", 4)
    assert max(batch_sizes) == 4 and sum(batch_sizes) == len(proteins)
    assert np.allclose(wide[0], narrow[0], atol=1e-5) and np.allclose(wide[1], narrow[1], atol=1e-5)


def test_what_is_told_is_what_sagemaker_looks_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, proteins: list[LabelledProtein]
) -> None:
    epoch = {"epoch": 2, "training_loss": 1.25, "seconds": 3.0} | outcome.report(sure(proteins), proteins)
    outcome.tell(Settings(Path("t"), output_data_dir=tmp_path), [epoch])
    printed = capsys.readouterr().out
    assert all(re.search(metric["Regex"], printed) for metric in METRICS)
    assert "Training Loss: 1.2500" in printed and (tmp_path / "history.json").is_file()


def test_without_a_membrane_label_nothing_is_said_of_membranes(tmp_path: Path) -> None:
    base = write_channels(tmp_path / "ml")
    for path in (base / "input" / "data" / "training").iterdir():
        path.write_text(re.sub("-[MSU]( test)?$", r"-U\1", path.read_text(), flags=re.MULTILINE))
    train.main(plain(base, tmp_path / "model", "--epochs", "1"))
    artifact = read_artifact(tmp_path / "model")
    assert artifact.calibration["membrane_temperature"] is None and artifact.metrics["membrane_q2"] is None
    card = (artifact.folder / "README.md").read_text()
    assert "Nothing about membranes" in card and "bound to a membrane, from" not in " ".join(card.split())
    [prediction] = predict_fn(["MKVLA"], model_fn(str(artifact.folder)))["predictions"]
    assert prediction["membrane"] is None and sum(prediction["probabilities"]) == pytest.approx(1)


def test_what_a_run_began_with_may_know_of_membranes(tmp_path: Path, proteins: list[LabelledProtein]) -> None:
    unknown = [replace(protein, membrane=MEMBRANE_UNKNOWN) for protein in proteins]
    classifier = build_small(small_config(32, 1, 64), len(LOCATIONS), HEAD)
    first: list[Any] = []
    for name, learned in (("first", proteins), ("second", unknown)):
        outcome.write(
            tmp_path / name,
            classifier,
            ResidueTokenizer(PROTEIN_VOCABULARY),
            version=name,
            max_residues=64,
            judged=outcome.judge(outcome.of_known_membranes(sure(proteins), learned, first), proteins),
            proteins=learned,
            learned_from={"sha256": "0" * 64, "proteins": len(learned)},
            training={},
            earlier=first,
        )
        first = [read_artifact(tmp_path / name)]
    assert first[0].calibration["membrane_temperature"] is not None
