"""Chooses the proteins that a model is chosen and calibrated on, and writes their accessions.

    python -m model.proteins.held_out DEEPLOC.fasta validation.txt

Half of them are whole families, which have no relative among the proteins that are learned from; the others
are drawn one by one and mostly have. A model is as sure as it may be of either only if it is calibrated on
both, apart (`serving.calibration`).
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from model.proteins import labelled, related

SHARE = 1 / 14  # of every location's proteins, in each half


def held_out(proteins: Sequence[labelled.LabelledProtein]) -> list[str]:
    """The accessions of the chosen proteins; those marked `test` are never among them.

    The same for any order of the proteins.
    """
    usable = [protein for protein in proteins if not protein.test]
    families = {
        usable[index].accession
        for index in related.hold_out(
            [protein.sequence for protein in usable],
            [protein.location for protein in usable],
            [protein.accession for protein in usable],
            SHARE,
        )
    }
    counts = Counter(protein.location for protein in usable)
    rest = defaultdict[int, list[str]](list)
    for protein in usable:
        if protein.accession not in families:
            rest[protein.location].append(protein.accession)
    drawn = set[str]()
    for location, accessions in rest.items():
        in_order = sorted(accessions, key=lambda accession: hashlib.sha256(accession.encode()).digest())
        drawn.update(in_order[: round(counts[location] * SHARE)])
    return sorted(families | drawn)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description="Choose the validation proteins.", allow_abbrev=False)
    parser.add_argument("labelled", type=Path, help="labelled file, or a folder of them")
    parser.add_argument("out", type=Path, help="list of accessions, one a line")
    options = parser.parse_args(arguments)
    accessions = held_out(labelled.read_channel(options.labelled))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(f"{accession}\n" for accession in accessions), encoding="utf-8")


if __name__ == "__main__":
    main()
