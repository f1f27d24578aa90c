"""The letters of residues, and how they differ from Foldseek's 3Di letters, which name their surroundings.

Both use the same twenty letters. A 3Di sequence begins and ends with D, the state of a residue without two
neighbours, and is rich in V, D and P, the states of helices and of coils (doi:10.1038/s41587-023-01773-0).
"""

from math import log

ALPHABET = b"ACDEFGHIKLMNPQRSTVWYUOBZJX"
"""The twenty residues and IUPAC's U O B Z J X: https://iupac.qmul.ac.uk/AminoAcid/"""

STANDARD = ALPHABET[:20]

_STATES = {  # their shares, as Foldseek's matrix gives them: data/mat3di.out
    "A": 0.0489, "C": 0.0307, "D": 0.1010, "E": 0.0330, "F": 0.0276, "G": 0.0416, "H": 0.0453, "I": 0.0309,
    "K": 0.0297, "L": 0.0607, "M": 0.0150, "N": 0.0216, "P": 0.0784, "Q": 0.0513, "R": 0.0265, "S": 0.0611,
    "T": 0.0201, "V": 0.2160, "W": 0.0310, "Y": 0.0295,
}  # fmt: skip
_RESIDUES = {  # in Swiss-Prot, release 2024_04: https://web.expasy.org/docs/relnotes/relstat.html
    "A": 0.0825, "C": 0.0138, "D": 0.0546, "E": 0.0671, "F": 0.0386, "G": 0.0707, "H": 0.0227, "I": 0.0591,
    "K": 0.0580, "L": 0.0964, "M": 0.0241, "N": 0.0406, "P": 0.0474, "Q": 0.0393, "R": 0.0552, "S": 0.0665,
    "T": 0.0536, "V": 0.0685, "W": 0.0110, "Y": 0.0292,
}  # fmt: skip
_EVIDENCE = {letter: log(_STATES[letter] / _RESIDUES[letter]) for letter in _STATES}
MIN_EVIDENCE = 10.0
MIN_LETTERS = 20


def is_3di(sequence: bytes) -> bool:
    """True if upper-case letters are 3Di states.

    >>> is_3di(b"DPVVVVVVLVVVCVVDVVSSVVSVVVVVVVVVVVVVVVVVVCVVVVD"), is_3di(b"DEVVKVVEELLKKGKDVVVLVVD")
    (True, False)
    """
    if len(sequence) < MIN_LETTERS or not (sequence.startswith(b"D") and sequence.endswith(b"D")):
        return False
    return sum(sequence.count(letter.encode()) * score for letter, score in _EVIDENCE.items()) >= MIN_EVIDENCE
