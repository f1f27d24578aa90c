"""An artifact is judged as it is served, on the proteins asked for, and each look is written down."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import measure
from model.judging import judgement as evaluate
from model.judging.answered import Answered
from model.judging.figures import HEADLINE
from model.proteins.labelled import LOCATIONS, read_labelled
from model.serving import inference
from model.serving.artifact import read_artifact, write_description
from model.serving.inference import model_fn, predict_fn
from tests.model.answered import random_answers
from tests.model.tiny import build_tiny_artifact, write_labelled

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tiny_artifact: Path, tmp_path: Path) -> Path:
    """An artifact that may be written to, with no figures yet."""
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    write_description(read_artifact(folder).with_metrics({}))
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """90 labelled proteins: 30 of them of the test split."""
    return write_labelled(tmp_path / "all.fasta", 90, test=30)


@pytest.fixture
def run(folder: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; the validation split are 40 proteins. Returns its output."""
    listed = tmp_path / "validation.txt"
    listed.write_text("\n".join(protein.accession for protein in read_labelled(labelled)[30:70]))

    def judged(*arguments: object, of: Path = folder) -> dict[str, Any]:
        words = [str(of), str(labelled), "--validation", str(listed), *map(str, arguments)]
        measure.main(words)
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return judged


def test_validation_is_what_is_measured_unless_test_is_asked_for(run: Run) -> None:
    validation = run()
    assert (validation["split"], validation["proteins"], validation["looks"]) == ("validation", 40, [])
    test = run("--split", "test")
    assert (test["split"], test["proteins"], len(test["looks"])) == ("test", 30, 1)
    everything = run("--split", "all")
    assert (everything["split"], everything["proteins"], len(everything["looks"])) == ("all", 90, 2)


def test_figures_are_those_of_the_answers_that_are_served(run: Run, folder: Path, labelled: Path) -> None:
    proteins = read_labelled(labelled)[30:70]
    answers = predict_fn([protein.sequence for protein in proteins], model_fn(str(folder)))["predictions"]
    right = [
        np.argmax(answer["probabilities"]) == protein.location
        for answer, protein in zip(answers, proteins, strict=True)
    ]
    assert run()["q10"] == pytest.approx(np.mean(right), abs=1e-4)


def test_every_look_at_test_is_listed_and_none_is_ever_lost(run: Run, folder: Path) -> None:
    first = run("--split", "test")["looks"]
    assert (
        first[0]["proteins"] == 30 and first[0]["version"] == "tiny-1" and first[0]["date"].startswith("20")
    )
    run("--write")
    run("--split", "test", "--write")
    run("--calibrate")
    looks = read_artifact(folder).metrics["looks"]
    assert [look["split"] for look in looks] == ["test", "test"] and looks[0] == first[0]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.count("| tiny-1 | test | 30 |") == 2


def test_a_look_that_cannot_be_listed_is_not_taken(
    run: Run, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(measure.os, "access", lambda path, mode: False)
    monkeypatch.setattr(evaluate, "answers", lambda *_: pytest.fail("looked"))
    with pytest.raises(SystemExit, match="read-only"):
        run("--split", "test")
    assert "looks" not in read_artifact(folder).metrics


def test_looks_of_an_earlier_model_count_for_the_one_that_came_of_it(run: Run, tmp_path: Path) -> None:
    earlier = build_tiny_artifact(tmp_path / "earlier", "tiny-0", seed=4)
    run("--split", "test", of=earlier)
    run("--split", "test", of=earlier)
    versions = [look["version"] for look in run("--split", "test", "--earlier", earlier)["looks"]]
    assert versions == ["tiny-0", "tiny-0", "tiny-1"]
    assert len(run("--earlier", earlier)["looks"]) == 3, "each look is listed once"


def test_without_write_only_looks_are_kept(run: Run, folder: Path) -> None:
    old = {"q10": 0.1, "macro_f1": 0.1, "membrane_q2": None, "ece": 0.1, "recall": {}, "proteins": 3}
    for metrics in (
        {},
        old | {"split": "test"},
    ):  # a look from before they were listed is not written down now
        write_description(read_artifact(folder).with_metrics(metrics))
        before = (folder / "artifact.json").read_bytes()
        run()
        assert (folder / "artifact.json").read_bytes() == before
    write_description(read_artifact(folder).with_metrics({}))
    run("--split", "test")
    assert set(read_artifact(folder).metrics) == {"looks"}


def test_written_figures_of_test_come_first_and_those_of_validation_stay_beside_them(
    run: Run, folder: Path
) -> None:
    validation, test = run("--write"), run("--split", "test", "--write")
    again = run("--write")
    written = read_artifact(folder).metrics
    assert (
        written["split"] == "test"
        and written["q10"] == test["q10"]
        and written["intervals"] == test["intervals"]
    )
    assert written["validation"]["q10"] == validation["q10"] == again["q10"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{test['q10']:.4f} ({test['intervals']['q10'][0]:.3f}–" in card
    assert "test: 30 proteins, DeepLoc 1.0's test split, which chose nothing" in card


def test_calibrating_again_fits_validation_and_drops_the_figures_of_before(run: Run, folder: Path) -> None:
    run("--split", "test", "--write")
    before = run()
    after = run("--calibrate")
    artifact = read_artifact(folder)
    fitted = artifact.calibration
    assert fitted["method"] == "temperature" and fitted["proteins"] == 40
    assert artifact.metrics["split"] == "validation" and "test" not in artifact.metrics
    assert after["log_loss"] < before["log_loss"] and after["q10"] == before["q10"]
    assert after["uncertain"]["below"] == fitted["uncertain_below"]
    assert run("--calibrate")["log_loss"] == after["log_loss"], "fitted anew, not on top"
    assert artifact.calibration == read_artifact(folder).calibration


def test_nothing_is_fitted_on_test(run: Run) -> None:
    with pytest.raises(SystemExit):
        run("--calibrate", "--split", "test")


def test_a_challenger_is_compared_with_the_champion_on_the_same_proteins(run: Run, tmp_path: Path) -> None:
    champion = build_tiny_artifact(tmp_path / "champion", "tiny-0", seed=4)
    run("--split", "all", "--against", champion, "--json", tmp_path / "all.json")
    comparison = json.loads((tmp_path / "all.json").read_text())["against"]
    alone = run("--split", "all", of=champion)
    assert comparison["version"] == "tiny-0"
    loss = comparison["log_loss"]
    assert (
        loss["champion"] == alone["log_loss"] != loss["challenger"]
        and comparison["q10"]["champion"] == alone["q10"]
    )
    assert comparison["q10"]["difference"] == pytest.approx(
        comparison["q10"]["challenger"] - alone["q10"], abs=2e-4
    )
    assert len(alone["looks"]) == 2, "being compared with is being looked at"


def test_the_json_has_everything_and_the_artifact_keeps_what_is_short(
    run: Run, tmp_path: Path, folder: Path
) -> None:
    run("--calibrate", "--json", tmp_path / "all.json")
    judged = json.loads((tmp_path / "all.json").read_text())
    assert np.sum(judged["confusion"]) == judged["proteins"] == 40
    assert sum(bin["proteins"] for bin in judged["reliability"]) == 40
    assert judged["abstention"]["points"][-1]["accuracy"] == judged["q10"]
    assert set(judged["intervals"]) == set(HEADLINE)
    assert [band["from"] for band in judged["lengths"]] == [1, 201, 511, 1001, 2047, 511]
    assert judged["lengths"][0]["q10"] == judged["q10"]  # all of these proteins are short
    assert judged["lengths"][-1] == {"from": 511, "to": None, "proteins": 0} | dict.fromkeys(
        ("q10", "macro_f1", "membrane_q2")
    ) | {"q10_interval": [None, None]}
    assert judged["mistakes"][0]["accession"].startswith("P0")
    assert list(judged["locations"]) == list(LOCATIONS)
    written = read_artifact(folder).metrics
    assert not set(written) & set(evaluate.DETAILS) and len(json.dumps(written)) < 8000
    assert "NaN" not in (tmp_path / "all.json").read_text()


def test_a_report_is_pictures_in_a_folder_or_one_file(run: Run, tmp_path: Path) -> None:
    run("--report", tmp_path / "pictures")
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        *("locations.png", "confusion.png", "reliability.png", "abstention.png", "lengths.png")
    }
    run("--report", tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text().startswith("<!doctype html>")


def test_a_protein_that_the_model_cannot_answer_ends_the_judgement(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:

    real = predict_fn

    def without_one(sequences: list[Any], model: Any) -> dict[str, Any]:
        answer = real(sequences, model)
        answer["predictions"][3] = {"error": "no finite probabilities"}
        return answer

    monkeypatch.setattr(inference, "predict_fn", without_one)
    with pytest.raises(evaluate.EvaluationError, match="an answer for P000033, found: no finite"):
        run()


def test_a_file_without_test_proteins_has_no_test_figures(folder: Path, tmp_path: Path) -> None:
    labelled = write_labelled(tmp_path / "all.fasta", 5)
    with pytest.raises(SystemExit, match="of the test split"):
        measure.main([str(folder), str(labelled), "--split", "test"])


def test_figures_of_a_perfect_model_are_perfect(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 30))
    probabilities = np.eye(10)[[protein.location for protein in proteins]]
    membrane = np.array([max(protein.membrane, 0.0) for protein in proteins])
    figures = evaluate.measured(Answered.of(probabilities, membrane, proteins), LOCATIONS)
    for name, value in zip(HEADLINE, (1, 1, 1, 1, 0, 0, 0), strict=True):
        assert figures[name] == value, name
    for row in figures["locations"].values():
        assert all(math.isclose(row[name], 1) for name in ("precision", "recall", "f1", "mcc"))
        assert row["proteins"] == 3


def test_proteins_over_510_residues_are_judged_apart() -> None:
    answered = random_answers(600)
    long = answered.lengths > 510
    judged = evaluate.judge(answered, LOCATIONS, resamples=50)
    assert judged["lengths"][-1]["proteins"] == long.sum()
    assert judged["lengths"][-1]["q10"] == pytest.approx(answered.right[long].mean(), abs=1e-4)
    assert sum(band["proteins"] for band in judged["lengths"][:-1]) == len(answered)
    short = Answered.only(answered, answered.lengths <= 200)
    assert judged["lengths"][0]["q10"] == pytest.approx(short.right.mean(), abs=1e-4)
