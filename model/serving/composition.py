"""A protein's composition in numbers, and networks that answer from these alone.

Convolutions (`classifier.py`) find signals; they do not count. How much of each residue stands in the whole
protein and at its ends, how hydrophobic and how charged its stretches are, how its residues follow each
other and which known motifs it has is told here by plain formulas, the same for every protein whatever
stands beside it. A network with one hidden layer answers from that in an ensemble with the others: it errs
differently, and it learns in a minute. Numbers of a protein need numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.serving.tokens import PROTEIN_VOCABULARY, Ids

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
# Hydropathy, in the order of RESIDUES: Kyte & Doolittle, J. Mol. Biol. 157 (1982) 105.
HYDROPATHY = (
    *(1.8, 2.5, -3.5, -3.5, 2.8, -0.4, -3.2, 4.5, -3.9, 3.8),
    *(1.9, -3.5, -1.6, -3.5, -4.5, -0.8, -0.7, 4.2, -0.9, -1.3),
)
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
LAST = 4  # residues told one by one: SKL and KDEL are read from the end
PAIRS = (1, 2, 3, 4, 5)  # residues apart, of the pairs that are counted
LARGEST = 6.0  # standard deviations; beyond, a number is cut

# Short motifs by what they are known for; each is counted, also per 100 residues. Most are listed by ELM
# (Kumar et al., Nucleic Acids Res. 52 (2024) D442). They are loose on purpose: a motif is a hint that the
# network weighs, not a finding.
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

_NONE = len(RESIDUES)  # the number of what is no known residue
_LETTERS = np.array([ord(token) if len(token) == 1 else 0 for token in PROTEIN_VOCABULARY], dtype=np.uint8)
_NUMBERS = np.full(256, _NONE)
_NUMBERS[np.frombuffer(RESIDUES.encode(), dtype=np.uint8)] = np.arange(len(RESIDUES))
_MEMBERS = np.array([[*(float(residue in group) for residue in RESIDUES), 0.0] for group in GROUPS])
_HYDROPATHY = np.array([*HYDROPATHY, 0.0])
_CHARGE = np.array(
    [{"K": 1.0, "R": 1.0, "D": -1.0, "E": -1.0}.get(residue, 0.0) for residue in RESIDUES] + [0.0]
)
Numbers = NDArray[np.float64]


def shares(numbers: NDArray[np.int64]) -> Numbers:
    """The share of each residue (20,) among the known ones of `numbers`."""
    counts = np.bincount(numbers, minlength=_NONE + 1)[:_NONE]
    found: Numbers = counts / max(1, counts.sum())
    return found


def windows(values: Numbers, width: int) -> Numbers:
    """Means (…, places) of `values` (…, residues) in every window of `width`, or in the only one."""
    width = min(width, values.shape[-1])
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(axis=-1)], axis=-1)
    means: Numbers = (sums[..., width:] - sums[..., :-width]) / width
    return means


def counted(sequence: bytes) -> Numbers:
    """Count features of a non-empty sequence; never negative. Networks read their square roots."""
    numbers = _NUMBERS[np.frombuffer(sequence, dtype=np.uint8)]
    length = len(numbers)
    regions = [numbers, numbers[length // 4 : length // 2], numbers[length // 2 : 3 * length // 4]]
    regions += [numbers[start:end] for start, end in BEGINNINGS] + [numbers[-size:] for size in ENDINGS]
    told = [shares(region) for region in regions]
    last = np.zeros((LAST, _NONE + 1))
    for place, number in enumerate(numbers[: -LAST - 1 : -1]):
        last[place, number] = 1.0
    told.append(last[:, :_NONE].ravel())
    members = _MEMBERS[:, numbers]  # (groups, residues)
    for width in WINDOWS:
        means = windows(members, width)
        told += [means.max(axis=1), means.min(axis=1) if width == WINDOWS[-1] else means.std(axis=1)]
    text = sequence.decode("ascii")
    found = np.array([sum(1 for _ in motif.finditer(text)) for motif in MOTIFS], dtype=float)
    return np.concatenate([*told, found.clip(max=3), found.clip(max=6 * length) / length * 100])


def measured(sequence: bytes) -> Numbers:
    """Measure a sequence: hydropathy and charge along it, and its length."""
    numbers = _NUMBERS[np.frombuffer(sequence, dtype=np.uint8)]
    length, told = len(numbers), list[Any]()
    hydropathy, charge = _HYDROPATHY[numbers], _CHARGE[numbers]
    for width in HYDROPATHY_WINDOWS:
        for values in (hydropathy, charge):
            means = windows(values, width)
            told += [means.max(), means.min(), means.mean(), means.std(), means[:15].max(), means[:40].max()]
            told += [means[40:].max(initial=-5.0) if len(means) > 40 else 0.0, means[-30:].max()]
            told.append(np.argmax(means[:60]) / 60)
    helices = windows(hydropathy, HYDROPATHY_WINDOWS[-1])
    for threshold in HELIX_THRESHOLDS:
        inside = helices > threshold
        begins = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
        first = begins[0] / length if len(begins) else 1.0
        told += [min(len(begins), 15) / 5, float(len(begins) == 1), inside.mean(), first]
    told += [np.log(length), np.log(length) ** 2 / 6, charge.mean(), charge[:30].sum(), abs(charge).mean()]
    for degrees in (100, 160):  # a turn of a helix and of a strand: one face of it may be hydrophobic
        for part in (hydropathy[:18], hydropathy[5:23]):
            turns = np.exp(1j * np.deg2rad(degrees) * np.arange(len(part)))
            told.append(abs((part * turns).sum()) / max(1, len(part)))
    for values in (hydropathy - hydropathy.mean(), charge - charge.mean()):
        told += [(values[:-lag] * values[lag:]).mean() if length > lag else 0.0 for lag in range(1, LAGS + 1)]
    return np.array(told, dtype=float)


def paired(sequence: bytes) -> Numbers:
    """The frequency of each pair of residues 1 to 5 apart, by 20 for a pair of two shares of 5 %."""
    numbers = _NUMBERS[np.frombuffer(sequence, dtype=np.uint8)]
    told = []
    for gap in PAIRS:
        pairs = numbers[:-gap] * (_NONE + 1) + numbers[gap:]
        counts = np.bincount(pairs, minlength=(_NONE + 1) ** 2).reshape(_NONE + 1, _NONE + 1)
        counts = counts[:_NONE, :_NONE]
        told.append((counts / max(1, counts.sum())).ravel() * 5)
    return np.concatenate(told)


def describe(sequence: bytes) -> NDArray[np.float32]:
    """All numbers (SIZE,) of a sequence of upper-case letters: without pairs first, PLAIN of them."""
    sequence = sequence or b"X"
    numbers = [np.sqrt(counted(sequence)), measured(sequence), np.sqrt(paired(sequence))]
    return np.concatenate(numbers).astype(np.float32)


SIZE = len(describe(b"M"))
PLAIN = SIZE - len(PAIRS) * _NONE**2


def number_table(rows: Sequence[Ids]) -> Tensor:
    """The numbers (proteins, SIZE) of tokenized proteins, without the two tokens around the residues."""
    return torch.from_numpy(np.stack([describe(_LETTERS[row[1:-1]].tobytes()) for row in rows]))


def describe_tokens(ids: Tensor, mask: Tensor) -> Tensor:
    """The numbers (batch, SIZE), on the device of ids and mask (batch, tokens)."""
    rows = zip(ids.cpu().numpy(), mask.sum(dim=1).tolist(), strict=True)
    return number_table([row[: int(length)] for row, length in rows]).to(ids.device)


@dataclass(frozen=True)
class CompositionSettings:
    """One network and how it learns; kept in the artifact's configuration."""

    pairs: bool = False
    hidden: int = 512
    dropout: tuple[float, float] = (0.5, 0.6)  # of the numbers, of the hidden layer
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    seed: int = 1

    def describe(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self) | {"dropout": list(self.dropout)}


class CompositionNetwork(nn.Module):
    """Answers from a protein's numbers: standardised, then one hidden layer."""

    def __init__(self, locations: int, settings: CompositionSettings) -> None:
        super().__init__()
        self.size = SIZE if settings.pairs else PLAIN
        self.center = nn.Buffer(torch.zeros(self.size))
        self.scale = nn.Buffer(torch.ones(self.size))
        self.answer = nn.Sequential(
            nn.Dropout(settings.dropout[0]),
            nn.Linear(self.size, settings.hidden),
            nn.GELU(),
            nn.Dropout(settings.dropout[1]),
            nn.Linear(settings.hidden, locations + 1),
        )

    def standardise(self, numbers: Tensor) -> None:
        """Take mean and spread from these proteins' numbers (proteins, SIZE)."""
        self.center.copy_(numbers[:, : self.size].mean(dim=0))
        self.scale.copy_(numbers[:, : self.size].std(dim=0) + 1e-3)

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Location logits (batch, locations) and membrane logits (batch) of numbers (batch, SIZE)."""
        with torch.autocast(numbers.device.type, enabled=False):
            told = ((numbers[:, : self.size] - self.center) / self.scale).clamp(-LARGEST, LARGEST)
            logits = self.answer(told)
        return logits[:, :-1], logits[:, -1]
