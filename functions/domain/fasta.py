"""Reading FASTA: from a stream of bytes to records, in constant memory.

A record starts at a `>` and ends before the next one. It is identified by the byte offset of its `>` in the
text, so that any byte range of a file can be read on its own: a record belongs to the range in which its `>`
lies, and reading goes on past the end of the range to finish the last one. Read so, the ranges of a file give
exactly the records of the file, each once.

A `>` starts a record where it begins a line, and where the text before it on its line shows that a line end
was lost: only non-printing text (blanks, NUL, control-Z, a byte-order mark, an HTML tag, a quotation mark),
or a sequence. That is decided by the `LOOKBACK_BYTES` before it alone, and so in every range alike.

Understood: LF, CRLF and CR line ends, blank lines, comment lines, blanks inside sequences, a last line
without an end. `layout.py` says which lines of a record are its sequence, `protein.py` whether that is a
protein.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from functions.domain.layout import clean_letters, lay_out, letters_of
from functions.domain.lines import BYTE_ORDER_MARK as BYTE_ORDER_MARK

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""A record whose text is longer is measured, not kept."""

_FEED = ord("\n")
LOOKBACK_BYTES = 1024
"""The bytes before a `>` in which the beginning of its line is looked for."""

_UNSEEN = rb"[ \t\v\f\0\x1a\"']|\xef\xbb\xbf|\xc2\xa0|<[A-Za-z/!][^<>\r\n]{0,200}>"
_INVISIBLE = re.compile(rb"(?:%b)*+\Z" % _UNSEEN)
_SEQUENCE = (
    re.compile(  # upper case, with blanks and position numbers; or lower case, without and of some length
        rb"(?:[A-Z0-9*._-]|\\[nr]|%b)++\Z|(?:%b)*+[a-z]{10}[a-z*.]*+(?:\\[nr]|%b)*+\Z" % ((_UNSEEN,) * 3)
    )
)


class Record(NamedTuple):
    """One record: its header as it stands in the text, and the letters of its sequence, case untouched."""

    offset: int  # of its `>` in the text
    line: int  # lines before its `>` in the text that was read; 0 for the first line
    header: bytes  # without `>`
    sequence: bytes  # empty where the record is longer than MAX_RECORD_BYTES, of which the header is kept
    length: int  # of the sequence, kept or not
    remarks: tuple[str, ...] = ()  # parts left out, and repairs
    fault: str = ""  # why the lines hold no sequence
    fault_line: int = 0  # lines from the header's on to the one that the fault is about
    clean: bool = False  # nothing but upper-case residues, and perhaps a stop codon at the end
    standard: bool = False  # nothing but the twenty residues in upper case


class LineCount:
    """Counts the lines of a reading, so that lines can be numbered across ranges, and its position."""

    def __init__(self) -> None:
        self.lines = 0
        self.offset = 0
        self.left_out = 0
        """Letters before the first record of the range that are no comments."""


def read_records(
    chunks: Iterable[bytes], *, start: int = 0, end: int | None = None, lines: LineCount | None = None
) -> Iterator[Record]:
    """Yield the records whose `>` lies at `start` ≤ offset < `end`, in order.

    `chunks` is the text, of any sizes, from `lookback(start)` on; it may go on past `end`. At the end
    `lines.lines` is how many lines the records of the range took, with the lines before the first record
    where `start` is 0: these numbers add up over the ranges of a file, as long as the first range reaches to
    the first record.

    >>> [(r.offset, r.header, r.sequence) for r in read_records([b">a\\nMK", b"V\\n>b\\n"])]
    [(0, b'a', b'MKV'), (7, b'b', b'')]
    """
    count = lines if lines is not None else LineCount()
    text = _Text(chunks, start)
    preamble = _Measure(b"\n")
    for piece in text.until_next_start(end):
        preamble.add(piece)
    count.left_out = preamble.length
    if start == 0:
        count.lines += preamble.lines
    while text.at_start and (end is None or text.offset < end):
        offset, line, before = text.offset, count.lines, text.before
        plain, measure = text.plain_record(), None
        if plain:
            header, body = plain
        else:
            text.step()
            raw = b""
            for piece in text.until_next_start():
                if measure is None:
                    raw += piece
                    if len(raw) <= MAX_RECORD_BYTES:
                        continue
                    raw, piece, measure = raw[:MAX_RECORD_BYTES], raw, _Measure()
                measure.add(piece)
            header, body = _split(raw)
        if measure is None:
            feeds = body.count(b"\n")
            count.lines += feeds if plain else _count_lines(feeds, body.count(b"\r"))
            repairs = tuple(_repairs(before, offset, text)) if before or text.before else ()
            letters, standard = clean_letters(header, body)
            if letters:
                record = Record(offset, line, header, letters, len(letters), repairs, "", 0, True, standard)
            else:
                laid = lay_out(header, body)
                record = Record(
                    offset,
                    line,
                    header,
                    laid.letters,
                    len(laid.letters),
                    repairs + laid.remarks,
                    laid.fault,
                    laid.fault_line,
                )
        else:
            count.lines += measure.lines
            record = Record(offset, line, header, b"", measure.length)
        count.offset = text.offset
        yield record


def lookback(start: int) -> int:
    """The place where reading must begin for the records from `start` on."""
    return max(start - LOOKBACK_BYTES, 0)


def _repairs(before: bytes, offset: int, text: "_Text") -> Iterator[str]:
    """Yield the faults around a record: `before` stood before it on its line, `text` follows."""
    if before and _INVISIBLE.match(before):
        if before != BYTE_ORDER_MARK or offset != len(before):
            yield f"{_name_invisible(before)} before its '>' left out"
    elif before:
        yield "a line end was missing before its '>'"
    if text.at_start and text.before and not _INVISIBLE.match(text.before):
        yield "a line end was missing after its last line"


def _name_invisible(text: bytes) -> str:
    if BYTE_ORDER_MARK in text:
        return "a byte order mark"
    if b"<" in text:
        return "an HTML tag"
    if b"\x1a" in text:
        return "a control-Z"
    if b"\0" in text:
        return "NUL bytes"
    return "quotation marks" if b'"' in text or b"'" in text else "blanks"


def _count_lines(feeds: int, returns: int) -> int:
    """Line ends; a lone CR counts only in text without LF, as in files of old Macs."""
    return feeds or returns


class _Measure:
    """Lines and letters of a text too long to keep, from pieces of any size."""

    def __init__(self, line: bytes = b"") -> None:
        self.length = 0
        self._feeds = self._returns = 0
        self._line = line
        """A stand-in for the line in which the last piece ended: empty for the header, else its beginning."""

    @property
    def lines(self) -> int:
        return _count_lines(self._feeds, self._returns)

    def add(self, piece: bytes) -> None:
        self._feeds += piece.count(b"\n")
        self._returns += piece.count(b"\r")
        text = self._line + piece
        self.length += len(letters_of(_split(text)[1]))
        end = max(text.rfind(b"\n"), text.rfind(b"\r"))
        if end >= 0:
            first = text[end + 1 : end + 2]
            self._line = b"\n" + (first if first in (b";", b"#") else first and b" ")


class _Text:
    """A reading head over chunks of text that knows its offset and the bytes just before it."""

    def __init__(self, chunks: Iterable[bytes], start: int) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._position = 0
        self._past = b""  # up to LOOKBACK_BYTES before the chunk
        self.offset = lookback(start)
        self.at_start = False
        """True if the head stands on the `>` of a record."""
        self.before = b""
        """The text before that `>` on its line, as far as it was looked at."""
        while self.offset < start and self._more():
            step = min(start - self.offset, len(self._chunk))
            self._position, self.offset = step, self.offset + step

    def plain_record(self) -> tuple[bytes, bytes] | None:
        """Take the record the head stands on if it is as most are, and split it as `_split` does.

        It ends in this chunk, before a `>` at a line's beginning, and has no other `>` and no CR.
        """
        chunk, start = self._chunk, self._position + 1
        stop = chunk.find(b">", start)
        if stop <= start or chunk[stop - 1] != _FEED or stop - start > MAX_RECORD_BYTES:
            return None
        if chunk.find(b"\r", start, stop) != -1:
            return None
        self._position = stop
        self.offset += stop - start + 1
        self.before = b""
        line_end = chunk.find(b"\n", start)
        return chunk[start:line_end], chunk[line_end:stop]

    def step(self) -> None:
        """Move past the `>` the head stands on."""
        self._position += 1
        self.offset += 1
        self.at_start = False

    def until_next_start(self, end: int | None = None) -> Iterator[bytes]:
        """Yield the text up to the next record, in pieces, and stand there; stop looking at `end`."""
        while end is None or self.offset < end:
            if self._position == len(self._chunk):
                if not self._more():
                    return
                continue
            start = self._find_start()
            stop = len(self._chunk) if start is None else start
            if stop > self._position:
                piece = self._chunk[self._position : stop]
                self._position = stop
                self.offset += len(piece)
                yield piece
            if start is not None:
                self.at_start = True
                return

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._past = (self._past + self._chunk[-LOOKBACK_BYTES:])[-LOOKBACK_BYTES:]
        self._chunk, self._position = chunk, 0
        return True

    def _find_start(self) -> int | None:
        """Find the next `>` that starts a record in this chunk."""
        at = self._chunk.find(b">", self._position)
        while at != -1:
            if at and self._chunk[at - 1] in b"\r\n":
                self.before = b""
                return at
            self.before = self._line_before(at)
            if not self.before or _INVISIBLE.match(self.before) or _SEQUENCE.match(self.before):
                return at
            at = self._chunk.find(b">", at + 1)
        return None

    def _line_before(self, at: int) -> bytes:
        """The bytes before a place of this chunk on its line, at most LOOKBACK_BYTES."""
        text = self._chunk[max(at - LOOKBACK_BYTES, 0) : at]
        if len(text) < LOOKBACK_BYTES:
            text = (self._past + text)[-LOOKBACK_BYTES:]
        return text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :]


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """A record's text, from after its `>` on, as header and body, which begins with the header's line end."""
    feed = raw.find(b"\n")
    end = raw.find(b"\r", 0, feed if feed >= 0 else len(raw))
    if end < 0:
        end = feed if feed >= 0 else len(raw)
    return raw[:end], raw[end:]
