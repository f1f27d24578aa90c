"""FASTA text to measure with: proteins of usual lengths and composition, under headers as UniProt's."""

from __future__ import annotations

import numpy as np

# Residues in Swiss-Prot, in percent: https://web.expasy.org/docs/relnotes/relstat.html
SHARES = {
    "A": 8.25, "C": 1.38, "D": 5.46, "E": 6.71, "F": 3.86, "G": 7.07, "H": 2.27, "I": 5.91, "K": 5.80,
    "L": 9.64, "M": 2.41, "N": 4.06, "P": 4.74, "Q": 3.93, "R": 5.52, "S": 6.65, "T": 5.36, "V": 6.85,
    "W": 1.10, "Y": 2.92,
}  # fmt: skip
MEAN, SPREAD = 5.83, 0.65  # of the logarithm of a length: half of the proteins are longer than 340 residues


def sequences(number: int, seed: int, mean: float = MEAN) -> list[str]:
    """Made-up proteins of 30 to 2,000 residues."""
    random = np.random.default_rng(seed)
    lengths = np.exp(random.normal(mean, SPREAD, number)).clip(30, 2000).astype(int)
    letters = np.array([*SHARES])
    shares = np.array([*SHARES.values()]) / sum(SHARES.values())
    return ["M" + "".join(random.choice(letters, length - 1, p=shares)) for length in lengths]


def fasta(number: int, seed: int) -> bytes:
    """The text of as many records, 60 residues a line."""
    records = []
    for index, sequence in enumerate(sequences(number, seed)):
        header = (
            f"sp|P{seed:02d}{index:05d}|X{index}_MADE Made-up protein {index} OS=Made up OX=9606 PE=1 SV=1"
        )
        lines = (sequence[at : at + 60] for at in range(0, len(sequence), 60))
        records.append(f">{header}\n" + "\n".join(lines) + "\n")
    return "".join(records).encode()
