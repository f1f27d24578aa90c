"""A retraining of labels of one's own, several of them a protein: snapshot, a run from the champion, evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from model import evaluate, snapshot, train
from model.judging.judgement import EvaluationError
from model.learning.loss import location_shift, summed_distance
from model.learning.outcome import unlearned, usual_shares
from model.proteins.divided import HOLDOUT, SPLITS
from model.proteins.labelled import LabelledProtein, read_labelled
from model.proteins.labels import DEEPLOC, Label, LabelsError, LabelSet, own_labels, read_labels
from model.serving.artifact import read_artifact
from model.serving.inference import model_fn
from model.snapshot import SnapshotError, Sources, read_split
from tests.model.several import NAMES, words, write_task
from tests.model.test_snapshot import A, B
from tests.model.tiny import build_tiny_artifact

CONTRADICTION = "C1\tMKVLCDCDCD\tMatrix|Nucleus\tU\nC2\tMKVLCDCDCD\tNucleus\tU\n"
AGREEMENT = "D1\tMKVLEEEEEE\tMatrix|Nucleus\tU\nD2\tMKVLEEEEEE\tNucleus|Matrix\tU\n"
OF_THE_TEN = "T1\tMKVLWWWWWW\tCytoplasm\tU\n"


def write_sources(folder: Path, name: str, labels: LabelSet, parent: str | None = None) -> Path:
    """Pin the labelled table of `folder` as the source of a snapshot."""
    source = {"uri": "mine.tsv", "version_id": "null", "etag": "", "size": 0, "kind": "labels"}
    body = {"schema": 1, "snapshot": name, "sources": [source], "parent": parent} | labels.described()
    place = folder / f"{name}.json"
    place.write_text(json.dumps(body))
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of own labels, the snapshot of a later task, and a model that went on from the first with it."""
    folder = tmp_path_factory.mktemp("own")
    labels, labelled = write_task(folder, 160)
    train.main(words(labels, labelled, folder / "champion", "--model-version", "own-1"))
    with labelled.open("a") as file:
        file.write(CONTRADICTION + AGREEMENT + OF_THE_TEN)
    sources = write_sources(folder, A, LabelSet(read_labels(labels), several=True))
    snapshot.main(["--sources", str(sources), "--output", str(folder / A)])
    train.main(
        [
            *("--start", str(folder / "champion"), "--model-version", "own-2", "--several", "true"),
            *("--training", str(folder / A / "training"), "--validation", str(folder / A / "validation")),
            *("--labels", str(folder / A / "labels"), "--model-dir", str(folder / "challenger")),
            *("--epochs", "2", "--batch-size", "8", "--token-budget", "800", "--distillation", "0.3"),
        ]
    )
    return folder


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> dict[str, Any]:
    evaluate.main(arguments(folder, folder / "champion", "own-1"))
    written: dict[str, Any] = json.loads((folder / "out" / "evaluation.json").read_text())
    return written


def arguments(folder: Path, champion: Path, version: str) -> list[str]:
    return [
        *("--challenger", str(folder / "challenger"), "--challenger-version", "own-2"),
        *("--champion", str(champion), "--champion-version", version),
        *("--snapshot", str(folder / A), "--output", str(folder / "out")),
    ]


def test_a_snapshot_is_of_the_labels_that_its_sources_name(folder: Path) -> None:
    manifest = json.loads((folder / A / "manifest.json").read_text())
    labels = LabelSet.read(manifest)
    assert labels == LabelSet(read_labels(folder / A / "labels"), several=True)
    assert labels.labels[2] == Label("Nucleus", "Cell nucleus", ("GO:0005634", "GO:0031981"))
    assert all(list(split["locations"]) == list(NAMES) for split in manifest["splits"].values())
    problems = manifest["problems"]
    assert problems["unknown_locations"]["first"][0]["problem"].startswith("unknown location 'Cytoplasm'")
    first, second = problems["conflicts"]["first"]
    assert first["problem"].startswith("Matrix|Nucleus, but Nucleus in mine.tsv line")
    assert second["problem"].startswith("Nucleus, but Matrix|Nucleus in mine.tsv line")
    proteins = {each.accession: each for name in SPLITS for each in read_split(str(folder / A), name, labels)}
    assert proteins["D1"].places == (0, 2) and "D2" not in proteins  # the same places in another order
    read = {
        each.accession: each
        for each in read_labelled(folder / "mine.tsv", (*NAMES, "Cytoplasm"), several=True)
    }
    assert all(each.places == read[name].places for name, each in proteins.items())


def test_a_snapshot_goes_on_from_a_parent_of_the_same_labels(folder: Path) -> None:
    labels = LabelSet(read_labels(folder / A / "labels"), several=True)
    sources = write_sources(folder, B, labels, parent=A)
    snapshot.main(["--sources", str(sources), "--output", str(folder / B)])
    held = [read_split(str(folder / name), HOLDOUT, labels) for name in (A, B)]
    assert held[0] == held[1]
    manifest = json.loads((folder / B / "manifest.json").read_text())
    assert manifest["changes"] == {"since": A, "added": 0, "removed": 0, "relabelled": 0}


def test_a_run_that_begins_with_the_champion_learns_its_labels(folder: Path) -> None:
    before, after = (read_artifact(folder / name) for name in ("champion", "challenger"))
    assert after.locations == NAMES and after.thresholds is not None and after.labels == before.labels
    assert after.training["start"]["version"] == "own-1"
    assert (
        after.training["usual_shares"] == usual_shares(before) == pytest.approx([0.5, 0.375, 0.5], abs=0.02)
    )


def test_a_location_stays_unlearned_until_a_run_learns_it(folder: Path) -> None:
    proteins = read_labelled(folder / A / "training" / "proteins.tsv", NAMES, several=True)
    learned = [each for each in proteins if each.places == (0,)]
    run = SimpleNamespace(training=learned, locations=NAMES)
    assert unlearned(run, []) == {"unlearned": ["Inner membrane", "Nucleus"]}
    before = read_artifact(folder / "champion")
    assert unlearned(run, [before]) == {} and "unlearned" not in before.data
    earlier = replace(before, data={**before.data, "unlearned": ["Nucleus"]})
    assert unlearned(run, [earlier]) == {"unlearned": ["Nucleus"]}


def test_both_models_are_judged_by_their_own_labels(folder: Path, evaluation: dict[str, Any]) -> None:
    assert evaluation["labels"] == own_labels(read_artifact(folder / "challenger"))
    assert all(0 < each["threshold"] < 1 for each in evaluation["labels"])
    for side in ("challenger", "champion"):
        assert list(evaluation[side]["locations"]) == list(NAMES)
        assert evaluation[side]["macro_f1"] > 0.6
    assert len(evaluation["against"]["recall"]) == 3
    assert "Inner membrane" in (folder / "out" / "report.html").read_text()


def test_a_model_of_other_labels_is_not_judged_beside_it(folder: Path, tmp_path: Path) -> None:
    ten = build_tiny_artifact(tmp_path / "ten", "tiny-1", seed=1)
    with pytest.raises(SystemExit):
        evaluate.main(arguments(folder, ten, "tiny-1"))
    with pytest.raises(
        EvaluationError, match="expected a model of any of the locations Matrix, Inner membrane"
    ):
        evaluate.contestant(
            model_fn(str(ten)), [LabelledProtein("P", "MKV", 0, 1.0, False)], NAMES, several=True
        )


def test_a_run_must_be_of_one_or_of_several_as_what_it_begins_with(folder: Path, tmp_path: Path) -> None:
    plain = [
        *("--start", str(folder / "champion"), "--model-dir", str(tmp_path / "out")),
        *("--training", str(folder / A / "training"), "--labels", str(folder / A / "labels")),
    ]
    labelled = folder / A / "training" / "proteins.tsv"
    one = tmp_path / "one.tsv"
    one.write_text("".join(line for line in labelled.read_text().splitlines(True) if "|" not in line))
    plain[plain.index("--training") + 1] = str(one)
    with pytest.raises(ValueError, match=r"expected --several with --start .*; own-1 may name several"):
        train.main(plain)


def test_labels_that_no_file_could_name_are_refused() -> None:
    assert LabelSet.read({}) is DEEPLOC and DEEPLOC.described() == {}
    wrong = {"labels": [{"name": "a\tb", "display": "a", "go": []}]}
    with pytest.raises(LabelsError, match="labels: expected a name"):
        LabelSet.read(wrong)
    body = {"schema": 1, "snapshot": A, "sources": [], "parent": None, "labels": [{"name": "a"}]}
    with pytest.raises(SnapshotError, match=r"expected a whole sources\.json"):
        Sources.read(json.dumps(body).encode())


def test_the_shift_of_several_is_that_of_yes_against_no() -> None:
    proteins = [LabelledProtein("P", "M", 0, 0.0, False, (1,))] * 450
    shift = location_shift(proteins, [0.5, 0.1, 0.2], several=True)
    shares = (450 + 50 * np.array([0.5, 0.1])) / 500
    assert shift[:2] == pytest.approx(np.log(shares / (1 - shares)) - np.log([1.0, 1 / 9]), rel=1e-5)
    assert shift[2] == pytest.approx(np.log(0.02 / 0.98) - np.log(0.25), rel=1e-5)


def test_several_locations_are_as_far_from_a_teachers_as_each_yes_or_no() -> None:
    logits, taught = torch.tensor([[0.3, -2.0], [1.0, 0.0]]), torch.tensor([[1.2, 0.1], [1.0, 0.0]])
    bound = torch.zeros(2)
    distance = summed_distance(logits, bound, taught, bound, several=True)
    probabilities, expected = taught[0].sigmoid(), 0.0
    for place in range(2):
        p, q = (torch.distributions.Bernoulli(logits=each[0, place]) for each in (taught, logits))
        expected += float(torch.distributions.kl_divergence(p, q))
    assert float(distance) == pytest.approx(expected, rel=1e-5) and len(probabilities) == 2
    assert float(summed_distance(taught, bound, taught, bound, several=True)) == pytest.approx(0, abs=1e-6)
