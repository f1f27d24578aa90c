"""An artifact's figures stay apart by split, and looks are only ever added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from model.judging import looks as record
from model.serving.artifact import Artifact, read_artifact, write_description

OLD = {"q10": 0.64, "macro_f1": 0.48, "proteins": 2773, "split": "test", "validation": {"q10": 0.66}}


def bare(folder: Path, **metrics: Any) -> Artifact:
    return replace(read_artifact(folder), metrics=metrics)


def test_a_test_figure_from_before_looks_were_listed_counts_as_a_look(tiny_artifact: Path) -> None:
    old = bare(tiny_artifact, **OLD)
    expected = {
        "date": None,
        "version": "tiny-1",
        "split": "test",
        "proteins": 2773,
        "q10": 0.64,
        "macro_f1": 0.48,
    }
    assert record.looks(old) == [expected]
    again = record.with_look(old, {"split": "test", "proteins": 2773, "q10": 0.65, "macro_f1": 0.5})
    assert record.looks(again)[0] == expected and len(record.looks(again)) == 2
    assert record.looks(bare(tiny_artifact, **(OLD | {"split": "validation"}))) == []


def test_figures_of_a_split_replace_those_of_the_same_split_only(tiny_artifact: Path) -> None:
    artifact = record.with_figures(bare(tiny_artifact), {"split": "validation", "q10": 0.1})
    assert artifact.metrics == {"split": "validation", "q10": 0.1}
    artifact = record.with_figures(artifact, {"split": "test", "q10": 0.2})
    assert artifact.metrics["q10"] == 0.2 and artifact.metrics["validation"]["q10"] == 0.1
    artifact = record.with_figures(artifact, {"split": "validation", "q10": 0.3})
    artifact = record.with_figures(artifact, {"split": "all", "q10": 0.4})
    assert (artifact.metrics["split"], artifact.metrics["q10"]) == ("test", 0.2)
    assert artifact.metrics["validation"]["q10"] == 0.3 and artifact.metrics["all"]["q10"] == 0.4
    artifact = record.with_figures(artifact, {"split": "test", "q10": 0.5})
    assert artifact.metrics["q10"] == 0.5 and artifact.metrics["validation"]["q10"] == 0.3


def test_looks_stay_whatever_is_measured_later(tiny_artifact: Path) -> None:
    looked_at = record.with_look(bare(tiny_artifact), {"split": "test", "q10": 0.2})
    for after in (
        record.with_figures(looked_at, {"split": "validation", "q10": 0.1}),
        record.without_figures(record.with_figures(looked_at, {"split": "test", "q10": 0.2})),
        record.with_looks_of(bare(tiny_artifact), [looked_at]),
        record.with_looks_of(looked_at, [looked_at]),
    ):
        assert record.looks(after) == record.looks(looked_at)
    assert record.without_figures(bare(tiny_artifact, **OLD)).metrics == {
        "looks": record.looks(bare(tiny_artifact, **OLD))
    }


def test_writing_leaves_a_description_and_a_card_that_agree(tiny_artifact: Path, tmp_path: Path) -> None:
    for file in tiny_artifact.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    artifact = record.with_look(read_artifact(tmp_path), {"split": "test", "proteins": 7, "q10": 0.25})
    write_description(artifact)
    record.write(artifact)
    assert read_artifact(tmp_path).metrics["looks"] == record.looks(artifact)
    assert "| tiny-1 | test | 7 | 0.2500 | – |" in (tmp_path / "README.md").read_text(encoding="utf-8")
