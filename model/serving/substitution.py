"""Substitutions by evolution: BLOSUM62 as a start for embeddings and as mutations in training.

A model that meets a protein once an epoch learns its letters; met each time with a few conservative
substitutions it learns its family. Source of the matrix and of the frequencies: Henikoff & Henikoff,
PNAS 89 (1992) 10915, as distributed by NCBI (half-bit units).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESIDUES = "ARNDCQEGHILKMFPSTWYV"
# Lower triangle, rows in the order of RESIDUES.
_BLOSUM62 = """
4
-1 5
-2 0 6
-2 -2 1 6
0 -3 -3 -3 9
-1 1 0 0 -3 5
-1 0 0 2 -4 2 5
0 -2 0 -1 -3 -2 -2 6
-2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4
-1 -2 -3 -4 -1 -2 -3 -4 -3 2 4
-1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4
"""
_FREQUENCIES = (
    *(0.078, 0.051, 0.041, 0.052, 0.024, 0.034, 0.059, 0.083, 0.025, 0.062),
    *(0.092, 0.056, 0.024, 0.043, 0.043, 0.059, 0.055, 0.014, 0.034, 0.072),
)


def blosum62() -> NDArray[np.float64]:
    """The symmetric matrix (20, 20) in half bits, rows and columns in the order of RESIDUES."""
    matrix = np.zeros((20, 20))
    for row, line in enumerate(_BLOSUM62.split("\n")[1:-1]):
        values = [float(value) for value in line.split()]
        matrix[row, : row + 1] = values
        matrix[: row + 1, row] = values
    return matrix


def embeddings(vocabulary: Sequence[str], hidden: int, scale: float) -> NDArray[np.float32]:
    """Start values (vocabulary, hidden): residues that replace each other lie close, other tokens at 0.

    The matrix's own axes (its eigenvectors) fill the first columns; the rest stays 0 and is learned.
    """
    values, vectors = np.linalg.eigh(blosum62())
    axes = vectors * np.sqrt(np.clip(values, 0, None))
    axes = axes[:, np.argsort(-values)][:, :hidden]
    table = np.zeros((len(vocabulary), hidden), dtype=np.float32)
    for row, residue in enumerate(RESIDUES):
        table[vocabulary.index(residue), : axes.shape[1]] = scale * axes[row] / axes.std()
    return table


class Mutator:
    """Replaces residues by those that BLOSUM62 scores as substitutes."""

    def __init__(self, vocabulary: Sequence[str], rate: float) -> None:
        """`rate` is the share of residues that are drawn anew (and may be drawn the same)."""
        odds = np.array(_FREQUENCIES) * 2 ** (blosum62() / 2)
        self._cumulative = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
        self._ids = np.array([vocabulary.index(residue) for residue in RESIDUES])
        self._rows = np.full(len(vocabulary), -1)
        self._rows[self._ids] = np.arange(20)
        self._rate = rate

    def mutate(self, ids: NDArray[np.int64], seed: Sequence[int]) -> NDArray[np.int64]:
        """A copy of `ids` (tokens,) with mutations that depend on `seed` only."""
        random = np.random.default_rng(seed)
        rows = self._rows[ids]
        places = np.flatnonzero((random.random(len(ids)) < self._rate) & (rows >= 0))
        drawn = (random.random((len(places), 1)) > self._cumulative[rows[places]]).sum(axis=1)
        mutated = ids.copy()
        mutated[places] = self._ids[np.minimum(drawn, 19)]
        return mutated
