"""The proteins that a run learns from and those that it chooses on, with their counts and their digest.

Needs numpy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.proteins import related
from model.proteins.labelled import (
    BETWEEN,
    LABELLED_SUFFIXES,
    LOCATIONS,
    MEMBRANE_UNKNOWN,
    LabelError,
    LabelledProtein,
    files_of,
    read_labelled,
)


def split(
    proteins: Sequence[LabelledProtein],
    validation: Path | None,
    locations: Sequence[str] = LOCATIONS,
    *,
    several: bool = False,
) -> tuple[list[LabelledProtein], list[LabelledProtein]]:
    """Training and validation proteins; those marked `test` are in neither.

    `validation` is a labelled file of its own, whose sequences are then in training no more, a text file of
    accessions (one a line), or a folder with either. Without it whole families of related proteins are held
    out (`related`).
    """
    usable = [protein for protein in proteins if not protein.test]
    if validation is None:
        chosen_on = related.hold_out(
            [protein.sequence for protein in usable],
            [protein.location for protein in usable],
            [protein.accession for protein in usable],
        )
        held_out = {usable[index].accession for index in chosen_on}
    else:
        lists = [validation] if validation.is_file() else files_of(validation, (".txt", *LABELLED_SUFFIXES))
        if len(lists) != 1:
            raise LabelError(f"expected one list or labelled file in {validation}, found {len(lists)}")
        if lists[0].suffix in LABELLED_SUFFIXES:
            read = read_labelled(lists[0], locations, several=several)
            chosen = [protein for protein in read if not protein.test]
            # By sequence: files of several people may use the same accessions for different proteins.
            sequences = {protein.sequence for protein in chosen}
            return _both([protein for protein in usable if protein.sequence not in sequences], chosen)
        held_out = set(lists[0].read_text(encoding="utf-8").split())
    return _both(
        [protein for protein in usable if protein.accession not in held_out],
        [protein for protein in usable if protein.accession in held_out],
    )


def _both(
    training: list[LabelledProtein], chosen: list[LabelledProtein]
) -> tuple[list[LabelledProtein], list[LabelledProtein]]:
    """Refuse a side without proteins: nothing is learned from none, and nothing chosen on none."""
    if not training or not chosen:
        raise LabelError(
            f"expected proteins to learn from and others to choose on, found {len(training)} and "
            f"{len(chosen)}; test proteins are neither, nor is a validation sequence learned from"
        )
    return training, chosen


def missing_locations(proteins: Iterable[LabelledProtein], locations: Sequence[str] = LOCATIONS) -> list[str]:
    """The locations that no protein is labelled with."""
    there = {place for protein in proteins for place in protein.places}
    return [name for index, name in enumerate(locations) if index not in there]


def digest(proteins: Iterable[LabelledProtein]) -> str:
    """SHA-256 over the training proteins, so that an artifact can name its data."""
    state = hashlib.sha256()
    for protein in proteins:
        places = BETWEEN.join(map(str, protein.places))
        state.update(f"{protein.accession} {places} {protein.membrane} ".encode())
        state.update(f"{protein.sequence}\n".encode())
    return state.hexdigest()


def describe(proteins: Sequence[LabelledProtein], locations: Sequence[str] = LOCATIONS) -> dict[str, Any]:
    """Count the proteins by length and by location, for a report.

    `lengths` counts proteins of up to so many residues (and above the bound before), `locations` those of
    each location by their membrane label; one of several locations counts in each.
    """
    lengths = np.array([len(protein.sequence) for protein in proteins])
    bounds = (50, 100, 200, 300, 400, 500, 750, 1000, 1500, 2000, 3000)
    counts, _ = np.histogram(lengths, bins=[0, *(bound + 1 for bound in bounds), np.inf])
    names = {1.0: "membrane", 0.0: "soluble", MEMBRANE_UNKNOWN: "unknown"}
    table = {location: dict.fromkeys(("proteins", *names.values()), 0) for location in locations}
    for protein in proteins:
        for place in protein.places:
            for column in ("proteins", names[protein.membrane]):
                table[locations[place]][column] += 1
    return {
        "residues": int(lengths.sum()),
        "lengths": dict(zip([*map(str, bounds), "more"], counts.tolist(), strict=True)),
        "locations": table,
    }


def memberships(proteins: Sequence[LabelledProtein], locations: int) -> NDArray[np.bool_]:
    """Truth by protein and location (proteins, locations)."""
    table = np.zeros((len(proteins), locations), dtype=np.bool_)
    for row, protein in enumerate(proteins):
        table[row, list(protein.places)] = True
    return table
