"""Describes a protein's composition in numbers: plain formulas over a batch of proteins at once.

How much of each residue stands in the whole protein and at its ends, how hydrophobic and how charged its
stretches are, how its residues follow each other and which known motifs it has. The proteins of a batch lie
one behind the other in one array, each in a slot of its own, and every sum or maximum runs over one protein's
part of it: so the numbers of a protein are the same to the last bit in any company. numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
# Hydropathy, in the order of RESIDUES: Kyte & Doolittle, J. Mol. Biol. 157 (1982) 105.
HYDROPATHY = (
    *(1.8, 2.5, -3.5, -3.5, 2.8, -0.4, -3.2, 4.5, -3.9, 3.8),
    *(1.9, -3.5, -1.6, -3.5, -4.5, -0.8, -0.7, 4.2, -0.9, -1.3),
)
CHARGE = {"K": 1.0, "R": 1.0, "D": -1.0, "E": -1.0}
# Regions whose residues are counted on their own: (start, end) from the N-terminus, or from the C-terminus.
BEGINNINGS = (
    *((0, 5), (5, 12), (12, 20), (20, 30), (30, 45), (45, 80)),
    *((0, 10), (0, 25), (25, 60), (0, 60), (60, 120)),
)
ENDINGS = (4, 10, 20, 50, 100)
# Residues that are counted together in windows: stretches rich in them are a property of a protein's kind.
GROUPS = (
    *RESIDUES,
    *("KR", "DE", "KRDE", "ST", "FYW", "ILVM", "QN", "SR", "RG", "FG", "PG", "HC", "AG", "SP", "EK"),
)
WINDOWS = (10, 25, 60)  # residues
HYDROPATHY_WINDOWS = (7, 11, 19)  # residues; a helix that crosses a membrane has about 19
HELIX_THRESHOLDS = (1.2, 1.6, 2.0)  # mean hydropathy of such a helix; Kyte & Doolittle say 1.6
LAGS = 12  # residues apart, in the correlations
LAST_RESIDUES = 4  # residues told one by one: SKL and KDEL are read from the end
PAIRS = (1, 2, 3, 4, 5)  # residues apart, of the pairs that are counted

# Short motifs by their function; each is counted, also per 100 residues. Most are listed by ELM (Kumar et
# al., Nucleic Acids Res. 52 (2024) D442). They are loose on purpose: a motif is a hint that the network
# weighs, not a finding.
MOTIFS = tuple(
    re.compile(pattern)
    for patterns in (
        # into the nucleus and out of it
        (r"K[KR].[KR]", r"[KR]{4}", r"[KR]{2}.{8,12}[KR]{3}", r"L.{2,3}[LIVFM].{2,3}L.[LI]"),
        # to peroxisomes, at the end and at the beginning
        (r"[SAC][KRH][LMIF]$", r"^.{0,40}R[LVIQ].{5}[HQ][LAF]"),
        # kept in the endoplasmic reticulum, or returned to it
        (r"[KHQRDES]DEL$", r".DEL$", r"HDEL$", r"KK..$", r"K.K..$"),
        # lipids: isoprenyl, myristoyl
        (r"C[^DENQ][LIVMFA].$", r"CC$|C.C$", r"^MG...[ST]"),
        # through the secretory pathway, to lysosomes and vacuoles; N-glycosylation
        (r"N[^P][ST]", r"[DE]..?.?L[LI]", r"Y..[LMVIF]", r"A.A[AS]?", r"^.{15,40}A.A", r"RGD"),
        # transit peptides of mitochondria and plastids
        (r"^M?[^DE]{12,}", r"^[^KR]{0,4}[KR]", r"^.{0,25}R.{1,3}[SA]", r"[VIL]R[^DE]?[AC][AS]"),
        (r"R[CSAVF][YLFAI][SA]",),
        # proteins that bind nucleic acids: fingers, zippers, SR and RGG repeats, sites of modification
        (r"C..C.{8,16}[HC].{2,4}[HC]", r"L.{6}L.{6}L.{6}L", r"S[RP]S[RP]", r"RGG"),
        (r"[ST]P.[KR]", r"[LIVM]K.E", r"K.E"),
        # nucleoporins; proline-rich; sites of nucleotides and metals; receptors; WD repeats
        (r"FG.{2,10}FG", r"P..P", r"G.G..G", r"G....GK[ST]", r"D..G.[GA]", r"D[KR]T[GT]", r"[ND]P..Y", r"WD"),
        # low complexity
        (r"Q{4}", r"[DE]{6}", r"S{5}"),
    )
    for pattern in patterns
)  # fmt: skip

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

_NONE = len(RESIDUES)  # the number of any other letter
_NUMBERS = np.full(256, _NONE)
_NUMBERS[np.frombuffer(RESIDUES.encode(), dtype=np.uint8)] = np.arange(_NONE)
_MEMBERS = np.array(
    [[*(residue in group for residue in RESIDUES), False] for group in GROUPS], dtype=np.int32
)
_HYDROPATHY = np.array([*HYDROPATHY, 0.0])
_CHARGE = np.array([*(CHARGE.get(residue, 0.0) for residue in RESIDUES), 0.0])
_MAX_WINDOW = max(*WINDOWS, *HYDROPATHY_WINDOWS)


class Batch:
    """Proteins one behind the other, (places) in all.

    Residue r of a protein is at place `first + 1 + r`. The slot of a protein is as long as the longest window
    at least and goes on with unknown residues, so that a window never reaches into the next, nor a pair.
    """

    def __init__(self, sequences: Sequence[bytes]) -> None:
        self.sequences = sequences
        self.lengths: Counts = np.array([len(sequence) for sequence in sequences])
        self.slots = np.maximum(self.lengths, _MAX_WINDOW) + max(PAIRS)
        self.slots[-1] += _MAX_WINDOW  # room for windows that begin at its end
        self.first = np.cumsum(self.slots) - self.slots
        self.numbers: Counts = np.full(int(self.slots.sum()), _NONE)
        for first, sequence in zip(self.first, sequences, strict=True):
            residues = np.frombuffer(sequence, dtype=np.uint8)
            self.numbers[first + 1 : first + 1 + len(residues)] = _NUMBERS[residues]

    def __len__(self) -> int:
        return len(self.sequences)

    def running(self, values: Numbers) -> Numbers:
        """Sums (places) of each protein's values (places) from its beginning on, added one by one."""
        sums = np.zeros_like(values)
        for first, slot in zip(self.first, self.slots, strict=True):
            np.cumsum(values[first : first + slot], out=sums[first : first + slot])
        return sums

    def windows(self, width: int) -> Counts:
        """The number of windows of `width` in each protein: at least one, its whole sequence."""
        return np.maximum(self.lengths - width + 1, 1)

    def over(self, operation: np.ufunc, values: NDArray[Any], start: Any, end: Any) -> NDArray[Any]:
        """Reduce values (…, places) over each protein's places from its `start`-th up to its `end`-th."""
        bounds = np.empty(2 * len(self), dtype=np.int64)
        bounds[::2], bounds[1::2] = self.first + start, self.first + end
        reduced: NDArray[Any] = operation.reduceat(values, bounds, axis=-1, dtype=values.dtype)[..., ::2]
        return reduced

    def spread(self, values: Numbers) -> Numbers:
        """Each protein's value at all of its places."""
        return np.repeat(values, self.slots)


def _counted(batch: Batch) -> Numbers:
    """Count features (proteins, …); never negative. Networks read their square roots."""
    lengths, first = batch.lengths, batch.first
    members = _MEMBERS.take(batch.numbers, axis=1)  # (groups, places)
    np.cumsum(members, axis=1, out=members)
    none = np.zeros_like(lengths)
    regions = [(none, lengths), (lengths // 4, lengths // 2), (lengths // 2, 3 * lengths // 4)]
    regions += [(np.minimum(start, lengths), np.minimum(end, lengths)) for start, end in BEGINNINGS]
    regions += [(np.maximum(lengths - size, 0), lengths) for size in ENDINGS]
    columns: list[Numbers] = []
    for start, end in regions:
        counts = (members[:_NONE, first + end] - members[:_NONE, first + start]).T
        columns.append(counts / np.maximum(1, counts.sum(axis=1, keepdims=True)))
    columns.append(_last(batch))
    room = np.empty_like(members)
    for width in WINDOWS:
        number = batch.windows(width)
        within = np.minimum(width, lengths)[:, None]
        counts = np.subtract(
            members[:, width:], members[:, :-width], out=room[:, width:]
        )  # (groups, windows)
        columns.append(batch.over(np.maximum, counts, 0, number).T / within)
        if width == WINDOWS[-1]:
            columns.append(batch.over(np.minimum, counts, 0, number).T / within)
        else:
            sums = batch.over(np.add, counts, 0, number).T.astype(np.int64)
            counts *= counts
            squares = batch.over(np.add, counts, 0, number).T.astype(np.int64)
            columns.append(np.sqrt(number[:, None] * squares - sums**2) / number[:, None] / within)
    texts = [sequence.decode("ascii") for sequence in batch.sequences]
    motifs = np.array([[len(motif.findall(text)) for motif in MOTIFS] for text in texts], dtype=float)
    per_residue = np.minimum(motifs, 6 * lengths[:, None]) / lengths[:, None]
    return np.concatenate([*columns, motifs.clip(max=3), per_residue * 100], axis=1)


def _last(batch: Batch) -> Numbers:
    """The last residues one by one (proteins, LAST_RESIDUES * 20), the last first."""
    places = batch.lengths[:, None] - 1 - np.arange(LAST_RESIDUES)
    numbers = np.where(places >= 0, batch.numbers[batch.first[:, None] + 1 + places.clip(min=0)], _NONE)
    return np.eye(_NONE + 1)[numbers][:, :, :_NONE].reshape(len(batch), -1)


def _measured(batch: Batch) -> Numbers:
    """Measure sequences (proteins, …): hydropathy and charge along them, and their lengths."""
    hydropathy, charge = _HYDROPATHY[batch.numbers], _CHARGE[batch.numbers]
    columns: list[Any] = []
    for width in HYDROPATHY_WINDOWS:
        for values in (hydropathy, charge):
            columns += _along(batch, _window_means(batch, values, width), batch.windows(width))
    columns += _helices(batch, hydropathy)
    lengths = batch.lengths.astype(float)

    def total(values: Numbers) -> Numbers:
        return batch.over(np.add, values, 1, 1 + batch.lengths)

    columns += [np.log(lengths), np.log(lengths) ** 2 / 6, total(charge) / lengths]
    columns += [
        batch.over(np.add, charge, 1, 1 + np.minimum(batch.lengths, 30)),
        total(abs(charge)) / lengths,
    ]
    for degrees in (100, 160):  # a turn of a helix and of a strand: one face of it may be hydrophobic
        for start, end in ((0, 18), (5, 23)):
            part = hydropathy[batch.first[:, None] + 1 + np.arange(start, end)]  # 0 beyond the protein
            turns = np.exp(1j * np.deg2rad(degrees) * np.arange(end - start))
            within = (batch.lengths - start).clip(1, end - start)
            columns.append(abs((part * turns).sum(axis=1)) / within)
    for values in (hydropathy, charge):
        apart = values - batch.spread(total(values) / lengths)
        for lag in range(1, LAGS + 1):
            pairs = (batch.lengths - lag).clip(min=1)
            sums = batch.over(np.add, apart[:-lag] * apart[lag:], 1, 1 + pairs)
            columns.append(np.where(batch.lengths > lag, sums / pairs, 0.0))
    return np.stack(columns, axis=1)


def _window_means(batch: Batch, values: Numbers, width: int) -> Numbers:
    """Means of values (places) in the windows that begin at the residue after each place."""
    sums = batch.running(values)
    means: Numbers = (sums[width:] - sums[:-width]) / width
    short = batch.lengths < width
    only = batch.first[short]
    means[only] = (sums[only + width] - sums[only]) / batch.lengths[short]
    return means


def _along(batch: Batch, means: Numbers, number: Counts) -> list[Numbers]:
    """Describe the first `number` window means of each protein: their range, and where it is reached."""

    def highest(start: Any, end: Any) -> Numbers:
        return batch.over(np.maximum, means, start, np.minimum(end, number))

    mean = batch.over(np.add, means, 0, number) / number
    squares = (means - batch.spread(mean)[: len(means)]) ** 2
    late = np.where(number > 40, np.maximum(highest(np.minimum(40, number - 1), number), -5.0), 0.0)
    beginning = np.arange(60)
    candidates = means[(batch.first[:, None] + beginning).clip(max=len(means) - 1)]
    place = np.where(beginning < number[:, None], candidates, -np.inf).argmax(axis=1)
    return [
        highest(0, number),
        batch.over(np.minimum, means, 0, number),
        mean,
        np.sqrt(batch.over(np.add, squares, 0, number) / number),
        highest(0, 15),
        highest(0, 40),
        late,
        highest(np.maximum(number - 30, 0), number),
        place / 60,
    ]


def _helices(batch: Batch, hydropathy: Numbers) -> list[Numbers]:
    """Count the stretches (proteins) that may cross a membrane, and tell the place of the first."""
    width = HYDROPATHY_WINDOWS[-1]
    means, number = _window_means(batch, hydropathy, width), batch.windows(width)
    columns: list[Numbers] = []
    for threshold in HELIX_THRESHOLDS:
        inside = means > threshold
        begins = inside.copy()
        begins[1:] &= ~inside[:-1]
        begins[batch.first] = inside[batch.first]
        count = batch.over(np.add, begins.astype(np.int64), 0, number)
        places = np.append(np.flatnonzero(begins), 0)
        first = places[np.searchsorted(places[:-1], batch.first)] - batch.first
        columns += [np.minimum(count, 15) / 5, (count == 1).astype(float)]
        columns.append(batch.over(np.add, inside.astype(np.int64), 0, number) / number)
        columns.append(np.where(count > 0, first / batch.lengths, 1.0))
    return columns


def _paired(batch: Batch) -> Numbers:
    """The frequency (proteins, …) of each pair of residues 1 to 5 apart, by 20 for two shares of 5 %."""
    kinds = _NONE + 1
    owner = np.repeat(np.arange(len(batch)) * kinds**2, batch.slots)
    columns = []
    for gap in PAIRS:
        pairs = owner[:-gap] + batch.numbers[:-gap] * kinds + batch.numbers[gap:]
        counts = np.bincount(pairs, minlength=len(batch) * kinds**2).reshape(len(batch), kinds, kinds)
        known = counts[:, :_NONE, :_NONE].reshape(len(batch), -1)
        columns.append(known / np.maximum(1, known.sum(axis=1, keepdims=True)) * 5)
    return np.concatenate(columns, axis=1)


def describe_all(sequences: Sequence[bytes]) -> NDArray[np.float32]:
    """All numbers (proteins, SIZE) of sequences of upper-case letters: without pairs first, PLAIN of them."""
    batch = Batch([sequence or b"X" for sequence in sequences])
    numbers = [np.sqrt(_counted(batch)), _measured(batch), np.sqrt(_paired(batch))]
    return np.concatenate(numbers, axis=1).astype(np.float32)


SIZE = describe_all([b"M"]).shape[1]
PLAIN = SIZE - len(PAIRS) * _NONE**2
