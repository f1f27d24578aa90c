"""BLOSUM62 is the published matrix, and mutations follow it."""

from __future__ import annotations

import numpy as np
from Bio.Align import substitution_matrices

from model.serving.substitution import RESIDUES, Mutator, blosum62, embeddings
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer


def test_the_matrix_is_the_published_one() -> None:
    published = substitution_matrices.load("BLOSUM62")
    expected = [[published[one, other] for other in RESIDUES] for one in RESIDUES]
    assert blosum62().tolist() == expected


def test_residues_that_replace_each_other_start_close() -> None:
    table = embeddings(PROTEIN_VOCABULARY, 32, 0.1)

    def distance(one: str, other: str) -> float:
        rows = [table[PROTEIN_VOCABULARY.index(residue)] for residue in (one, other)]
        return float(np.linalg.norm(rows[0] - rows[1]))

    assert distance("I", "V") < distance("I", "D") and distance("D", "E") < distance("D", "W")
    assert not table[:5].any()


def test_mutations_keep_length_and_special_tokens_and_favour_like_residues() -> None:
    tokenizer = ResidueTokenizer(PROTEIN_VOCABULARY)
    ids = tokenizer.encode("I" * 20000 + "X")
    mutated = Mutator(PROTEIN_VOCABULARY, 0.5).mutate(ids, (1, 2, 3))
    assert len(mutated) == len(ids)
    assert (mutated[[0, -2, -1]] == ids[[0, -2, -1]]).all()
    letters = [PROTEIN_VOCABULARY[index] for index in mutated[1:-2]]
    changed = sum(letter != "I" for letter in letters) / len(letters)
    assert 0.2 < changed < 0.5
    assert letters.count("V") > letters.count("G") * 3


def test_mutations_depend_on_the_seed_alone() -> None:
    mutator = Mutator(PROTEIN_VOCABULARY, 0.3)
    ids = ResidueTokenizer(PROTEIN_VOCABULARY).encode("MKVLAAGIV" * 20)
    assert (mutator.mutate(ids, (1, 0, 5)) == mutator.mutate(ids, (1, 0, 5))).all()
    assert (mutator.mutate(ids, (1, 0, 5)) != mutator.mutate(ids, (1, 1, 5))).any()
    assert (Mutator(PROTEIN_VOCABULARY, 0.0).mutate(ids, (1, 0, 5)) == ids).all()
