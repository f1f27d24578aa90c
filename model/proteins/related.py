"""Finds related proteins, so that whole families are held out for validation.

Two proteins count as related when they share more short words than chance gives them: words of five residues
over 14 classes of residues that replace each other. Families are the connected groups of related proteins, so
no held-out protein has a relative, in this sense, among those that are learned from. It is a stand-in for an
aligner. On DeepLoc's 10,847 training proteins it takes 7 s, and of the held-out ones 0.5 % have a relative of
50 % identity or more in training, 2.6 % one of 40 % and 10 % one of 30 % (by MMseqs2, over 80 % of the
shorter one); after a split at random it is 33, 40 and 51 %. It cannot see distant relatives (below about 30 %
identity), a short domain shared by long proteins, and relatives shorter than some 15 residues unless they are
identical. A list made with an aligner, given as `--validation`, is better.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.serving.words import WORD, WORDS
from model.serving.words import words as words_by_place

EXCESS = 9.0  # words shared beyond chance, in units of chance's own spread
SHARE = 0.03  # and as a share of the shorter protein's words
MIN_BACKGROUND_PROTEINS = 1000  # proteins; among fewer, a family's own words would pass for chance
HELD_OUT = 1 / 7
METHOD = f"families by shared words of {WORD} residues, {HELD_OUT:.0%} held out"
Words = NDArray[np.int64]


def words(sequence: str) -> Words:
    """The different words of a sequence, as sorted numbers."""
    return np.unique(words_by_place(sequence))


def related(sequences: Sequence[str]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each sequence's index with the indices of its relatives; a pair may come from either side or both."""
    if not sequences:
        return
    first: dict[str, int] = {}
    for index, sequence in enumerate(sequences):
        if first.setdefault(sequence, index) != index:
            yield index, np.array([first[sequence]])
    words_of = [words(sequence) for sequence in sequences]
    sizes = np.array([len(each) for each in words_of])
    everything = np.concatenate(words_of)
    speakers = np.repeat(np.arange(len(sequences)), sizes)[np.argsort(everything, kind="stable")]
    starts = np.searchsorted(np.sort(everything), np.arange(WORDS + 1))
    mean = max(1.0, float(sizes.mean()))
    for index, own in enumerate(words_of):
        sharing = [speakers[starts[word] : starts[word + 1]] for word in own]
        if not sharing:
            continue
        shared = np.bincount(np.concatenate(sharing), minlength=len(sequences))
        # How many of these words another protein of its length would share by chance.
        chance = sum(map(len, sharing)) / max(len(sequences), MIN_BACKGROUND_PROTEINS) * sizes / mean
        beyond = shared - chance
        enough = (beyond >= EXCESS * np.sqrt(chance + 1)) & (
            beyond >= SHARE * np.minimum(sizes[index], sizes)
        )
        yield index, np.flatnonzero(enough)


class Families:
    """Indices in groups that grow together; a group's number is that of its first member."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def __getitem__(self, index: int) -> int:
        """The number of an index's group."""
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        one, other = self[one], self[other]
        self._parent[max(one, other)] = min(one, other)


def families(sequences: Sequence[str]) -> NDArray[np.int64]:
    """A number for every sequence's family: that of its first member."""
    joined = Families(len(sequences))
    for index, others in related(sequences):
        for other in others:
            joined.join(index, int(other))
    return np.array([joined[index] for index in range(len(sequences))], dtype=np.int64)


def hold_out(
    sequences: Sequence[str], locations: Sequence[int], accessions: Sequence[str], share: float = HELD_OUT
) -> list[int]:
    """Indices of the proteins to choose on: whole families, near `share` of every location.

    The same for any order of the proteins. A location of two families or more is on both sides.
    """
    wanted = {location: max(1, round(count * share)) for location, count in Counter(locations).items()}
    return draw(families(sequences), locations, accessions, wanted)


def draw(
    family: Sequence[int] | NDArray[np.int64],
    locations: Sequence[int],
    accessions: Sequence[str],
    wanted: Mapping[int, int],
) -> list[int]:
    """Indices of whole families that hold near `wanted` proteins of each location, by their number.

    The drawing depends on the families' first accessions alone. Of a location of which any are wanted, one
    family at least is drawn where another is left.
    """
    members = defaultdict[int, list[int]](list)
    for index, number in enumerate(family):
        members[int(number)].append(index)

    def place(family: list[int]) -> bytes:
        return hashlib.sha256(min(accessions[index] for index in family).encode()).digest()

    drawn = sorted(members.values(), key=place)
    counts, wanted = Counter(locations), Counter(wanted)
    held, remaining = list[int](), Counter(counts)

    def take(family: list[int]) -> None:
        held.extend(family)
        for index in family:
            wanted[locations[index]] -= 1
            remaining[locations[index]] -= 1

    large = max(2, len(locations) // 50)  # a family that would be most of the validation proteins
    rest = list[list[int]]()
    for family in drawn:
        useful = sum(
            min(count, max(0, wanted[location]))
            for location, count in Counter(locations[index] for index in family).items()
        )
        if len(family) <= large and 2 * useful > len(family):
            take(family)
        else:
            rest.append(family)
    for location in sorted(counts):
        # Nothing of it is drawn yet: its smallest family is.
        if wanted[location] > 0 and remaining[location] == counts[location]:
            able = [
                family
                for family in rest
                if any(locations[index] == location for index in family)
                and all(remaining[locations[index]] > len(family) for index in family)
            ]
            if able:
                chosen = min(able, key=len)
                rest.remove(chosen)
                take(chosen)
    return sorted(held)
