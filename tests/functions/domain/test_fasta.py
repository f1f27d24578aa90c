import io
import tracemalloc
from collections import Counter

import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given
from hypothesis import strategies as st

from functions.domain import fasta
from functions.domain.fasta import (
    BYTE_ORDER_MARK,
    MAX_RECORD_BYTES,
    LineCount,
    Record,
    lookback,
    read_records,
)

# Text made of the pieces that decide where a record begins and ends.
texts = st.lists(
    st.sampled_from([b">", b"\n", b"\r\n", b"A", b";", b" ", b">x y\n", b"MKV", b"\t", b"*", b"\n>"]),
    max_size=40,
).map(b"".join)
headed_texts = texts.map(lambda text: b">first\n" + text)


def starts_inside(text: bytes) -> bool:
    """True if a line that is no header holds a `>`, where other readers see no record."""
    return any(b">" in line and not line.startswith(b">") for line in text.split(b"\n"))


def pieces(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def read(text: bytes) -> list[Record]:
    return list(read_records([text]))


@given(text=headed_texts, size=st.integers(1, 9))
def test_the_size_of_the_chunks_changes_nothing(text: bytes, size: int) -> None:
    assert list(read_records(pieces(text, size))) == read(text)


@given(text=headed_texts, shard=st.integers(1, 50), size=st.integers(1, 9))
def test_the_ranges_of_a_file_give_each_record_once_with_its_line(text: bytes, shard: int, size: int) -> None:
    offsets_and_lines = []
    lines_before = 0
    for start in range(0, len(text), shard):
        lines = LineCount()
        chunks = pieces(text[lookback(start) :], size)
        for record in read_records(chunks, start=start, end=start + shard, lines=lines):
            offsets_and_lines.append(record._replace(line=record.line + lines_before))
        lines_before += lines.lines
    assert offsets_and_lines == read(text)
    assert lines_before == text.count(b"\n")


@given(
    text=headed_texts.filter(lambda text: b";" not in text and b"\r" not in text and not starts_inside(text))
)
def test_it_reads_what_biopython_reads(text: bytes) -> None:
    expected = [
        (header, "".join(sequence.split()))
        for header, sequence in SimpleFastaParser(io.StringIO(text.decode()))
    ]
    assert [(r.header.decode().rstrip(), r.sequence.decode()) for r in read(text)] == expected


@given(text=headed_texts)
def test_offset_and_line_lead_to_the_record(text: bytes) -> None:
    for record in read(text):
        assert text[record.offset : record.offset + 1] == b">"
        assert record.line == text[: record.offset].count(b"\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_read_alike(end: bytes) -> None:
    text = end.join([b"; made by hand", b"", b">a one", b"MK", b" V ", b";comment", b"L*", b">b", b"", b"AA"])
    assert [(r.header, r.sequence, r.line) for r in read(text)] == [(b"a one", b"MKVL*", 2), (b"b", b"AA", 7)]


def test_a_byte_order_mark_is_no_part_of_the_first_header() -> None:
    assert read(BYTE_ORDER_MARK + b">a\nMK")[0] == Record(3, 0, b"a", b"MK", 2)


def test_a_record_too_long_to_keep_is_measured_in_little_memory() -> None:
    def chunks() -> object:
        yield b">long one\n"
        for _ in range(64):
            yield b"A" * 999_999 + b"\n"
        yield b">next\nMKV\n"

    tracemalloc.start()
    long, following = read_records(chunks())  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (long.header, long.sequence, long.length) == (b"long one", b"", 64 * 999_999)
    assert following == Record(10 + 64 * 1_000_000, 65, b"next", b"MKV", 3)
    assert peak < 6 * MAX_RECORD_BYTES


def test_plain_records_are_neither_searched_in_pieces_nor_looked_at_line_by_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only where a chunk ends inside of a record is it put together."""
    calls: Counter[str] = Counter()
    lay_out, until_next_start = fasta.lay_out, fasta._Text.until_next_start
    monkeypatch.setattr(fasta, "lay_out", lambda *arguments: calls.update(["lay_out"]) or lay_out(*arguments))
    monkeypatch.setattr(
        fasta._Text,
        "until_next_start",
        lambda *arguments: calls.update(["pieces"]) or until_next_start(*arguments),
    )
    text = b"".join(
        b">sp|P%d|X_HUMAN A protein\n%s\n" % (n, b"MKVLAAGIVGLLLAQWERTY" * 9) for n in range(1_000)
    )
    chunks = [text[at : at + 20_000] for at in range(0, len(text), 20_000)]
    assert len(list(read_records(chunks))) == 1_000
    assert calls["pieces"] <= 2 * len(chunks) + 1 and not calls["lay_out"]


def test_a_record_of_the_twenty_residues_is_known_to_be_one() -> None:
    letters = b"MKVLAAGIVGLCAKAYSTWDEKRHFPQNLLVAGSWKE" * 2
    for sequence, standard in ((letters, True), (letters + b"*", False), (letters + b"X", False)):
        (record,) = read_records([b">a\n" + sequence + b"\n"])
        assert (record.clean, record.standard) == (True, standard)
