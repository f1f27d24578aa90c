"""What a file holds, read in the plainest way there is: the other opinion that results are held against."""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

_RESIDUES = re.compile(rb"[ACDEFGHIKLMNPQRSTVWYUOBZJX]+")


class Expected(NamedTuple):
    """One record; no sequence where it must be rejected."""

    offset: int
    sequence: str | None


class Reading(NamedTuple):
    """A whole file: not FASTA where `records` is None."""

    records: list[Expected] | None
    damaged: bool


def read(body: bytes) -> Reading:
    """Read a file, gzip or not, whole and in memory."""
    text, damaged = _inflated(body) if body[:2] == b"\x1f\x8b" else (body, False)
    records = _records(text)
    if records is None:
        return Reading(None, damaged)
    if damaged and records:
        records[-1] = Expected(records[-1].offset, None)
    return Reading(records, damaged)


def _inflated(body: bytes) -> tuple[bytes, bool]:
    text = b""
    while body:
        member = zlib.decompressobj(wbits=31)
        text += member.decompress(body)
        if not member.eof:
            return text, True
        body = member.unused_data
    return text, False


def _records(text: bytes) -> list[Expected] | None:
    records: list[tuple[int, list[bytes]]] = []
    offset = 0
    for line in text.splitlines(keepends=True):
        if line.startswith(b">"):
            records.append((offset, []))
        elif records and not line.startswith(b";"):
            records[-1][1].append(b"".join(line.split()))
        elif line.strip() and not line.startswith(b";"):
            return None
        offset += len(line)
    if not records:
        return None
    return [Expected(start, _sequence(b"".join(lines))) for start, lines in records]


def _sequence(letters: bytes) -> str | None:
    letters = letters.upper()
    letters = letters[:-1] if letters.endswith(b"*") else letters
    return letters.decode() if _RESIDUES.fullmatch(letters) else None
