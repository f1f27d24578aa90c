"""The lines of a record: which are its sequence, which are left out with a remark, and which are a fault.

Sequences come with comments, end marks, titles, tags and annotations of the programs they went through. Text
that is certainly one of these is left out or, as three-letter code, translated; any other is a fault with its
line. Everything here is a function of the record's own text. Most records are nothing but letters, and take a
path of a few passes over the bytes.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from functions.domain.alphabets import ALPHABET, STANDARD
from functions.domain.annotation import LABELS, without_annotation
from functions.domain.headers import decode, quoted
from functions.domain.lines import BLANK, BYTE_ORDER_MARK, Line, cleaned, lines_of
from functions.domain.placeholders import MAX_CHARACTERS, placeholder
from functions.domain.three_letters import CODES, from_three_letters
from functions.domain.words import Shapes

_COMMENT_LINE = re.compile(rb"(?<=[\r\n])[;#][^\r\n]*")


class Layout(NamedTuple):
    """The letters of a record's sequence, and the repairs to its lines that gave them."""

    letters: bytes
    remarks: tuple[str, ...] = ()
    fault: str = ""
    fault_line: int = 0


def letters_of(body: bytes) -> bytes:
    """The visible letters outside of comments of a text that begins with a line end; for counting."""
    if b";" in body or b"#" in body:
        body = _COMMENT_LINE.sub(b"", body)
    return body.translate(None, BLANK + BYTE_ORDER_MARK)


def lay_out(header: bytes, body: bytes) -> Layout:
    """Find the sequence in a record's text, from its header's line end on, line by line.

    >>> lay_out(b"a", b"\\nMKVLAAGIVG\\n--\\n")
    Layout(letters=b'MKVLAAGIVG', remarks=("the line '--' left out",), fault='', fault_line=0)
    >>> lay_out(b"a", b"\\nwrapped in an email\\nMKV\\n").fault_line
    1
    """
    remarks: list[str] = []
    lines = list(cleaned(lines_of(body), remarks))
    text = b" ".join(line.text for line in lines)
    joined = b"".join(line.text for line in lines).translate(None, BLANK)
    if placeholder(decode(text)):
        return Layout(joined, fault=f"{quoted(text)} stands for a missing sequence")
    if _PIR.match(header) and lines and _is_title(lines, body):
        remarks.append(f"the title line of the PIR format, {quoted(lines[0].text)}, left out")
        del lines[0]
    for fault in _FAULTS:
        for line in lines:
            if reason := fault(line.text):
                return Layout(joined, fault=reason, fault_line=line.number)
    if _SAPROT.fullmatch(joined):
        return Layout(joined, fault=_SAPROT_REASON)
    if residues := from_three_letters(b" ".join(line.text for line in lines)):
        return Layout(residues, (*remarks, "three-letter code read as one-letter code"))
    lines = without_annotation(lines, remarks)
    if fault_of_numbers := _position_numbers(lines):
        return Layout(joined, fault=fault_of_numbers)
    shapes = Shapes(lines)
    for line in lines:
        if shapes.are_words(line.text):
            return Layout(joined, fault=_WORDS_REASON.format(quoted(line.text)), fault_line=line.number)
    return Layout(b"".join(line.text for line in lines).translate(None, BLANK), tuple(dict.fromkeys(remarks)))


def clean_letters(header: bytes, body: bytes) -> tuple[bytes, bool]:
    """The sequence of a record of nothing but upper-case residues, and perhaps a stop codon at the end.

    Empty where it holds more or little, or might be another format: then it is looked at line by line. And
    whether it is nothing but the twenty residues.
    """
    if len(body) <= MAX_CHARACTERS or header[2:3] == b";":
        return b"", False
    letters = body.translate(None, b"\r\n") if b"\r" in body else body.replace(b"\n", b"")
    odd = letters.translate(None, STANDARD)
    if odd and (rare := odd.translate(None, ALPHABET)) and (rare != b"*" or letters[-1:] != b"*"):
        return b"", False
    tail = letters[-13:-1]
    if not tail.translate(None, LABELS) and len(set(tail)) <= 5:
        return b"", False
    if letters[:3] in CODES and letters[3:6] in CODES:
        return b"", False
    return letters, not odd


# A record in another format than FASTA

_FIRST_LINE = re.compile(rb"(?:\r\n|\r|\n)([^\r\n]*)")
_PIR = re.compile(rb"(?:P1|F1|XX);")
_WORD_OF_LETTERS = re.compile(rb"[A-Z*]+|[a-z*]+")


def _is_title(lines: list[Line], body: bytes) -> bool:
    """True if the line after a PIR header is its title, and not the sequence already."""
    after_header = _FIRST_LINE.match(body)
    if after_header and not any(cleaned(iter([Line(0, after_header[1])]), [])):
        return False  # the title is a blank line
    first = lines[0]
    if not _WORD_OF_LETTERS.fullmatch(first.text):
        return True
    return len(lines) > 1 and lines[-1].text.endswith(b"*") and len(first.text) < len(lines[1].text)


_BRACKETS = re.compile(rb"(?=.*[(<\[{])[().\[\]{}<>|&,:_-]+(?:\s+\(\s*-?[\d.]+\))?")
_BRACKETS_REASON = "{} is RNA structure in dot-bracket notation, no protein"
_SAPROT = re.compile(rb"[A-Z#]{0,1}(?:[A-Z#][a-z#]){8,}\*?")
_SAPROT_REASON = (
    "structure-aware letters of SaProt, a residue and a 3Di letter in turn; keep the residues with "
    "sed '/^>/!s/[a-z#]//g'"
)
_WORDS_REASON = "the line {} is words, no sequence: a header that was wrapped, or one that lost its '>'"


def _dot_bracket(line: bytes) -> str:
    return _BRACKETS_REASON.format(quoted(line)) if _BRACKETS.fullmatch(line) and len(line) > 3 else ""


def _compressed(line: bytes) -> str:
    return "compressed data (gzip) follows the text; decompress it first" if b"\x1f\x8b\x08" in line else ""


_FAULTS: tuple[Callable[[bytes], str], ...] = (_dot_bracket, _compressed)

_FRONT_NUMBER = re.compile(rb"(\d+)[ \t]+[A-Za-z*]")
_BACK_NUMBER = re.compile(rb"[A-Za-z* ]*[A-Za-z*][ \t]+(\d+)")


def _position_numbers(lines: list[Line]) -> str:
    """The fault of lines with numbers at their beginnings or ends; empty where there are none."""
    before = 0
    for line in lines:
        if match := _FRONT_NUMBER.match(line.text) or _BACK_NUMBER.fullmatch(line.text):
            residue = before + len(line.text[: match.start(1)].translate(None, BLANK)) + 1
            return (
                f"'{match[1].decode()}' at residue {residue} is a position number, as in GenBank and EMBL; "
                "take the numbers out with sed '/^>/!s/[0-9 ]//g'"
            )
        before += len(line.text.translate(None, BLANK))
    return ""
