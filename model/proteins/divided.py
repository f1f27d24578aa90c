"""Divides labelled proteins into training, validation and holdout: a snapshot's rules, as a pure function.

A protein is its sequence. Labels of people win over base data, contradictory ones are left out, the holdout
is sticky, and no training protein has a relative (`homology`) in it. Every record ends in exactly one place:
as the one that stands for its protein in a split, as a duplicate, or left out with a fault that says why.
Needs numpy only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum

from model.proteins import related as homology
from model.proteins.labelled import LOCATIONS, MEMBRANE_UNKNOWN, LabelledProtein, places_of
from model.proteins.related import Families

TRAINING, VALIDATION, HOLDOUT = SPLITS = ("training", "validation", "holdout")
CONFLICTS, DUPLICATES, LEAKS = "conflicts", "duplicates", "leaks"


@dataclass(frozen=True)
class File:
    """A labelled file: its name in faults, and whether it is base data rather than labels of people."""

    name: str
    base: bool


@dataclass(frozen=True)
class Record:
    """A protein as one line of one file has it."""

    file: int  # index
    line: int
    protein: LabelledProtein


@dataclass(frozen=True, order=True)
class Fault:
    """Something about a record that a person should know; `left_out` where it costs the record."""

    file: int
    line: int
    kind: str
    problem: str
    left_out: bool


@dataclass(frozen=True)
class Division:
    """The fate of all records."""

    splits: dict[str, list[LabelledProtein]]
    standing: list[Record]  # those that stand for their proteins in the splits
    faults: list[Fault]  # by file and line


class Fate(Enum):
    """The part of a protein's fate that is settled before anything is drawn."""

    HELD = "held out"
    LEARNED = "learned from"
    FREE = "free to be either"


@dataclass(frozen=True)
class Settled:
    """One protein, all records agreed: the first stands for it."""

    protein: LabelledProtein
    record: Record
    files: frozenset[int]  # that have it, under whichever label
    marked: bool  # `test`, in any of them


def divide(
    files: Sequence[File],
    records: Iterable[Record],
    before: Mapping[str, str],
    locations: Sequence[str] = LOCATIONS,
) -> Division:
    """The splits of `records`, which come by file and line; `before` gives the split of each known sequence.

    The same for the same arguments. Splits are in the order of the records; a split may be empty. A protein
    of several of the `locations` counts as one of the first.
    """
    by_sequence = dict[str, list[Record]]()
    marking = set[int]()
    for record in records:
        by_sequence.setdefault(record.protein.sequence, []).append(record)
        if record.protein.test:
            marking.add(record.file)
    faults = list[Fault]()
    groups = [_settle(group, files, faults, locations) for group in by_sequence.values()]
    settled = sorted(
        (each for each in groups if each is not None), key=lambda each: (each.record.file, each.record.line)
    )
    fates = [_fate(each, before, marking, faults) for each in settled]
    families, leaks = _relations(settled, fates, marking)
    held = {index for index, fate in enumerate(fates) if fate is Fate.HELD}
    held |= _newly_held(settled, fates, families, leaks, marking)
    for index, relative in leaks.items():
        problem = f"related to a protein of the holdout, {_where(settled[relative].record, files)}"
        faults.append(_fault(settled[index].record, LEAKS, problem, left_out=True))
    learned = [index for index in range(len(settled)) if index not in held and index not in leaks]
    chosen_on = _chosen_on(settled, families, learned)
    of = dict.fromkeys(learned, TRAINING) | dict.fromkeys(chosen_on, VALIDATION)
    of |= dict.fromkeys(held, HOLDOUT)
    splits: dict[str, list[LabelledProtein]] = {name: [] for name in SPLITS}
    for index in sorted(of):
        splits[of[index]].append(settled[index].protein)
    return Division(splits, [settled[index].record for index in sorted(of)], sorted(faults))


def _fault(record: Record, kind: str, problem: str, *, left_out: bool) -> Fault:
    return Fault(record.file, record.line, kind, problem, left_out)


def _where(record: Record, files: Sequence[File]) -> str:
    return f"{files[record.file].name} line {record.line}"


def _settle(
    group: Sequence[Record], files: Sequence[File], faults: list[Fault], locations: Sequence[str]
) -> Settled | None:
    """The protein that the records of one sequence agree on; None where they do not."""
    of_people = [record for record in group if not files[record.file].base]
    decisive = of_people or list(group)
    first = next(record for record in group if _agree(record, decisive[0]))
    against = [record for record in decisive if not _agree(record, first)]
    if against:
        for record in group:
            other = against[0] if _agree(record, first) else first
            here, there = (places_of(each.protein, locations) for each in (record, other))
            problem = f"{here}, but {there} in {_where(other, files)}"
            faults.append(_fault(record, CONFLICTS, problem, left_out=True))
        return None
    agreeing = list[Record]()
    for record in group:
        if _agree(record, first):
            agreeing.append(record)
        else:  # base data, overruled
            here, there = (places_of(each.protein, locations) for each in (record, decisive[0]))
            problem = f"{here}, but {there} in {_where(decisive[0], files)}, which wins"
            faults.append(_fault(record, CONFLICTS, problem, left_out=True))
    for record in agreeing[1:]:
        problem = f"the same protein as {_where(agreeing[0], files)}"
        faults.append(_fault(record, DUPLICATES, problem, left_out=False))
    return Settled(
        replace(first.protein, membrane=_membrane(agreeing, files, faults), test=False),
        first,
        frozenset(record.file for record in group),
        any(record.protein.test for record in group),
    )


def _agree(one: Record, other: Record) -> bool:
    """True if both name the same locations, in whichever order."""
    return set(one.protein.places) == set(other.protein.places)


def _membrane(agreeing: Sequence[Record], files: Sequence[File], faults: list[Fault]) -> float:
    known = [record for record in agreeing if record.protein.membrane != MEMBRANE_UNKNOWN]
    for record in known[1:]:
        if record.protein.membrane != known[0].protein.membrane:
            problem = f"another membrane label than in {_where(known[0], files)}: taken for unknown"
            faults.append(_fault(record, CONFLICTS, problem, left_out=False))
            return MEMBRANE_UNKNOWN
    return known[0].protein.membrane if known else MEMBRANE_UNKNOWN


def _fate(one: Settled, before: Mapping[str, str], marking: Set[int], faults: list[Fault]) -> Fate:
    split = before.get(one.protein.sequence)
    if split is not None and split != HOLDOUT and one.marked:
        problem = "marked test, but learned from before: it is still learned from"
        faults.append(_fault(one.record, CONFLICTS, problem, left_out=False))
    if split is not None:
        return Fate.HELD if split == HOLDOUT else Fate.LEARNED
    if one.marked:
        return Fate.HELD
    return Fate.LEARNED if one.files & marking else Fate.FREE


def _relations(
    settled: Sequence[Settled], fates: Sequence[Fate], marking: Set[int]
) -> tuple[Families, dict[int, int]]:
    """Families of all that is not held out yet, and of each leak the first relative that is held out."""
    families, leaks = Families(len(settled)), dict[int, int]()
    held = [fate is Fate.HELD for fate in fates]
    for index, others in homology.related([each.protein.sequence for each in settled]):
        for other in map(int, others):
            if not held[index] and not held[other]:
                families.join(index, other)
            elif held[index] != held[other]:
                kept, learned = (index, other) if held[index] else (other, index)
                # A file that marks its own test proteins is taken at its word about them.
                if not settled[kept].files & settled[learned].files & marking:
                    leaks[learned] = min(kept, leaks.get(learned, kept))
    return families, leaks


def _newly_held(
    settled: Sequence[Settled],
    fates: Sequence[Fate],
    families: Families,
    leaks: Mapping[int, int],
    marking: Set[int],
) -> set[int]:
    """Whole new families, so that a seventh of each location's proteins without marks is held out."""
    known = {families[index] for index, fate in enumerate(fates) if fate is Fate.LEARNED or index in leaks}
    free = [index for index, fate in enumerate(fates) if fate is Fate.FREE and families[index] not in known]
    plain = [index for index, each in enumerate(settled) if not each.files & marking and index not in leaks]
    counts = Counter(settled[index].protein.location for index in plain)
    already = Counter(settled[index].protein.location for index in plain if fates[index] is Fate.HELD)
    return _drawn(settled, families, free, _seventh(counts) - already)


def _seventh(counts: Mapping[int, int]) -> Counter[int]:
    """The number of proteins to hold out of each location: none of a location that has only one."""
    return Counter(
        {
            location: max(1, round(count * homology.HELD_OUT))
            for location, count in counts.items()
            if count > 1
        }
    )


def _drawn(
    settled: Sequence[Settled], families: Families, among: Sequence[int], wanted: Mapping[int, int]
) -> set[int]:
    proteins = [settled[index].protein for index in among]
    rows = homology.draw(
        [families[index] for index in among],
        [protein.location for protein in proteins],
        [protein.accession for protein in proteins],
        wanted,
    )
    return {among[row] for row in rows}


def _chosen_on(settled: Sequence[Settled], families: Families, learned: Sequence[int]) -> set[int]:
    """The validation proteins: whole families again."""
    counts = Counter(settled[index].protein.location for index in learned)
    return _drawn(settled, families, learned, _seventh(counts))
