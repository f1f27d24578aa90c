"""Artificial sequences fit their names, and differ from proteins by more than their beginning."""

from __future__ import annotations

import numpy as np
import pytest

from model.proteins.artificial import BASES, KINDS, RESIDUES, artificial, gene, translated
from tests.model.tiny import random_sequences

PROTEINS = [f"M{sequence}" for sequence in random_sequences([60, 200, 61, 300] * 10)]


def test_a_gene_encodes_its_protein_in_its_own_frame_and_in_no_other() -> None:
    for protein in PROTEINS[:8]:
        bases = gene(protein, np.random.default_rng(0))
        assert translated(bases, 0) == protein
        assert all(translated(bases, frame) != protein for frame in range(1, 6))


def test_the_other_strand_is_read_backwards_and_paired() -> None:
    """CAT is ATG, a methionine, from the other side."""
    bases = np.array([BASES.index(base) for base in "TTACATCC"])
    assert [translated(bases, frame) for frame in (0, 5)] == ["LH", "M*"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_letters_of_proteins_half_of_which_begin_with_methionine(kind: str) -> None:
    made = artificial(PROTEINS, kind)
    assert len(made) == len(PROTEINS) and all(made)
    assert set("".join(made)) <= set(RESIDUES)
    assert not set(made) & set(PROTEINS)
    assert 0.3 < np.mean([sequence.startswith("M") for sequence in made]) < 0.9
    assert made == artificial(PROTEINS, kind)  # the same every time
    assert made != artificial(PROTEINS, kind, seed=1)


def test_shuffled_and_reversed_proteins_keep_their_residues_but_for_the_first() -> None:
    for kind in ("shuffled", "reversed"):
        for protein, made in zip(PROTEINS, artificial(PROTEINS, kind), strict=True):
            assert len(made) == len(protein)
            assert sorted(made[1:]) == sorted(made)[:0] + sorted(made[1:])
            assert sum(abs(made.count(residue) - protein.count(residue)) for residue in RESIDUES) <= 2
