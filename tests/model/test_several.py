"""Several locations a protein: read, learned, calibrated with a threshold a label, served, judged, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model import launch, look, measure, train
from model.judging import calibrating_several, figures
from model.judging.answered import Answered
from model.judging.judgement import EvaluationError, contestant, measured
from model.learning.loss import class_weights, summed_loss
from model.proteins.labelled import LOCATIONS, LabelError, read_labelled
from model.proteins.labels import LabelsError, own_labels
from model.proteins.training_data import describe, digest, memberships, missing_locations
from model.serving import several
from model.serving.artifact import pack, read_artifact, unpack, write_description
from model.serving.inference import model_fn, predict_fn
from tests.model.several import NAMES, sequence_of, words, write_task
from tests.model.tiny import random_sequences


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def folder(task: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact that a run leaves, as a container unpacks it."""
    base = tmp_path_factory.mktemp("several")
    train.main(words(*task, base / "out", "--model-version", "mine-1"))
    return unpack(pack(base / "out", base / "model.tar.gz"), base / "served").folder


def test_a_labelled_protein_may_have_several_locations_where_several_are_learned(tmp_path: Path) -> None:
    path = tmp_path / "mine.fasta"
    path.write_text(">P1 Nucleus|Cytoplasm-S\nMKV\n>P2 Cytoplasm-Nucleus-U test\nMKL\n>P3 Plastid-M\nMM\n")
    proteins = read_labelled(path, several=True)
    assert [[LOCATIONS[place] for place in protein.places] for protein in proteins] == [
        ["Nucleus", "Cytoplasm"],
        ["Cytoplasm", "Nucleus"],
        ["Plastid"],
    ]
    assert memberships(proteins, 10).sum(axis=0).tolist() == [0, 2, 0, 0, 0, 0, 0, 2, 0, 1]
    assert describe(proteins)["locations"]["Nucleus"]["proteins"] == 2
    assert "Cytoplasm" not in missing_locations(proteins)
    assert digest(proteins[:1]) != digest(read_labelled(path, several=True)[2:])
    with pytest.raises(LabelError, match=r"line 1: expected one location, found several; .*--several"):
        read_labelled(path)


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("Nucleus|Nucleus", "expected each location once, found 'Nucleus|Nucleus'"),
        ("Nucleus|Elsewhere", "unknown location 'Elsewhere'"),
        ("Nucleus|", "unknown location ''"),
    ],
)
def test_locations_that_are_none_are_refused(location: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(f"accession\tsequence\tlocation\tmembrane\nP1\tMKV\t{location}\tS\n")
    with pytest.raises(LabelError, match=problem.replace("|", r"\|")):
        read_labelled(path, several=True)


def test_each_label_is_learned_by_itself() -> None:
    logits, truth = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1.0, 0.0, 1.0]])
    unknown = torch.tensor([-1.0])
    weights = torch.tensor([1.0, 2.0, 3.0])
    loss = float(summed_loss(logits, torch.zeros(1), truth, unknown, weights, 0.0))
    expected = np.log1p(np.exp(-2.0)) + 2 * np.log1p(np.exp(-1.0)) + 3 * np.log1p(np.exp(-0.5))
    assert loss == pytest.approx(expected, rel=1e-6)


def test_a_threshold_is_chosen_for_each_label_on_its_own() -> None:
    """Of a rare label that the network is never sure of, a low one finds proteins that a half would miss."""
    random = np.random.default_rng(0)
    truth = np.zeros((400, 2), dtype=bool)
    truth[:200, 0], truth[::20, 1] = True, True
    logits = np.where(truth, 2.0, -2.0) + random.normal(0, 0.5, truth.shape)
    logits[:, 1] -= 2.5
    fitted = calibrating_several.fit(logits, truth, np.full(400, np.nan), np.full(400, -1.0))
    assert fitted["membrane_temperature"] is None and len(fitted["thresholds"]) == 2
    assert fitted["thresholds"][1] < fitted["thresholds"][0]
    names = several.named(
        1 / (1 + np.exp(-logits / fitted["label_temperatures"])), np.array(fitted["thresholds"])
    )
    assert (names[truth[:, 1], 1]).mean() > 0.9
    assert 0 < fitted["uncertain_below"] < 1


def test_a_label_that_validation_never_or_always_has_is_named_from_a_half_on() -> None:
    truth = np.array([[True, False]] * 30)
    fitted = calibrating_several.fit(np.where(truth, 3.0, -3.0), truth, np.zeros(30), np.full(30, -1.0))
    assert fitted["thresholds"] == [0.5, 0.5] and fitted["membrane_temperature"] == 1.0


def test_figures_count_each_location_against_the_rest_and_answers_as_a_whole() -> None:
    probabilities = np.array([[0.9, 0.8, 0.1], [0.9, 0.2, 0.1], [0.1, 0.2, 0.4], [0.9, 0.1, 0.6]])
    places = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=bool)
    answered = Answered(
        probabilities,
        np.full(4, np.nan),
        places.argmax(axis=1),
        np.full(4, -1.0),
        np.full(4, 100),
        places,
        np.array([0.5, 0.5, 0.5]),
    )
    metrics = measured(answered, NAMES)
    assert metrics["q10"] == 0.5, "the first as it is, the third by what comes nearest"
    assert metrics["jaccard"] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    assert [metrics["locations"][name]["recall"] for name in NAMES] == [1.0, 0.5, 1.0]
    assert [metrics["locations"][name]["precision"] for name in NAMES] == [1.0, 1.0, 0.5]
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3, abs=1e-4)
    assert answered.confidence[0] == pytest.approx(0.9 * 0.8 * 0.9)
    assert answered.confusion().tolist() == [[3, 1, 1], [2, 1, 0], [0, 0, 1]]
    assert figures.mistakes(answered) == [
        (1, pytest.approx(0.9 * 0.8 * 0.9)),
        (3, pytest.approx(0.9**2 * 0.6)),
    ]


def test_weights_count_a_protein_in_each_of_its_locations(task: tuple[Path, Path]) -> None:
    proteins = read_labelled(task[1], NAMES, several=True)
    weights = class_weights(proteins, 1.0, 3)
    counts = memberships(proteins, 3).sum(axis=0)
    assert (weights * counts) == pytest.approx(np.full(3, counts.sum() / 3))


def test_three_labels_are_learned_served_and_measured(
    folder: Path, task: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = read_artifact(folder)
    assert artifact.locations == NAMES and artifact.thresholds is not None
    assert artifact.metrics["macro_f1"] > 0.8 and artifact.metrics["jaccard"] > 0.7
    assert "A protein may be in several places" in " ".join((folder / "README.md").read_text().split())
    model, random = model_fn(str(folder)), np.random.default_rng(7)
    asked = [(0, 1), (1, 2), (2,), (0,)]
    answer = predict_fn([sequence_of(places, random) for places in asked], model)
    assert answer["locations"] == list(NAMES) and answer["thresholds"] == list(artifact.thresholds)
    assert [each["named"] for each in answer["predictions"]] == [
        [NAMES[at] for at in places] for places in asked
    ]
    for each in answer["predictions"]:
        named = [name in each["named"] for name in NAMES]
        product = np.prod(
            [p if there else 1 - p for p, there in zip(each["probabilities"], named, strict=True)]
        )
        assert each["confidence"] == pytest.approx(product)
    json.dumps(answer, allow_nan=False)
    capsys.readouterr()
    measure.main([str(folder), str(task[1]), "--split", "all", "--against", str(folder)])
    judged = json.loads(capsys.readouterr().out)
    assert judged["proteins"] == 160 and judged["q10"] > 0.7
    assert judged["locations"]["Inner membrane"]["proteins"] == 60
    measure.main([str(folder), str(task[1]), "--calibrate", "--report", str(tmp_path / "report.html")])
    assert "Inner membrane" in (tmp_path / "report.html").read_text()
    assert len(read_artifact(folder).calibration["thresholds"]) == 3


def test_every_answer_names_at_least_one_location(folder: Path) -> None:
    for each in predict_fn(random_sequences([3, 60, 500]), model_fn(str(folder)))["predictions"]:
        assert each["named"] and set(each["named"]) <= set(NAMES)


def test_a_stack_gets_the_labels_and_their_thresholds(folder: Path, tiny_artifact: Path) -> None:
    artifact = read_artifact(folder)
    own = own_labels(artifact)
    assert [each["name"] for each in own] == list(NAMES)
    assert [each["threshold"] for each in own] == list(artifact.thresholds or ())
    assert own[2]["go"] == ["GO:0005634", "GO:0031981"]
    assert own_labels(read_artifact(tiny_artifact)) == []


def test_labels_that_no_file_could_have_named_reach_no_stack(folder: Path, tmp_path: Path) -> None:
    artifact = read_artifact(folder)
    description = json.loads((folder / "artifact.json").read_text())
    for spoiled in ("=cmd|calc", "A\tB", "\x1b[31m"):
        labels = [{"name": spoiled, "display": "A", "go": []}, *description["labels"][1:]]
        with pytest.raises(LabelsError, match=r"artifact\.json: expected a name"):
            own_labels(type(artifact)(**{**vars(artifact), "labels": labels}))


def test_what_cannot_be_learned_or_judged_so_is_refused_by_name(
    folder: Path, task: tuple[Path, Path], tmp_path: Path
) -> None:
    labels, labelled = task
    one_each = [word for word in words(labels, labelled, tmp_path / "out") if word != "--several"]
    with pytest.raises(LabelError, match="expected one location, found several"):
        train.main(one_each)
    with pytest.raises(EvaluationError, match="expected a model of one of the locations"):
        contestant(model_fn(str(folder)), read_labelled(labelled, NAMES, several=True))
    files = {"training": labelled, "labels": labels}
    launch.require_readable(files, several=True)
    with pytest.raises(LabelError):
        launch.require_readable(files)


def test_the_look_counts_a_protein_in_each_of_its_locations(
    task: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    look.main([str(task[1]), "--labels", str(task[0]), "--several"])
    out = capsys.readouterr().out
    assert "60 are in several locations and counted in each" in out and "Inner membrane" in out


def test_several_of_the_ten_are_learned_as_well(tmp_path: Path) -> None:
    random, lines = np.random.default_rng(1), []
    for index in range(40):
        name = ("Nucleus", "Cytoplasm", "Cytoplasm|Nucleus", "Plastid")[index % 4]
        lines.append(f">P{index} {name}-U\n{sequence_of((index % 3,), random)}\n")
    (tmp_path / "mine.fasta").write_text("".join(lines))
    settings = ["--several", "--hidden", "32", "--batch-size", "8", "--max-residues", "64", "--epochs", "1"]
    train.main(["--training", str(tmp_path / "mine.fasta"), "--model-dir", str(tmp_path / "out"), *settings])
    artifact = read_artifact(tmp_path / "out")
    assert artifact.locations == LOCATIONS and artifact.labels == []
    assert [each["name"] for each in own_labels(artifact)] == list(LOCATIONS)
    [answer] = predict_fn(["MKVLAAGIVG"], model_fn(str(artifact.folder)))["predictions"]
    assert answer["membrane"] is None and answer["named"]
    write_description(artifact)
    assert read_artifact(artifact.folder).thresholds == artifact.thresholds
