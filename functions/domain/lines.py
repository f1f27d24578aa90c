"""The lines of a record with content, without non-printing characters and text outside of the sequence."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from functions.domain.headers import quoted

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANK = b" \t\r\n\v\f\0\x1a"


class Line(NamedTuple):
    """A line of a record."""

    number: int  # of line ends since the header
    text: bytes


def lines_of(body: bytes) -> Iterator[Line]:
    """The lines after the header's, numbered as `fasta.py` counts them: by LF, or without LF by CR."""
    by_feed = b"\n" in body
    for number, line in enumerate(body.split(b"\n" if by_feed else b"\r")):
        for part in line.split(b"\r"):
            yield Line(number, part)


_HARD_BLANK = re.compile(rb"(?<![\x80-\xff])\xa0(?![\x80-\xff])")  # Latin-1's; UTF-8's is C2 A0
_TAG = rb"</?(?:p|br|pre|tt|code|span|div|font|b|i|body|html|td|tr|table)(?:\s[^<>]*)?/?>"
_TAGS = re.compile(rb"^(?:\s*%b)+|(?:%b\s*)+$" % (_TAG, _TAG), re.IGNORECASE)
_COMMENT = re.compile(rb"#(?![A-Za-z#]{0,2}[a-z]?(?:[A-Z#][a-z#])+\Z)")  # but SaProt's `#` is a letter


def cleaned(lines: Iterator[Line], remarks: list[str]) -> Iterator[Line]:
    """The lines with content, without non-printing characters and the marks that programs leave between."""
    for number, raw in lines:
        text = raw
        if b"\xa0" in text and text != (text := _HARD_BLANK.sub(b" ", text.replace(b"\xc2\xa0", b" "))):
            remarks.append("no-break spaces left out")
        if BYTE_ORDER_MARK in text:
            text = text.replace(BYTE_ORDER_MARK, b"")
            if text.strip(BLANK):
                remarks.append("a byte order mark left out")
        text = text.strip(BLANK)
        if b"\0" in raw and text:
            remarks.append("NUL bytes at a line's end left out")
        if b"<" in text and text != (text := _TAGS.sub(b"", text).strip(BLANK)):
            remarks.append("HTML tags left out")
        if not text or text.startswith(b";"):
            continue
        if text in (b"--", b"//") or _COMMENT.match(text):
            remarks.append(f"the line {quoted(text)} left out")
        else:
            yield Line(number, text)
