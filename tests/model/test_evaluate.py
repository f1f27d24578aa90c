"""The figures are what their definitions say, on cases small enough to count by hand."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from model import evaluate
from model.artifact import read_artifact
from model.data import LOCATIONS, read_labelled
from tests.model.tiny import write_labelled

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0])


def test_q10_is_the_share_of_right_locations() -> None:
    assert evaluate.accuracy(PREDICTED, TRUTH) == 0.5


def test_recall_is_per_location_and_none_where_there_is_nothing_to_find() -> None:
    assert evaluate.recall(PREDICTED, TRUTH, 4) == [pytest.approx(2 / 3), 0.5, 0.0, None]


def test_macro_f1_counts_each_location_that_occurs_alike() -> None:
    # F1: 2*2/(4+3), 2*1/(2+2), 0; the fourth location does not occur.
    assert evaluate.macro_f1(PREDICTED, TRUTH, 4) == pytest.approx((4 / 7 + 0.5 + 0) / 3)


def test_membrane_q2_leaves_unknown_proteins_out() -> None:
    membrane = np.array([0.9, 0.2, 0.4, 0.5, 0.9])
    truth = np.array([1.0, 0.0, 1.0, 1.0, -1.0])
    assert evaluate.membrane_q2(membrane, truth) == 0.75
    assert evaluate.membrane_q2(membrane[-1:], truth[-1:]) is None


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    always = np.zeros(10, dtype=int)
    assert evaluate.expected_calibration_error(probabilities, always) == pytest.approx(0.1)
    nine_of_ten = np.array([0] * 9 + [1])
    assert evaluate.expected_calibration_error(probabilities, nine_of_ten) == pytest.approx(0.0)
    assert evaluate.expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0.0
    # Too sure by 0.6 in one bin and too modest by 0.1 in another: gaps do not cancel out.
    mixed, truth = np.array([[0.9, 0.1], [0.6, 0.4]] * 5), np.array([0, 1] * 5)
    assert evaluate.expected_calibration_error(mixed, truth) == pytest.approx(0.35)


def test_softmax_rows_sum_to_one_whatever_the_logits() -> None:
    probabilities = evaluate.softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]]))
    assert probabilities == pytest.approx(np.array([[0.5, 0.5], [0.0, 1.0]]))


def test_the_temperature_finds_back_how_sharp_the_logits_were_made() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20000, 5)) * 2
    truth = np.array([random.choice(5, p=row) for row in evaluate.softmax(logits)])
    assert evaluate.fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.05)


def test_an_artifact_is_measured_on_the_split_asked_for_and_its_card_keeps_it(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    labelled = write_labelled(tmp_path / "all.fasta", 60, test=30)
    listed = tmp_path / "validation.txt"
    listed.write_text("\n".join(protein.accession for protein in read_labelled(labelled)[30:50]))
    evaluate.main(
        [str(folder), str(labelled), "--split", "validation", "--validation", str(listed), "--write"]
    )
    validation = json.loads(capsys.readouterr().out)
    assert (validation["split"], validation["proteins"]) == ("validation", 20)
    evaluate.main([str(folder), str(labelled), "--write"])
    test = json.loads(capsys.readouterr().out)
    assert (test["split"], test["proteins"]) == ("test", 30)
    assert list(test["recall"]) == list(LOCATIONS)
    kept = read_artifact(folder).metrics
    assert kept["q10"] == test["q10"] and kept["split"] == "test"
    assert kept["validation"]["q10"] == validation["q10"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| Q10 (accuracy) | {test['q10']:.4f} | {validation['q10']:.4f} |" in card
    assert "which chose nothing" in card


def test_a_file_without_test_proteins_has_no_test_figures(tiny_artifact: Path, tmp_path: Path) -> None:
    labelled = write_labelled(tmp_path / "all.fasta", 5)
    with pytest.raises(SystemExit):
        evaluate.main([str(tiny_artifact), str(labelled)])


def test_figures_of_a_perfect_model_are_perfect(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 30))
    probabilities = np.eye(10)[[protein.location for protein in proteins]]
    membrane = np.array([max(protein.membrane, 0.0) for protein in proteins])
    figures = evaluate.measure(probabilities, membrane, proteins, LOCATIONS)
    assert (figures["q10"], figures["macro_f1"], figures["membrane_q2"], figures["ece"]) == (1, 1, 1, 0)
    assert all(math.isclose(value, 1) for value in figures["recall"].values())
