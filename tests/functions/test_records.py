"""Any file, cut into shards of any size, plain or compressed, gives the records an independent parser finds."""

import gzip
import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import functions.domain.text
import functions.services.s3
from functions.domain.fasta import LOOKBACK_BYTES, LineCount
from functions.domain.protein import Protein, Rejection
from functions.domain.text import Inflater
from functions.domain.upload import Shard, Source, plan_shards
from functions.services.s3 import Storage
from functions.split import _read
from tests.simulation import letters

SOURCE = Source("uploads", "a.fasta", "null")

line_ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])
headers = st.sampled_from([b">", b">a", b">sp|P12345|X_Y z", b">a >b", b"> ;c", b">\xff", b">tab\there "])
bodies = st.sampled_from(
    [
        b"",
        b"MKV",
        b"mk v",
        b"MK*",
        b"M>K",
        b"MK;V",
        b";not read",
        b"; >not read",
        b" ",
        b"\t",
        b"MK1",
        b"MKVLAAGIVGLCAK",
        b"mkvlaagivglcak*",
        b"MKVLAAGIVGLCAK>glued",
        b"\xef\xbb\xbf>marked",
        b"\x1a",
        b"\0 ",
        b"--",
        b"# of another tool",
        b"words of an email",
        b"None",
        b"ACGTTGCAAGCTTA",
        b"IIIIIOOOOOMMMM",
        b"Met Lys Val Leu",
        b"MKVLAAG.VGLCAK.",
        b"A" * 33,
        b"*",
    ]
)
bodies_of_records = st.lists(st.tuples(bodies, line_ends), max_size=4)
records = st.tuples(headers, line_ends, bodies_of_records)
preambles = st.lists(
    st.tuples(st.sampled_from([b"", b" ", b"; made by hand", b";>a"]), line_ends), max_size=3
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file that begins as FASTA does, with the last line's end there or not."""
    text = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    text += b"".join(line + end for line, end in draw(preambles))
    for header, end, body in draw(st.lists(records, min_size=1, max_size=8)):
        text += header + end + b"".join(line + line_end for line, line_end in body)
    return text[: len(text) - draw(st.integers(0, 2))]


def expected_of(text: bytes) -> list[tuple[int, str | None]]:
    """Offset and residues of every record, or None where it is rejected, read with nothing of ours."""
    return [
        (offset, letters.sequence(header, body))
        for offset, header, body in letters.records(text, LOOKBACK_BYTES)
    ]


def residues(judged: Protein | Rejection) -> str | None:
    return judged.sequence if isinstance(judged, Protein) else None


class Bytes:
    """An S3 client that holds one object."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def head_object(self, **_: Any) -> dict[str, int]:
        return {"ContentLength": len(self.body)}

    def get_object(self, *, Range: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(self.body[first : last + 1])}


def read_in_shards(text: bytes, shard_bytes: int) -> Iterator[tuple[Shard, list[Protein | Rejection], int]]:
    aws: Any = SimpleNamespace(storage=Storage(Bytes(text), "results"))  # type: ignore[arg-type]
    for shard in plan_shards("u", SOURCE, len(text), shard_bytes):
        lines = LineCount()
        yield shard, list(_read(shard, lines, aws)), lines.lines


def check(text: bytes, shard_bytes: int, window_bytes: int, members: int) -> None:
    expected = expected_of(text)
    with (
        patch.object(functions.services.s3, "WINDOW_BYTES", window_bytes),
        patch.object(functions.domain.text, "WINDOW_BYTES", window_bytes),
    ):
        if members:
            size = -(-len(text) // members) or 1
            packed = b"".join(gzip.compress(text[at : at + size]) for at in range(0, len(text), size))
            inflater = Inflater()
            storage = Storage(Bytes(packed), "results")  # type: ignore[arg-type]
            assert b"".join(inflater.text(storage.read(SOURCE, 0, len(packed)))) == text
            assert not inflater.damage
        offsets_and_residues = []
        lines_before = 0
        for shard, judged, lines in read_in_shards(text, shard_bytes):
            assert all(shard.start <= record.offset < shard.end for record in judged)
            if b"\r" not in text and expected and expected[0][0] < shard_bytes:
                for record in judged:
                    header_line = text[: record.offset].count(b"\n")
                    named = record.line + lines_before  # a rejection may name a line of the record's body
                    assert named == header_line or (isinstance(record, Rejection) and named > header_line)
            lines_before += lines
            offsets_and_residues += [(record.offset, residues(record)) for record in judged]
    assert offsets_and_residues == expected


cases = given(
    text=files(),
    shard_bytes=st.integers(1, 120),
    window_bytes=st.integers(1, 40),
    members=st.integers(0, 3),
)
relaxed = settings(suppress_health_check=[HealthCheck.too_slow])


@cases
@settings(relaxed, max_examples=300)
def test_a_file_cut_anywhere_gives_what_an_independent_parser_finds(
    text: bytes, shard_bytes: int, window_bytes: int, members: int
) -> None:
    check(text, shard_bytes, window_bytes, members)


@pytest.mark.large
@cases
@settings(relaxed, max_examples=5_000)
def test_five_thousand_files_give_what_an_independent_parser_finds(
    text: bytes, shard_bytes: int, window_bytes: int, members: int
) -> None:
    check(text, shard_bytes, window_bytes, members)
