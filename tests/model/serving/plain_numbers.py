"""The formulas of `model/serving/protein_numbers.py` once more, one protein at a time and step by step.

Slow and plain: the numbers of a batch are compared with these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.serving.protein_numbers import (
    BEGINNINGS,
    CHARGE,
    ENDINGS,
    GROUPS,
    HELIX_THRESHOLDS,
    HYDROPATHY,
    HYDROPATHY_WINDOWS,
    LAGS,
    LAST_RESIDUES,
    MOTIFS,
    PAIRS,
    RESIDUES,
    WINDOWS,
)

NONE = len(RESIDUES)  # the number of any other letter
MEMBERS = np.array([[*(float(residue in group) for residue in RESIDUES), 0.0] for group in GROUPS])
Numbers = NDArray[np.float64]


def numbered(sequence: bytes) -> NDArray[np.int64]:
    return np.array([RESIDUES.find(chr(letter)) % (NONE + 1) for letter in sequence])


def shares(numbers: NDArray[np.int64]) -> Numbers:
    """The share of each residue (20,) among the known ones of `numbers`."""
    counts = np.bincount(numbers, minlength=NONE + 1)[:NONE]
    fractions: Numbers = counts / max(1, counts.sum())
    return fractions


def windows(values: Numbers, width: int) -> Numbers:
    """Means (…, places) of `values` (…, residues) in every window of `width`, or in the only one."""
    width = min(width, values.shape[-1])
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(axis=-1)], axis=-1)
    means: Numbers = (sums[..., width:] - sums[..., :-width]) / width
    return means


def counted(sequence: bytes) -> Numbers:
    """Count features of a non-empty sequence; never negative. Networks read their square roots."""
    numbers = numbered(sequence)
    length = len(numbers)
    regions = [numbers, numbers[length // 4 : length // 2], numbers[length // 2 : 3 * length // 4]]
    regions += [numbers[start:end] for start, end in BEGINNINGS] + [numbers[-size:] for size in ENDINGS]
    values = [shares(region) for region in regions]
    last = np.zeros((LAST_RESIDUES, NONE + 1))
    for place, number in enumerate(numbers[: -LAST_RESIDUES - 1 : -1]):
        last[place, number] = 1.0
    values.append(last[:, :NONE].ravel())
    members = MEMBERS[:, numbers]  # (groups, residues)
    for width in WINDOWS:
        means = windows(members, width)
        values += [means.max(axis=1), means.min(axis=1) if width == WINDOWS[-1] else means.std(axis=1)]
    text = sequence.decode("ascii")
    matches = np.array([sum(1 for _ in motif.finditer(text)) for motif in MOTIFS], dtype=float)
    return np.concatenate([*values, matches.clip(max=3), matches.clip(max=6 * length) / length * 100])


def measured(sequence: bytes) -> Numbers:
    """Measure a sequence: hydropathy and charge along it, and its length."""
    numbers = numbered(sequence)
    length, measures = len(numbers), list[Any]()
    hydropathy, charge = (
        np.array([*HYDROPATHY, 0.0])[numbers],
        np.array([*(CHARGE.get(residue, 0.0) for residue in RESIDUES), 0.0])[numbers],
    )
    for width in HYDROPATHY_WINDOWS:
        for values in (hydropathy, charge):
            means = windows(values, width)
            measures += [
                means.max(),
                means.min(),
                means.mean(),
                means.std(),
                means[:15].max(),
                means[:40].max(),
            ]
            measures += [means[40:].max(initial=-5.0) if len(means) > 40 else 0.0, means[-30:].max()]
            measures.append(np.argmax(means[:60]) / 60)
    helices = windows(hydropathy, HYDROPATHY_WINDOWS[-1])
    for threshold in HELIX_THRESHOLDS:
        inside = helices > threshold
        begins = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
        first = begins[0] / length if len(begins) else 1.0
        measures += [min(len(begins), 15) / 5, float(len(begins) == 1), inside.mean(), first]
    measures += [
        np.log(length),
        np.log(length) ** 2 / 6,
        charge.mean(),
        charge[:30].sum(),
        abs(charge).mean(),
    ]
    for degrees in (100, 160):  # a turn of a helix and of a strand: one face of it may be hydrophobic
        for part in (hydropathy[:18], hydropathy[5:23]):
            turns = np.exp(1j * np.deg2rad(degrees) * np.arange(len(part)))
            measures.append(abs((part * turns).sum()) / max(1, len(part)))
    for values in (hydropathy - hydropathy.mean(), charge - charge.mean()):
        measures += [
            (values[:-lag] * values[lag:]).mean() if length > lag else 0.0 for lag in range(1, LAGS + 1)
        ]
    return np.array(measures, dtype=float)


def paired(sequence: bytes) -> Numbers:
    """The frequency of each pair of residues 1 to 5 apart, by 20 for a pair of two shares of 5 %."""
    numbers = numbered(sequence)
    values = []
    for gap in PAIRS:
        pairs = numbers[:-gap] * (NONE + 1) + numbers[gap:]
        counts = np.bincount(pairs, minlength=(NONE + 1) ** 2).reshape(NONE + 1, NONE + 1)
        counts = counts[:NONE, :NONE]
        values.append((counts / max(1, counts.sum())).ravel() * 5)
    return np.concatenate(values)


def describe(sequence: bytes) -> NDArray[np.float32]:
    """All numbers (SIZE,) of a sequence of upper-case letters: without pairs first, PLAIN of them."""
    sequence = sequence or b"X"
    numbers = [np.sqrt(counted(sequence)), measured(sequence), np.sqrt(paired(sequence))]
    return np.concatenate(numbers).astype(np.float32)
