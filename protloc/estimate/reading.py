"""Reads a FASTA file on this machine as a stack would, and counts its records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from functions.domain.archives import Seekable
from functions.domain.errors import InputError
from functions.domain.fasta import read_records
from functions.domain.formats import packing, require_fasta
from functions.domain.protein import Rejection, read_protein
from functions.domain.text import WINDOW_BYTES, Inflater
from protloc.estimate.system import Workload

MAX_REJECTIONS_SHOWN = 5


@dataclass(frozen=True)
class Contents:
    """The records of a file: how many are to be predicted, and why the others are not."""

    work: Workload
    rejected: int
    first: list[tuple[int, str, str]]  # line (from 1), accession and reason of the first rejected records
    warnings: list[str]

    @property
    def records(self) -> int:
        return self.work.proteins + self.rejected


def examine(stream: IO[bytes]) -> Contents:
    """Read a whole file, packed or not; raises InputError where the stack would refuse it."""
    head = stream.read(WINDOW_BYTES)
    warnings: list[str] = []
    text = _Counted(_pieces(head, stream, warnings))
    proteins = residues = rejected = 0
    first = list[tuple[int, str, str]]()
    for record in read_records(text):
        judged = read_protein(record)
        if isinstance(judged, Rejection):
            rejected += 1
            if len(first) < MAX_REJECTIONS_SHOWN:
                first.append((judged.line + 1, judged.accession, judged.reason))
        else:
            proteins += 1
            residues += len(judged.sequence)
    return Contents(Workload(proteins, residues, text.size), rejected, first, warnings)


def _pieces(head: bytes, stream: IO[bytes], warnings: list[str]) -> Iterator[bytes]:
    """The text of the file, unpacked; `warnings` gets the parts left out."""
    if not packing(head):
        require_fasta(head, whole=len(head) < WINDOW_BYTES)
        yield from _chunks(head, stream)
        return
    inflater = Inflater()
    whole = None
    if stream.seekable():
        size = stream.seek(0, 2)

        def read(start: int, end: int) -> bytes:
            stream.seek(start)
            return stream.read(end - start)

        whole = Seekable(read, size)
        stream.seek(len(head))
    for number, piece in enumerate(inflater.text(_chunks(head, stream), whole)):
        if not number:
            require_fasta(piece, whole=False)
        yield piece
    if not inflater.size:
        raise InputError(inflater.damage or "an empty file", expected="FASTA records")
    warnings += [inflater.damage] * bool(inflater.damage) + [
        f"left out: {each}" for each in inflater.left_out
    ]


def _chunks(head: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    yield head
    while chunk := stream.read(WINDOW_BYTES):
        yield chunk


class _Counted:
    """Pieces of a text, and how many bytes they were together."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.size = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece
