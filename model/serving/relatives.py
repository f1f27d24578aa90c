"""Lets a protein's relatives among the labelled ones vote on its location.

Relatives mostly live in the same place, and a network that learned from them half remembers. Here they are
looked up: words of five residues over 14 classes of residues that replace each other, rare ones counting
more, summed along one diagonal of the two sequences, as a gapless alignment would lie. The best `VOTERS`
vote for their locations with their scores, and how strong the best one is says how far to believe that:
answers are calibrated apart for proteins with a near relative, a distant one, and none.

An index holds half of the words of each protein, by a hash, with their rough places; no residue can be read
from it, only classes of some. It travels in an artifact, and needs numpy and safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from model.serving.words import WORDS, words

FILE = "relatives.safetensors"
MAX_PROTEINS_PER_WORD = 255  # proteins' words; those in the index so often say nothing
PLACE = 8  # residues, to which a word's place in its protein is rounded
LAST_PLACE = 255  # places beyond are left out: residues from 2,048 on
DIAGONAL = 16  # residues; two such bands side by side are summed, so that none is cut in its middle
MAX_SHIFT = 1 << 15  # residues between two places
VOTERS = 6
SILENT, SPAN, LOUDEST = 16.0, 12.0, 3.0  # a vote is (score - SILENT) / SPAN, between 0 and LOUDEST
MAX_VOTES = 3.0  # of one location, in units of the log probability that they are added to
SHARPNESS = 1 / 0.8  # of the network's own logits beside them
KINDS = ("none", "distant", "near")
MIN_NEAR_SCORE = 60.0  # the least score of a near relative; of a distant one it is SILENT

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth's multiplicative hashing


_INDEXED: NDArray[np.bool_] = (np.arange(WORDS, dtype=np.uint64) * _MIX) >> np.uint64(63) == 0


class Relatives:
    """An index of labelled proteins by their words."""

    def __init__(
        self, labels: NDArray[Any], counts: NDArray[Any], proteins: NDArray[Any], places: NDArray[Any]
    ):
        """`labels` (proteins) are indices of locations; `counts` (WORDS) how often each word stands in the
        index; `proteins` and `places` (entries) where, word by word.
        """
        self.labels, self.counts, self.proteins, self.places = labels, counts, proteins, places
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        seen = counts > 0
        self._rarity = np.zeros(WORDS, dtype=np.float32)
        self._rarity[seen] = 1 + np.log((MAX_PROTEINS_PER_WORD + 1) / counts[seen])

    @classmethod
    def of(cls, sequences: Sequence[str], labels: Sequence[int]) -> Relatives:
        """The index of labelled sequences."""
        entries = [_entries(sequence) for sequence in sequences]
        sizes = [len(numbers) for numbers, _ in entries]
        return cls._ordered(
            np.asarray(labels, dtype=np.uint8),
            np.concatenate([numbers for numbers, _ in entries] or [np.zeros(0, np.int64)]),
            np.repeat(np.arange(len(entries)), sizes),
            np.concatenate([places for _, places in entries] or [np.zeros(0, np.int64)]),
        )

    @classmethod
    def _ordered(cls, labels: NDArray[Any], numbers: Labels, proteins: Labels, places: Labels) -> Relatives:
        counts = np.bincount(numbers, minlength=WORDS)
        rare = counts[numbers] <= MAX_PROTEINS_PER_WORD
        numbers, proteins, places = numbers[rare], proteins[rare], places[rare]
        order = np.argsort(numbers, kind="stable")
        kind = np.uint16 if len(labels) <= 1 << 16 else np.uint32
        return cls(
            labels,
            np.where(counts <= MAX_PROTEINS_PER_WORD, counts, 0).astype(np.uint8),
            proteins[order].astype(kind),
            places[order].astype(np.uint8),
        )

    def extended(self, other: Relatives) -> Relatives:
        """The index of the proteins of both."""
        return self._ordered(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([np.repeat(np.arange(WORDS), each.counts) for each in (self, other)]),
            np.concatenate(
                [self.proteins.astype(np.int64), other.proteins.astype(np.int64) + len(self.labels)]
            ),
            np.concatenate([self.places, other.places]).astype(np.int64),
        )

    @classmethod
    def read(cls, folder: Path, described: Mapping[str, Any]) -> Relatives | None:
        """The index in an artifact's folder; None where its description names none."""
        if not described:
            return None
        parts = load_file(folder / FILE)
        counts = np.zeros(WORDS, dtype=np.uint8)
        counts[_INDEXED] = parts["counts"]
        proteins = unpacked(parts["proteins"], len(parts["places"]), _bits(len(parts["labels"])))
        return cls(parts["labels"], counts, proteins, parts["places"])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the index, and return its entry for the artifact's description.

        Kept are counts of words that may be indexed, and no more bits of a protein's number than it needs.
        """
        proteins = packed(self.proteins, _bits(len(self.labels)))
        parts = {"labels": self.labels, "counts": self.counts[_INDEXED], "proteins": proteins}
        save_file({**parts, "places": np.ascontiguousarray(self.places)}, folder / FILE)
        (folder / FILE).chmod(0o644)  # written for its owner alone, but served by another user
        return {"proteins": len(self.labels), "words": len(self.proteins)}

    def scores(self, sequence: str) -> tuple[Labels, Floats]:
        """The indexed proteins that share a word with a sequence, and how strongly each is related to it."""
        numbers = words(sequence)
        here = np.flatnonzero(self._rarity[numbers])
        numbers = numbers[here]
        starts, sizes = self._starts[numbers], self.counts[numbers].astype(np.int64)
        total = int(sizes.sum())
        if not total:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        first = np.cumsum(sizes) - sizes
        entries = np.repeat(starts - first, sizes) + np.arange(total)
        shifts = np.repeat(here, sizes) - self.places[entries].astype(np.int64) * PLACE + MAX_SHIFT
        bands = shifts.clip(0, 2 * MAX_SHIFT - 1) // DIAGONAL
        keys = self.proteins[entries].astype(np.int64) * _BANDS + bands
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        firsts = _firsts(keys)
        sums = np.add.reduceat(np.repeat(self._rarity[numbers], sizes)[order].astype(np.float64), firsts)
        keys = keys[firsts]
        beside = np.flatnonzero(keys[1:] == keys[:-1] + 1)
        pairs = sums.copy()
        pairs[beside] += sums[beside + 1]
        proteins = keys // _BANDS
        firsts = _firsts(proteins)
        return proteins[firsts], np.maximum.reduceat(pairs, firsts)

    def look(self, sequences: Sequence[str], locations: int) -> tuple[Floats, Floats]:
        """The votes (sequences, locations), and the score (sequences) of each one's strongest relative."""
        votes, strongest = np.zeros((len(sequences), locations)), np.zeros(len(sequences))
        for row, sequence in enumerate(sequences):
            proteins, scores = self.scores(sequence)
            if not len(proteins):
                continue
            # By score, and among equals by their place in the index, so that an answer is always the same.
            best = np.argsort(-scores, kind="stable")[:VOTERS]
            strongest[row] = scores[best[0]]
            loudness = ((scores[best] - SILENT) / SPAN).clip(0, LOUDEST)
            np.add.at(votes[row], self.labels[proteins[best]], loudness)
        return votes.clip(max=MAX_VOTES), strongest


_BANDS = 2 * MAX_SHIFT // DIAGONAL + 1


def _entries(sequence: str) -> tuple[Labels, Labels]:
    """The words of a sequence that are indexed, and their places."""
    numbers = words(sequence)
    here = np.flatnonzero(_INDEXED[numbers])
    here = here[here // PLACE <= LAST_PLACE]
    return numbers[here], here // PLACE


def _bits(count: int) -> int:
    """The number of bits that tell so many numbers apart."""
    return max(1, (count - 1).bit_length())


def packed(numbers: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Numbers below 2 ** bits, one after the other in so many bits, the lowest first.

    >>> unpacked(packed(np.array([5, 0, 6]), 3), 3, 3)
    array([5, 0, 6], dtype=uint16)
    """
    table = np.empty((len(numbers), bits), dtype=np.uint8)
    for bit in range(bits):
        table[:, bit] = numbers >> bit & 1
    return np.packbits(table.ravel())


def unpacked(stored: NDArray[np.uint8], count: int, bits: int) -> NDArray[Any]:
    """Unpack this many numbers from the bytes of `packed`."""
    table = np.unpackbits(stored, count=count * bits).reshape(count, bits)
    numbers: NDArray[Any] = np.zeros(count, dtype=np.uint16 if bits <= 16 else np.uint32)
    for bit in range(bits):
        numbers = numbers | (table[:, bit].astype(numbers.dtype) << bit)
    return numbers


def _firsts(values: Labels) -> Labels:
    """The places at which a new value begins, in values in order."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


def join(logits: Floats, votes: Floats) -> Floats:
    """Logits (proteins, locations) of a network and its proteins' relatives together; all arguments alike."""
    peak = logits.max(axis=1, keepdims=True)
    own: Floats = logits - peak - np.log(np.exp(logits - peak).sum(axis=1, keepdims=True))
    return own * SHARPNESS + votes


def kinds(strongest: Floats) -> Labels:
    """For scores (proteins) the indices of KINDS (proteins)."""
    return np.searchsorted([SILENT, MIN_NEAR_SCORE], strongest, side="right").astype(np.int64)
