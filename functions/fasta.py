"""Reading FASTA: from a stream of bytes to records, in constant memory.

A record starts at a `>` that begins a line and ends before the next one. It is identified by the byte
offset of its `>` in the text, so that any byte range of a file can be read on its own: a record belongs
to the range in which its `>` lies, and reading goes on past the end of the range to finish the last one.
Read so, the ranges of a file give exactly the records of the file, each once.

Understood: LF, CRLF and CR line ends, a UTF-8 byte-order mark, blank lines, `;` comment lines, spaces
and tabs inside sequences, a last line without an end. Nothing is rejected here: what a record is worth is
`protein.py`'s to say.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from functions.errors import InputError

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""A record whose text is longer is measured, not kept."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_BLANK = b" \t\r\n\v\f"
_COMMENT_LINE = re.compile(rb"(?<=[\r\n]);[^\r\n]*")
_LINE_END = re.compile(rb"[\r\n]")

_FOREIGN = (  # what a file that is no text begins with, and what people call it
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or a spreadsheet or document)"),
    (b"BZh", "a bzip2 archive; compress with gzip or not at all"),
    (b"\xfd7zXZ", "an xz archive; compress with gzip or not at all"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; compress with gzip or not at all"),
    (b"\x1f\x8b", "a gzip archive in a gzip archive; compress once"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
)


class Record(NamedTuple):
    """One record as it stands in the text, line ends and comments gone, letters untouched."""

    offset: int  # of its `>` in the text
    line: int  # lines before its `>` in what was read; 0 for the first line
    header: bytes  # without `>`
    sequence: bytes  # empty where the record is longer than MAX_RECORD_BYTES, of which the header is kept
    length: int  # of the sequence, kept or not


class LineCount:
    """How many lines a reading passed, for whoever numbers lines across ranges, and where it stands."""

    def __init__(self) -> None:
        self.lines = 0
        self.offset = 0


def is_gzip(head: bytes) -> bool:
    return head.startswith(b"\x1f\x8b")


def require_fasta(head: bytes, *, whole: bool) -> None:
    """Raise InputError unless a text with this beginning is FASTA.

    `whole` says that `head` is all there is; a beginning of nothing but comments and blank lines is then no
    FASTA, and otherwise undecided, which passes.
    """
    if whole and not head:
        raise InputError("an empty file", expected="FASTA records")
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise InputError(name, expected="FASTA text")
    if b"\0" in head:
        raise InputError("binary data", expected="FASTA text")
    text = head.removeprefix(BYTE_ORDER_MARK)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip(_BLANK) or line.startswith(b";"):
            continue
        if line.startswith(b">"):
            return
        found = line[:30].decode("utf-8", "replace")
        raise InputError(repr(found), expected="a header that begins with '>'", where=f"line {number}")
    if whole:
        raise InputError("no record", expected="FASTA records")


def read_records(
    chunks: Iterable[bytes], *, start: int = 0, end: int | None = None, lines: LineCount | None = None
) -> Iterator[Record]:
    """Yield the records whose `>` lies at `start` ≤ offset < `end`, in order.

    `chunks` is the text, of any sizes, from one byte before `start` on (from the first byte where `start` is
    0, and then `end` lies behind a byte-order mark); it may go on past `end`. At the end `lines.lines` is how
    many lines the records of the range took, with the lines before the first record where `start` is 0: these
    numbers add up over the ranges of a file, as long as the first range reaches to the first record.

    >>> [(r.offset, r.header, r.sequence) for r in read_records([b">a\\nMK", b"V\\n>b\\n"])]
    [(0, b'a', b'MKV'), (7, b'b', b'')]
    """
    count = lines if lines is not None else LineCount()
    text = _Text(chunks, start)
    preamble = _Measure()
    for piece in text.until_next_start(end):
        preamble.add(piece)
    if start == 0:
        count.lines += preamble.lines
    while text.at_start and (end is None or text.offset < end):
        offset, line = text.offset, count.lines
        text.step()
        raw, measure = b"", None
        for piece in text.until_next_start():
            if measure is None:
                raw += piece
                if len(raw) <= MAX_RECORD_BYTES:
                    continue
                raw, piece, measure = raw[:MAX_RECORD_BYTES], raw, _Measure()
            measure.add(piece)
        header, sequence = _split(raw)
        if measure is None:
            count.lines += _count_lines(raw.count(b"\n"), raw.count(b"\r"))
            record = Record(offset, line, header, sequence, len(sequence))
        else:
            count.lines += measure.lines
            record = Record(offset, line, header, b"", measure.length)
        count.offset = text.offset
        yield record


def _count_lines(feeds: int, returns: int) -> int:
    """Line ends; a lone CR counts only in text without LF, as in files of old Macs."""
    return feeds or returns


class _Measure:
    """Lines and residues of a record too long to keep, from pieces of any size."""

    def __init__(self) -> None:
        self.length = 0
        self._feeds = self._returns = 0
        self._line = b""
        """What stands for the line in which the last piece ended: none for the header, or its beginning."""

    @property
    def lines(self) -> int:
        return _count_lines(self._feeds, self._returns)

    def add(self, piece: bytes) -> None:
        self._feeds += piece.count(b"\n")
        self._returns += piece.count(b"\r")
        text = self._line + piece
        self.length += len(_split(text)[1])
        end = max(text.rfind(b"\n"), text.rfind(b"\r"))
        if end >= 0:
            first = text[end + 1 : end + 2]
            self._line = b"\n" + (b";" if first == b";" else first and b" ")


class _Text:
    """A reading head over chunks of text that knows the offset it stands at and the byte before it."""

    def __init__(self, chunks: Iterable[bytes], start: int) -> None:
        self._chunks = iter(chunks)
        self._chunk = next(self._chunks, b"")
        self._position = 0
        self._previous = b"\n"
        self.offset = start
        self.at_start = False
        """Whether the head stands on the `>` of a record."""
        if start:
            self._previous, self._position = self._chunk[:1], 1
        else:
            self._skip_byte_order_mark()

    def _skip_byte_order_mark(self) -> None:
        while len(self._chunk) < len(BYTE_ORDER_MARK) and (more := next(self._chunks, b"")):
            self._chunk += more
        if self._chunk.startswith(BYTE_ORDER_MARK):
            self._position = self.offset = len(BYTE_ORDER_MARK)

    def step(self) -> None:
        """Move past the `>` the head stands on."""
        self._previous = b">"
        self._position += 1
        self.offset += 1
        self.at_start = False

    def until_next_start(self, end: int | None = None) -> Iterator[bytes]:
        """Yield the text up to the next record, in pieces, and stand there; stop looking at `end`."""
        while end is None or self.offset < end:
            if self._position == len(self._chunk):
                chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._chunk, self._position = chunk, 0
                continue
            start = self._find_start()
            stop = len(self._chunk) if start is None else start
            if stop > self._position:
                piece = self._chunk[self._position : stop]
                self._previous, self._position = piece[-1:], stop
                self.offset += len(piece)
                yield piece
            if start is not None:
                self.at_start = True
                return

    def _find_start(self) -> int | None:
        """Where the next `>` that begins a line stands in this chunk."""
        at = self._chunk.find(b">", self._position)
        while at != -1:
            before = self._previous if at == self._position else self._chunk[at - 1 : at]
            if before in (b"\n", b"\r"):
                return at
            at = self._chunk.find(b">", at + 1)
        return None


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """A record's text, from after its `>` on, as header and sequence letters."""
    match = _LINE_END.search(raw)
    if match is None:
        return raw, b""
    header, body = raw[: match.start()], raw[match.start() :]
    if b";" in body:
        body = _COMMENT_LINE.sub(b"", body)
    return header, body.translate(None, _BLANK)
