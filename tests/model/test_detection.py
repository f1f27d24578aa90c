"""A detector learns from labelled proteins alone, is measured on others, and stays with its artifact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import detection
from model.proteins.labelled import LabelledProtein
from model.serving.artifact import read_artifact
from model.serving.inference import model_fn
from model.serving.outside import FILE
from tests.model.tiny import build_tiny_ensemble


@pytest.fixture(scope="module")
def proteins() -> list[LabelledProtein]:
    """Proteins that have something in common which no rearrangement keeps: every other residue is polar."""
    random = np.random.default_rng(0)
    made = []
    for index in range(240):
        pairs = zip(random.choice(list("AVLIFWMCYP"), 60), random.choice(list("DEKRNQSTGH"), 60), strict=True)
        sequence = "M" + "".join(residue for pair in pairs for residue in pair)
        made.append(LabelledProtein(f"P{index:05}", sequence, index % 10, 0.0, index < 10))
    return made


@pytest.fixture(scope="module")
def detected(proteins: list[LabelledProtein], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_tiny_ensemble(tmp_path_factory.mktemp("detected") / "artifact")
    patch = pytest.MonkeyPatch()
    patch.setattr(detection, "MIN_PROTEINS", 100)
    bacterial = [f"M{'AGHW' * 20}{number}".rstrip("0123456789") for number in range(40)]
    detection.add(folder, proteins, {"mycoplasma": bacterial}, {"same": [p.sequence for p in proteins[:10]]})
    patch.undo()
    return folder


def test_it_tells_what_it_can_and_says_how_often_it_errs(detected: Path) -> None:
    detector = read_artifact(detected).outside
    figures = detector["figures"]
    assert detector["kinds"] == ["prokaryotic", "artificial"] and detector["prokaryotes"] == ["mycoplasma"]
    assert figures["eukaryotic, families held out"]["outside"] == pytest.approx(0.05, abs=0.05)
    assert figures["same"]["outside"] < 0.3
    assert figures["random letters"]["outside"] > 0.8 and figures["shuffled"]["outside"] > 0.5
    assert figures["mycoplasma, not learned from"]["sequences"] == 40
    for figure in figures.values():
        assert figure["confident_inside"] <= figure["confident"]


def test_the_card_says_how_often_it_errs(detected: Path) -> None:
    card = (detected / "README.md").read_text(encoding="utf-8")
    assert "| wrong frame |" in card and "learned from mycoplasma" in " ".join(card.split())
    assert "does not tell" not in card


def test_serving_finds_it(detected: Path) -> None:
    assert model_fn(str(detected)).detector is not None


def test_too_few_proteins_teach_nothing(proteins: list[LabelledProtein], tmp_path: Path) -> None:
    folder = build_tiny_ensemble(tmp_path / "artifact")
    detection.add_missing(folder, proteins)
    assert not read_artifact(folder).outside and not (folder / FILE).exists()
    assert "It does not tell" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_model_that_begins_with_another_keeps_its_detector(detected: Path, tmp_path: Path) -> None:
    folder = build_tiny_ensemble(tmp_path / "artifact")
    before = read_artifact(detected)
    after = detection.inherited(read_artifact(folder), [replace(before, outside={}), before])
    assert after.outside == before.outside
    assert (folder / FILE).read_bytes() == (detected / FILE).read_bytes()


def test_files_are_read_plain_and_compressed_without_what_is_no_letter(tmp_path: Path) -> None:
    import gzip

    text = b">a x>y\nMKV\nLA*\n>b\nmkv\n>c\nMK1\n>d\nMK*V\n"
    (tmp_path / "a.faa").write_bytes(text)
    (tmp_path / "a.faa.gz").write_bytes(gzip.compress(text))
    for path in tmp_path.iterdir():
        assert detection.read_fasta(path) == ["MKVLA", "MKV"]
