"""Fragments of proteins, as they are drawn in training."""

from __future__ import annotations

import numpy as np

from model.proteins.fragments import MAX_RESIDUES, MIN_RESIDUES, crop
from model.serving.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer

TOKENIZER = ResidueTokenizer(PROTEIN_VOCABULARY)
IDS = TOKENIZER.encode("MKVFAILEDWY" * 100)


def test_a_fragment_is_a_stretch_of_its_protein_between_the_two_tokens() -> None:
    inside = IDS[1:-1].tobytes()
    for seed in range(200):
        fragment = crop(IDS, (1, seed))
        assert fragment[0] == IDS[0] and fragment[-1] == IDS[-1]
        assert MIN_RESIDUES <= len(fragment) - SPECIAL_TOKENS <= MAX_RESIDUES
        assert fragment[1:-1].tobytes() in inside


def test_half_of_the_fragments_begin_where_their_protein_does() -> None:
    varied = IDS.copy()
    varied[1] = PROTEIN_VOCABULARY.index("W")  # a residue that begins nothing else
    varied[2:-1][varied[2:-1] == varied[1]] = PROTEIN_VOCABULARY.index("A")
    first = np.mean([crop(varied, (2, seed))[1] == varied[1] for seed in range(2000)])
    assert 0.46 < first < 0.56


def test_a_fragment_is_a_function_of_its_seed_and_leaves_the_protein_as_it_is() -> None:
    before = IDS.copy()
    assert (crop(IDS, (3, 4)) == crop(IDS, (3, 4))).all()
    assert any(len(crop(IDS, (3, seed))) != len(crop(IDS, (3, 4))) for seed in range(5, 9))
    assert (before == IDS).all()


def test_a_short_protein_is_taken_whole() -> None:
    short = TOKENIZER.encode("MKVFAILEDWY")
    assert (crop(short, (1, 1)) == short).all()
