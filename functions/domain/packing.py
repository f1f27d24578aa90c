"""Packing the records of a shard into batches: a pure function of the shard's text and these settings.

Proteins of similar length share a batch, so that the model pads little and identical sequences meet; a batch
holds so many residues, not so many proteins, so that a call takes about the same time for any file. A shard
is packed window by window, which bounds memory on a shard of a million tiny records.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from functions.domain.protein import Protein, Rejection


@dataclass(frozen=True)
class PackingSettings:
    """The bounds of a batch. An upload keeps those it was received under."""

    batch_residues: int = 32_768
    batch_proteins: int = 500
    batch_bytes: int = 600_000  # a queue message holds 1 MiB of text, escapes included
    window_records: int = 4_096
    window_residues: int = 2_000_000


class Batch(NamedTuple):
    """Either proteins for one call of the model, or rejections that need none."""

    number: int  # within its shard
    proteins: list[Protein]
    rejections: list[Rejection]


def pack(records: Iterable[Protein | Rejection], settings: PackingSettings) -> Iterator[Batch]:
    """Yield the batches of a shard, numbered from 0; every record is in exactly one of them."""
    number = 0
    for window in _windows(records, settings):
        proteins = [record for record in window if isinstance(record, Protein)]
        rejections = []
        if len(proteins) < len(window):
            rejections = [record for record in window if isinstance(record, Rejection)]
        for group in _groups(proteins, settings):
            yield Batch(number, group, [])
            number += 1
        if rejections:
            yield Batch(number, [], rejections)
            number += 1


def _windows(
    records: Iterable[Protein | Rejection], settings: PackingSettings
) -> Iterator[list[Protein | Rejection]]:
    window: list[Protein | Rejection] = []
    residues = 0
    for record in records:
        window.append(record)
        residues += len(record.sequence) if isinstance(record, Protein) else 0
        if len(window) == settings.window_records or residues >= settings.window_residues:
            yield window
            window, residues = [], 0
    if window:
        yield window


def _groups(proteins: list[Protein], settings: PackingSettings) -> Iterator[list[Protein]]:
    """Cut the proteins, longest first, wherever one more would go over a limit.

    Of one length they are in the order of their sequences, and of one sequence in that of the file: sorting
    is stable, also in reverse, and two simple keys are compared faster than one of two parts.
    """
    group: list[Protein] = []
    residues = size = 0
    proteins = sorted(proteins, key=attrgetter("sequence"))
    proteins.sort(key=lambda protein: len(protein.sequence), reverse=True)
    for protein in proteins:
        length = len(protein.sequence)
        protein_bytes = length + _names_bytes(protein) + 200
        full = (
            residues + length > settings.batch_residues
            or len(group) == settings.batch_proteins
            or size + protein_bytes > settings.batch_bytes
        )
        if group and full:
            yield group
            group, residues, size = [], 0, 0
        group.append(protein)
        residues += length
        size += protein_bytes
    if group:
        yield group


def _names_bytes(protein: Protein) -> int:
    """Measure accession and header as a JSON list in ASCII, which most need not be written for."""
    names = protein.accession + protein.header
    if names.isascii() and names.isprintable() and '"' not in names and "\\" not in names:
        return len(names) + len('["", ""]')
    return len(json.dumps((protein.accession, protein.header)))
