"""Properties of reading any bytes at all, as one function that fails where they do not hold.

Limits are small here, so that a short text reaches them. The fuzzer (`fuzz.py`) and the tests call `check`.
"""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from itertools import cycle, pairwise
from typing import NamedTuple

import functions.domain.fasta
import functions.domain.text
from functions.domain.errors import InputError
from functions.domain.fasta import LineCount, Record, lookback, read_records
from functions.domain.formats import require_fasta
from functions.domain.packing import PackingSettings, pack
from functions.domain.protein import (
    ALPHABET,
    MAX_ACCESSION_CHARACTERS,
    MAX_HEADER_CHARACTERS,
    Protein,
    read_protein,
)
from functions.domain.text import Inflater
from tests.simulation import letters

RECORD_BYTES = functions.domain.fasta.MAX_RECORD_BYTES = 100
LOOKBACK_BYTES = functions.domain.fasta.LOOKBACK_BYTES = 24
WINDOW_BYTES = functions.domain.text.WINDOW_BYTES = 32
TEXT_BYTES = functions.domain.text.MAX_TEXT_BYTES = 1024
PACKING = PackingSettings(batch_residues=40, batch_proteins=3, window_records=5, window_residues=100)


class Plan(NamedTuple):
    """The sizes in which a text is handed over: of its pieces in turn, and of its shards."""

    pieces: tuple[int, int]
    shard: int


def check(data: bytes) -> None:
    """Three bytes of plan, then the text; every fourth is inflated, the others are read."""
    first, second, third = data[:3].ljust(3, b"\x13")
    text = data[3:]
    shard = 1 + third % 50 + len(text) // 10
    plan = Plan((first % 50 + 1, second % 50 + 1), shard)
    if third % 4 == 0:
        check_inflating(text, plan)
    else:
        check_head(text)
        check_records(text, plan)


def check_head(text: bytes) -> None:
    """A beginning is FASTA or refused in one printing line; the whole is refused for more reasons."""
    refused = []
    for whole in (False, True):
        try:
            require_fasta(text, whole=whole)
            refused.append(False)
        except InputError as error:
            assert str(error).isprintable(), error
            refused.append(True)
    assert refused[1] or not refused[0]


def check_records(text: bytes, plan: Plan) -> None:
    """Every record is read once, as an independent reader reads it, however the text is cut, and judged once."""
    records = list(read_records([text]))
    expected = list(letters.records(text, LOOKBACK_BYTES))
    assert [(r.offset, r.header) for r in records] == [
        (at, header[:RECORD_BYTES]) for at, header, _ in expected
    ]
    assert all(before.offset < after.offset for before, after in pairwise(records))
    assert list(read_records(cut(text, plan))) == records
    assert [r._replace(line=0) for r in read_in_shards(text, plan)] == [r._replace(line=0) for r in records]
    if records and records[0].offset < plan.shard:
        assert list(read_in_shards(text, plan)) == records
    for record in records:
        assert len(record.sequence) in (0, record.length) and len(record.sequence) <= RECORD_BYTES
    judged = [read_protein(record) for record in records]
    assert [one.sequence if isinstance(one, Protein) else None for one in judged] == [
        letters.sequence(header, body) if len(header) + len(body) <= RECORD_BYTES else None
        for _, header, body in expected
    ]
    for one in judged:
        assert len(one.accession) <= MAX_ACCESSION_CHARACTERS and len(one.header) <= MAX_HEADER_CHARACTERS
        if isinstance(one, Protein):
            assert one.sequence and not one.sequence.encode("ascii").translate(None, ALPHABET)
        else:
            assert one.reason.isprintable()
    batches = list(pack(judged, PACKING))
    packed = [one for batch in batches for one in (*batch.proteins, *batch.rejections)]
    assert sorted(one.offset for one in packed) == [record.offset for record in records]
    assert [batch.number for batch in batches] == list(range(len(batches)))


def read_in_shards(text: bytes, plan: Plan) -> Iterator[Record]:
    """The records of a text read range by range, each as a function of its own would."""
    lines_before = 0
    for start in range(0, len(text), plan.shard):
        lines = LineCount()
        pieces = cut(text[lookback(start) :], plan)
        for record in read_records(pieces, start=start, end=start + plan.shard, lines=lines):
            yield record._replace(line=record.line + lines_before)
        lines_before += lines.lines


def check_inflating(text: bytes, plan: Plan) -> None:
    """Any bytes, and good gzip that is cut or padded, give the same text in bounded pieces however handed over."""
    check_inflater(text, plan)
    middle = len(text) // (plan.shard % 5 + 1)
    packed = gzip.compress(text[:middle], 1, mtime=0) + gzip.compress(text[middle:], 9, mtime=0)
    if text and len(text) <= TEXT_BYTES:
        assert check_inflater(packed, plan) == (text, "")
        assert check_inflater(packed + bytes(plan.shard), plan) == (text, "")
        part, damage = check_inflater(packed[: max(len(packed) - plan.shard, 2)], plan)
        assert text.startswith(part) and (damage or part in (b"", text[:middle]))


def check_inflater(packed: bytes, plan: Plan) -> tuple[bytes, str]:
    """Check that a gzip's content and damage are the same for any sizes of pieces.

    But for two ends: a text that is too long ends where it is noticed, and so does one whose gzip is damaged.
    """
    ends = set()
    for pieces in ([packed], cut(packed, plan)):
        inflater, text = Inflater(), b""
        try:
            for piece in inflater.text(pieces):
                assert 0 < len(piece) <= WINDOW_BYTES
                text += piece
        except InputError:
            assert TEXT_BYTES < inflater.size <= TEXT_BYTES + WINDOW_BYTES
            inflater.damage = "too long"
        if inflater.damage == "too long" or "damaged" in inflater.damage:
            text, inflater.damage = b"", "damaged or too long"
        elif not inflater.damage:
            assert text == inflate_simply(packed)
        ends.add((text, inflater.damage))
    assert len(ends) == 1, ends
    return ends.pop()


def inflate_simply(packed: bytes) -> bytes:
    """Inflate a whole file with the libraries that come with Python, as a reference."""
    text = b""
    makers = {
        b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
        b"BZh": bz2.BZ2Decompressor,
        b"\xfd7zXZ\0": lzma.LZMADecompressor,
    }
    packed_before = False
    while packed := packed.lstrip(b"\0") if packed_before else packed:
        make = next((make for magic, make in makers.items() if packed.startswith(magic)), None)
        if make is None:
            inside = re.search(rb"(?<=[\r\n])\x1f\x8b\x08", packed)
            end = inside.start() if inside else len(packed)
            text, packed, packed_before = text + packed[:end], packed[end:], False
            continue
        packed_before = True
        member = make()
        text += member.decompress(packed)
        packed = member.unused_data
    return text


def cut(text: bytes, plan: Plan) -> Iterator[bytes]:
    """The text in pieces of the plan's sizes, in turn."""
    at, sizes = 0, cycle(plan.pieces)
    while at < len(text):
        yield text[at : at + (size := next(sizes))]
        at += size
