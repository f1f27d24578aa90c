"""Draws fragments of proteins, as databases and sequencing projects have them.

A network that has only seen whole proteins is as sure of any thirty residues as of a protein. Half of the
fragments begin where their protein does; the others lack its beginning, with which most signals are lost.
Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.serving.tokens import SPECIAL_TOKENS, Ids

MIN_RESIDUES, MAX_RESIDUES = 25, 400  # residues; all lengths between are as likely, on a logarithmic scale
FROM_THE_START = 0.5  # share of the fragments


def crop(ids: Ids, seed: Sequence[int]) -> Ids:
    """A fragment of `ids` (residues + 2), with the tokens around it; a function of its arguments.

    A protein that is no longer than the length drawn is returned whole.
    """
    random = np.random.default_rng((*seed, 1))  # other draws than those of its mutations
    residues = len(ids) - SPECIAL_TOKENS
    length = round(float(np.exp(random.uniform(np.log(MIN_RESIDUES), np.log(MAX_RESIDUES)))))
    if residues <= length:
        return ids
    start = 0 if random.random() < FROM_THE_START else int(random.integers(0, residues - length + 1))
    fragment = ids[start : start + length + SPECIAL_TOKENS].copy()
    fragment[0], fragment[-1] = ids[0], ids[-1]
    return fragment
