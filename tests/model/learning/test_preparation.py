"""Preparing a run that begins with an artifact: nothing it has learned from chooses an epoch."""

from __future__ import annotations

from pathlib import Path

from model.learning.preparation import unlearned
from model.proteins import labelled as data
from model.proteins import seen
from tests.model.tiny import write_labelled


def test_what_the_champion_learned_from_chooses_nothing(tmp_path: Path) -> None:
    proteins = data.read_labelled(write_labelled(tmp_path / "own.fasta", 100))
    seen.write(tmp_path, proteins[:60])
    assert unlearned(proteins, tmp_path) == proteins[60:]
    assert unlearned(proteins[:79], tmp_path) == proteins[:79]  # nineteen are too few to say anything
    assert unlearned(proteins, tmp_path / "silent") == proteins
