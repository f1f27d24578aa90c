"""Groups of proteins that the overall figures hide are measured apart, and the look at them is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.judging import groups
from model.judging import looks as record
from model.proteins.labelled import LabelledProtein
from model.serving.artifact import read_artifact
from tests.model.tiny import build_tiny_artifact, random_sequences, write_labelled


def protein(sequence: str) -> LabelledProtein:
    return LabelledProtein("P1", sequence, 0, 0.0, False)


def test_a_relative_is_one_of_the_known_and_not_of_those_that_are_asked_about() -> None:
    strangers = random_sequences([200] * 4)
    training = [protein(sequence) for sequence in strangers[:2]]
    queries = [protein(strangers[0][:150]), protein(strangers[2]), protein(strangers[2][:150]), training[1]]
    assert groups.related(queries, training).tolist() == [True, False, False, True]


def test_fragments_are_from_the_middle_or_without_the_beginning() -> None:
    whole = protein("A" * 50 + "C" * 29 + "D" * 50)
    assert groups.shortened(whole).sequence == "C" * 29
    assert groups.beheaded(whole).sequence == "C" * 15 + "D" * 50
    assert groups.shortened(protein("MKV")).sequence == "MKV"


def test_the_card_says_how_sure_it_is_of_each_group_and_that_test_was_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build_tiny_artifact(tmp_path / "artifact")
    labelled = write_labelled(tmp_path / "labelled.fasta", 60, test=20)
    groups.main([str(folder), str(labelled)])
    artifact = read_artifact(folder)
    group_figures = artifact.metrics["groups"]["figures"]
    assert group_figures["all"]["proteins"] == group_figures["29 residues from the middle"]["proteins"] == 20
    assert (
        group_figures["without one"]["proteins"]
        + group_figures.get("with a relative in training", {"proteins": 0})["proteins"]
        == 20
    )
    assert [look["proteins"] for look in record.looks(artifact)] == [20]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (
        f"| 29 residues from the middle | 20 | {group_figures['29 residues from the middle']['q10']:.4f} |"
        in card
    )
    assert "without one" in capsys.readouterr().out
