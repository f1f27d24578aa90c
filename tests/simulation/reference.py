"""Reads a file in the plainest way there is: the independent opinion that results are compared with."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from tests.simulation.letters import records, sequence

LOOKBACK_BYTES = 1024


class Expected(NamedTuple):
    """One record; no sequence where it must be rejected."""

    offset: int
    sequence: str | None
    header: str
    lines: range
    """Its lines, counted from 1, and the first one after it."""


class Reading(NamedTuple):
    """A whole file: not FASTA where `records` is None."""

    records: list[Expected] | None
    damaged: bool


def read(body: bytes) -> Reading:
    """Read a file, gzip or not, whole and in memory."""
    text, damaged = _inflated(body) if body[:2] == b"\x1f\x8b" else (body, False)
    entries = [
        Expected(offset, sequence(header, rest), header.decode("latin-1").strip(), _lines(text, offset, rest))
        for offset, header, rest in records(text, LOOKBACK_BYTES)
    ]
    if not entries:
        return Reading(None, damaged)
    if damaged:
        entries[-1] = entries[-1]._replace(sequence=None)
    return Reading(entries, damaged)


def _lines(text: bytes, offset: int, rest: bytes) -> range:
    first = text[:offset].count(b"\n") + 1
    return range(first, first + rest.count(b"\n") + 2)


def _inflated(body: bytes) -> tuple[bytes, bool]:
    text = b""
    while body:
        member = zlib.decompressobj(wbits=31)
        text += member.decompress(body)
        if not member.eof:
            return text, True
        body = member.unused_data
    return text, False
