"""The outcome of a run: its figures, its messages, and an artifact that states its limits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model import train
from model.job import METRICS
from model.learning import outcome
from model.learning.distribution import Processes
from model.learning.settings import Settings
from model.learning.validation import judge, of_known_membranes, report
from model.proteins.labelled import LOCATIONS, MEMBRANE_UNKNOWN, LabelledProtein
from model.serving.artifact import read_artifact
from model.serving.classifier import build_small, small_config
from model.serving.inference import model_fn, predict_fn
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer
from tests.model.learning.answers import sure
from tests.model.runs import plain, write_channels
from tests.model.tiny import HEAD

ALONE = Processes(0, 1, torch.device("cpu"))


def test_sagemakers_metric_definitions_match_the_printed_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, proteins: list[LabelledProtein]
) -> None:
    epoch = {"epoch": 2, "training_loss": 1.25, "seconds": 3.0} | report(sure(proteins), proteins)
    outcome.print_epoch(Settings(Path("t"), output_data_dir=tmp_path), [epoch])
    printed = capsys.readouterr().out
    assert all(re.search(metric["Regex"], printed) for metric in METRICS)
    assert "Training Loss: 1.2500" in printed and (tmp_path / "history.json").is_file()


def test_a_model_without_membrane_labels_answers_nothing_about_membranes(tmp_path: Path) -> None:
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
            judged=judge(of_known_membranes(sure(proteins), learned, first), proteins),
            proteins=learned,
            learned_from={"sha256": "0" * 64, "proteins": len(learned)},
            training={},
            earlier=first,
        )
        first = [read_artifact(tmp_path / name)]
    assert first[0].calibration["membrane_temperature"] is not None
