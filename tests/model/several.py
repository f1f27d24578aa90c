"""A task of three labels of its own, of which a protein may have several: its files, and a run that learns it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LABELS = """name\tdisplay\tgo
Matrix\tMitochondrial matrix\tGO:0005759
Inner membrane\tMitochondrial inner membrane\tGO:0005743
Nucleus\tCell nucleus\tGO:0005634,GO:0031981
"""
NAMES = ("Matrix", "Inner membrane", "Nucleus")
RICH = "CDE"  # the residue in which proteins of each label are rich
PLACES = ((0,), (1,), (2,), (0, 1), (1, 2), (0,), (2,), (0, 2))  # of one protein in eight


def sequence_of(places: tuple[int, ...], random: np.random.Generator, length: int = 44) -> str:
    """A sequence that is rich in a residue for each of its places."""
    letters = random.choice(list("AFGHIKLMNPQRSTVWY"), length)
    drawn = random.random(length)
    for turn, place in enumerate(places):
        letters[(drawn >= 0.3 * turn) & (drawn < 0.3 * (turn + 1))] = RICH[place]
    return "".join(letters)


def write_task(folder: Path, proteins: int = 160, seed: int = 0) -> tuple[Path, Path]:
    """Write a file of labels and a labelled table; returns both."""
    random = np.random.default_rng(seed)
    labels, labelled = folder / "labels.tsv", folder / "mine.tsv"
    labels.write_text(LABELS)
    lines = ["accession\tsequence\tlocation\tmembrane"]
    for index in range(proteins):
        places = PLACES[index % len(PLACES)]
        names = "|".join(NAMES[place] for place in places)
        lines.append(f"P{index:05}\t{sequence_of(places, random)}\t{names}\t{'MS'[index % 2]}")
    labelled.write_text("\n".join(lines) + "\n")
    return labels, labelled


def words(labels: Path, labelled: Path, out: Path, *more: str) -> list[str]:
    """The arguments of a run that learns the task, within seconds."""
    return [
        *("--training", str(labelled), "--labels", str(labels), "--several", "--model-dir", str(out)),
        *("--hidden", "32", "--batch-size", "8", "--token-budget", "800", "--max-residues", "64"),
        *("--epochs", "6", "--label-smoothing", "0", "--average", "0.9", *more),
    ]
