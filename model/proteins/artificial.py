"""Sequences that no cell makes, drawn from real proteins: a detector learns to tell the two apart.

Shuffled and reversed proteins, letters at random, and DNA translated in a wrong frame. Most proteins begin
with methionine and their rearrangements would not, so half of these get one in front: a detector that looks
no further than that would take every fragment for artificial. Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
BASES = "TCAG"
# NCBI's standard code, by first, second and third base in the order of BASES; * ends a protein.
CODE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
MIN_FRAME_RESIDUES = 30  # residues between two stops, from which on gene finders name an open reading frame
_CODONS = {residue: [number for number, other in enumerate(CODE) if other == residue] for residue in RESIDUES}
_CODE = np.frombuffer(CODE.encode(), dtype=np.uint8)


def shuffled(sequence: str, random: np.random.Generator) -> str:
    """The residues in another order."""
    return "".join(random.permutation(list(sequence)))


def backwards(sequence: str, random: np.random.Generator) -> str:
    """The residues from the last to the first."""
    return sequence[::-1]


def letters(sequence: str, random: np.random.Generator) -> str:
    """As many residues at random: each as likely as another, or each sequence with a bias of its own."""
    weights = np.ones(len(RESIDUES)) if random.random() < 0.5 else random.dirichlet(np.full(len(RESIDUES), 4))
    return "".join(random.choice(list(RESIDUES), len(sequence), p=weights / weights.sum()))


def wrong_frame(sequence: str, random: np.random.Generator) -> str:
    """A translation of the protein's gene in one of the five frames that are not its own.

    The longest stretch without a stop, or all of it with the stops left out; of a gene whose codons are
    chosen at random, with as much G and C as chance gives it.
    """
    text = translated(gene(sequence, random), int(random.integers(1, 6)))
    longest = max(text.split("*"), key=len)
    return longest if random.random() < 0.5 and len(longest) >= MIN_FRAME_RESIDUES else text.replace("*", "")


def gene(sequence: str, random: np.random.Generator) -> np.ndarray:
    """Bases (3 residues), as indices of BASES, that encode a protein."""
    preference = random.uniform(0.3, 0.7)  # the share of G and C where the code leaves a choice
    return np.concatenate([_codon(residue, preference, random) for residue in sequence])


def translated(bases: np.ndarray, frame: int) -> str:
    """Translate a frame of these bases: from the first, second or third on, or 3 to 5 the other strand."""
    if frame >= 3:
        bases = bases[::-1] ^ 2  # T pairs with A and C with G: 0 with 2, 1 with 3
    bases = bases[frame % 3 :]
    codons = bases[: len(bases) // 3 * 3].reshape(-1, 3)
    text: str = _CODE[codons @ np.array([16, 4, 1])].tobytes().decode()
    return text


def _codon(residue: str, preference: float, random: np.random.Generator) -> np.ndarray:
    """The bases (3,), as indices of BASES, of a codon of a residue; of any codon where it is unknown."""
    choices = _CODONS.get(residue) or [number for number, other in enumerate(CODE) if other != "*"]
    bases = np.array([[number // 16, number // 4 % 4, number % 4] for number in choices])
    strong = (bases % 2 == 1).sum(axis=1)  # C and G
    weights = preference**strong * (1 - preference) ** (3 - strong)
    chosen: np.ndarray = bases[random.choice(len(bases), p=weights / weights.sum())]
    return chosen


KINDS: dict[str, Callable[[str, np.random.Generator], str]] = {
    "shuffled": shuffled,
    "reversed": backwards,
    "random letters": letters,
    "wrong frame": wrong_frame,
}


def artificial(sequences: Sequence[str], kind: str, seed: int = 0) -> list[str]:
    """One sequence of a kind for each protein; half of them are made to begin with methionine."""
    random = np.random.default_rng((seed, sorted(KINDS).index(kind)))
    made = []
    for sequence in sequences:
        other = KINDS[kind](sequence, random)
        made.append("M" + other[1:] if random.random() < 0.5 else other)
    return made
