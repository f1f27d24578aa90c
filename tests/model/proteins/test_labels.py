"""Labels of one's own: read or refused by line, learned, served, measured, and never mixed up with the ten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model import look, measure, train
from model.proteins.labelled import LOCATIONS, LabelError, read_labelled
from model.proteins.labels import TEN, LabelsError, names_of, read_labels
from model.serving.artifact import read_artifact
from model.serving.inference import model_fn, predict_fn

THREE = "name\tdisplay\tgo\nSecreted\tSecreted protein\tGO:0005576\nNuclear\tNucleus\tGO:0005634,GO:0005635\nElse\t\t\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.tsv"
    path.write_text(THREE)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """90 proteins of three labels, each rich in a residue of its own."""
    random, path = np.random.default_rng(0), tmp_path / "mine.fasta"
    records = []
    for index in range(90):
        sequence = random.choice(list("ACDEFGHIKLMNPQRSTVWY"), 40)
        sequence[random.random(40) < 0.6] = "ACD"[index % 3]
        records.append(f">P{index} {('Secreted', 'Nuclear', 'Else')[index % 3]}-S\n{''.join(sequence)}\n")
    path.write_text("".join(records))
    return path


def words(labelled: Path, labels: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--training", str(labelled), "--labels", str(labels), "--model-dir", str(out), "--hidden", "32"),
        *("--batch-size", "8", "--token-budget", "400", "--max-residues", "64", "--epochs", "3", *more),
    ]


def test_a_file_names_places_for_programs_people_and_databases(labels: Path) -> None:
    first, second, third = read_labels(labels)
    assert (first.name, first.display, first.go) == ("Secreted", "Secreted protein", ("GO:0005576",))
    assert second.go == ("GO:0005634", "GO:0005635") and (third.display, third.go) == ("Else", ())
    assert read_labels(labels.parent) == read_labels(labels), "a channel is a folder"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "line 1: expected the columns name, display, go; no name"),
        ("display\nA\n", "no name"),
        ("name\nA\n", "expected 2 to 256 labels in labels.tsv, found 1"),
        ("name\nA\nB\nA\n", "expected each label once in labels.tsv, found A again"),
        ("name\nA\n=cmd\n", "line 3: expected a name of at most 60 letters"),
        ("name\nA\tB|C\nB|C\n", "line 3: expected a name"),
        ("name\tgo\nA\tGO:12\nB\t\n", "line 2: expected terms such as GO:0005634, found 'GO:12'"),
        ("name\tdisplay\nA\t\x1b[31m\nB\t\n", "line 2: expected a display name of printable characters"),
    ],
)
def test_what_cannot_be_a_label_is_refused_by_line(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(content)
    with pytest.raises(LabelsError, match=problem.replace("[", r"\[").replace(".tsv", r"\.tsv")):
        read_labels(path)


def test_three_labels_are_learned_served_and_measured(
    labels: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main(words(labelled, labels, tmp_path / "one", "--num_labels", "3"))
    artifact = read_artifact(tmp_path / "one")
    assert artifact.locations == ("Secreted", "Nuclear", "Else")
    assert [each["display"] for each in artifact.labels] == ["Secreted protein", "Nucleus", "Else"]
    assert artifact.metrics["q10"] > 0.8 and set(artifact.metrics["locations"]) == set(artifact.locations)
    answer = predict_fn(["C" * 40], model_fn(str(artifact.folder)))
    assert answer["locations"] == ["Secreted", "Nuclear", "Else"]
    [probabilities] = [each["probabilities"] for each in answer["predictions"]]
    assert len(probabilities) == 3 and probabilities.index(max(probabilities)) == 1
    capsys.readouterr()
    measure.main([str(artifact.folder), str(labelled), "--split", "all"])
    assert '"Secreted"' in capsys.readouterr().out
    train.main(words(labelled, labels, tmp_path / "two", "--start", str(tmp_path / "one"), "--epochs", "1"))
    assert read_artifact(tmp_path / "two").labels == artifact.labels
    look.main([str(labelled), "--labels", str(labels)])
    assert "Secreted" in capsys.readouterr().out


def test_labels_that_do_not_fit_are_refused_before_the_first_step(
    labels: Path, labelled: Path, tiny_artifact: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected --num-labels 3, one for each label, found 10"):
        train.main(words(labelled, labels, tmp_path / "out", "--num_labels", "10"))
    with pytest.raises(LabelError, match=r"unknown location 'Secreted'; expected one of Cell\.membrane"):
        read_labelled(labelled)
    with pytest.raises(ValueError, match=r"expected the locations .*Secreted.* found .*Cell.membrane"):
        train.main(words(labelled, labels, tmp_path / "out", "--start", str(tiny_artifact)))
    assert names_of(TEN) == LOCATIONS
