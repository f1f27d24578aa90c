"""Words of a sequence in a reduced alphabet, by which related proteins know each other.

A word is five residues over 14 classes of residues that replace each other. Needs numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASSES = ("A", "C", "DE", "FY", "G", "H", "ILMV", "KR", "N", "P", "Q", "S", "T", "W")
WORD = 5  # residues
WORDS = (len(CLASSES) + 1) ** WORD  # any other letter is a class of its own


def words(sequence: str) -> NDArray[np.int64]:
    """The number of the word at each place of a sequence (places,), below WORDS."""
    classes = _CLASS_OF[np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)]
    places = max(0, len(classes) - WORD + 1)
    numbers = np.zeros(places, dtype=np.int64)
    for shift in range(WORD):
        numbers = numbers * (len(CLASSES) + 1) + classes[shift : shift + places]
    return numbers


def _class_table() -> NDArray[np.int64]:
    table = np.full(256, len(CLASSES), dtype=np.int64)
    for number, residues in enumerate(CLASSES):
        table[[ord(residue) for residue in residues]] = number
    return table


_CLASS_OF = _class_table()
