"""The lines of a record: which are its sequence, which are left out with a remark, and which are a fault.

Sequences come with comments, end marks, titles, tags and annotations of the programs they went through. What
can be told for certain is left out or, as three-letter code, translated; what cannot is a fault with its
line. Everything here is a function of the record's own text. Most records are nothing but letters, and take
a path of a few passes over the bytes.
"""

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from functions.domain.alphabets import ALPHABET, STANDARD
from functions.domain.headers import decode, quoted
from functions.domain.placeholders import LONGEST, placeholder

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_BLANK = b" \t\r\n\v\f\0\x1a"
_COMMENT_LINE = re.compile(rb"(?<=[\r\n])[;#][^\r\n]*")


class Layout(NamedTuple):
    """The letters of a record's sequence, and what was done to its lines to get them."""

    letters: bytes
    remarks: tuple[str, ...] = ()
    fault: str = ""
    fault_line: int = 0


class _Line(NamedTuple):
    number: int  # of line ends since the header
    text: bytes


def letters_of(body: bytes) -> bytes:
    """The visible letters outside of comments of a text that begins with a line end; for counting."""
    if b";" in body or b"#" in body:
        body = _COMMENT_LINE.sub(b"", body)
    return body.translate(None, _BLANK + BYTE_ORDER_MARK)


def lay_out(header: bytes, body: bytes) -> Layout:
    """Find the sequence in a record's text, from its header's line end on, line by line.

    >>> lay_out(b"a", b"\\nMKVLAAGIVG\\n--\\n")
    Layout(letters=b'MKVLAAGIVG', remarks=("the line '--' left out",), fault='', fault_line=0)
    >>> lay_out(b"a", b"\\nwrapped in an email\\nMKV\\n").fault_line
    1
    """
    remarks: list[str] = []
    lines = list(_cleaned(_lines(body), remarks))
    text = b" ".join(line.text for line in lines)
    joined = b"".join(line.text for line in lines).translate(None, _BLANK)
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
    if residues := _from_three_letters(b" ".join(line.text for line in lines)):
        return Layout(residues, (*remarks, "three-letter code read as one-letter code"))
    lines = _without_annotation(lines, remarks)
    if fault_of_numbers := _position_numbers(lines):
        return Layout(joined, fault=fault_of_numbers)
    shapes = _Shapes(lines)
    for line in lines:
        if shapes.are_words(line.text):
            return Layout(joined, fault=_WORDS_REASON.format(quoted(line.text)), fault_line=line.number)
    return Layout(
        b"".join(line.text for line in lines).translate(None, _BLANK), tuple(dict.fromkeys(remarks))
    )


def clean_letters(header: bytes, body: bytes) -> tuple[bytes, bool]:
    """The sequence of a record of nothing but upper-case residues, and perhaps a stop codon at the end.

    Empty where it holds more or little, or might be another format: then it is looked at line by line. And
    whether it is nothing but the twenty residues.
    """
    if len(body) <= LONGEST or header[2:3] == b";":
        return b"", False
    letters = body.translate(None, b"\r\n") if b"\r" in body else body.replace(b"\n", b"")
    odd = letters.translate(None, STANDARD)
    if odd and (rare := odd.translate(None, ALPHABET)) and (rare != b"*" or letters[-1:] != b"*"):
        return b"", False
    tail = letters[-13:-1]
    if not tail.translate(None, _LABELS) and len(set(tail)) <= 5:
        return b"", False
    if letters[:3] in _CODES and letters[3:6] in _CODES:
        return b"", False
    return letters, not odd


def _lines(body: bytes) -> Iterator[_Line]:
    """The lines after the header's, numbered as `fasta.py` counts them: by LF, or without LF by CR."""
    by_feed = b"\n" in body
    for number, line in enumerate(body.split(b"\n" if by_feed else b"\r")):
        for part in line.split(b"\r"):
            yield _Line(number, part)


_HARD_BLANK = re.compile(rb"(?<![\x80-\xff])\xa0(?![\x80-\xff])")  # Latin-1's; UTF-8's is C2 A0
_TAG = rb"</?(?:p|br|pre|tt|code|span|div|font|b|i|body|html|td|tr|table)(?:\s[^<>]*)?/?>"
_TAGS = re.compile(rb"^(?:\s*%b)+|(?:%b\s*)+$" % (_TAG, _TAG), re.IGNORECASE)
_COMMENT = re.compile(rb"#(?![A-Za-z#]{0,2}[a-z]?(?:[A-Z#][a-z#])+\Z)")  # but SaProt's `#` is a letter


def _cleaned(lines: Iterator[_Line], remarks: list[str]) -> Iterator[_Line]:
    """The lines that hold something, without what prints nothing and what programs leave between lines."""
    for number, raw in lines:
        text = raw
        if b"\xa0" in text and text != (text := _HARD_BLANK.sub(b" ", text.replace(b"\xc2\xa0", b" "))):
            remarks.append("no-break spaces left out")
        if BYTE_ORDER_MARK in text:
            text = text.replace(BYTE_ORDER_MARK, b"")
            if text.strip(_BLANK):
                remarks.append("a byte order mark left out")
        text = text.strip(_BLANK)
        if b"\0" in raw and text:
            remarks.append("NUL bytes at a line's end left out")
        if b"<" in text and text != (text := _TAGS.sub(b"", text).strip(_BLANK)):
            remarks.append("HTML tags left out")
        if not text or text.startswith(b";"):
            continue
        if text in (b"--", b"//") or _COMMENT.match(text):
            remarks.append(f"the line {quoted(text)} left out")
        else:
            yield _Line(number, text)


# A record in another format than FASTA

_FIRST_LINE = re.compile(rb"(?:\r\n|\r|\n)([^\r\n]*)")
_PIR = re.compile(rb"(?:P1|F1|XX);")
_WORD_OF_LETTERS = re.compile(rb"[A-Z*]+|[a-z*]+")


def _is_title(lines: list[_Line], body: bytes) -> bool:
    """True if the line after a PIR header is its title, and not the sequence already."""
    after_header = _FIRST_LINE.match(body)
    if after_header and not any(_cleaned(iter([_Line(0, after_header[1])]), [])):
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


def _position_numbers(lines: list[_Line]) -> str:
    """The fault of lines with numbers at their beginnings or ends; empty where there are none."""
    before = 0
    for line in lines:
        if match := _FRONT_NUMBER.match(line.text) or _BACK_NUMBER.fullmatch(line.text):
            residue = before + len(line.text[: match.start(1)].translate(None, _BLANK)) + 1
            return (
                f"'{match[1].decode()}' at residue {residue} is a position number, as in GenBank and EMBL; "
                "take the numbers out with sed '/^>/!s/[0-9 ]//g'"
            )
        before += len(line.text.translate(None, _BLANK))
    return ""


_CODES_TO_LETTERS = {
    b"ALA": b"A", b"ARG": b"R", b"ASN": b"N", b"ASP": b"D", b"CYS": b"C", b"GLN": b"Q", b"GLU": b"E",
    b"GLY": b"G", b"HIS": b"H", b"ILE": b"I", b"LEU": b"L", b"LYS": b"K", b"MET": b"M", b"PHE": b"F",
    b"PRO": b"P", b"SER": b"S", b"THR": b"T", b"TRP": b"W", b"TYR": b"Y", b"VAL": b"V", b"SEC": b"U",
    b"PYL": b"O", b"ASX": b"B", b"GLX": b"Z", b"XLE": b"J", b"XAA": b"X", b"MSE": b"M", b"UNK": b"X",
    b"TER": b"*", b"END": b"*", b"***": b"*",
}  # fmt: skip
_CODES = frozenset(_CODES_TO_LETTERS)
_CODE_SEPARATORS = re.compile(rb"[\s,.\-]+")
_ENDS = re.compile(rb"^(?:NH2|H2N|H|AC)[-\s]+|[-\s]+(?:COOH|CO2H|OH|NH2)$", re.IGNORECASE)
_TITLE_CASE = re.compile(rb"(?:[A-Z][a-z]{2}|\*{3})+")


def _from_three_letters(text: bytes) -> bytes:
    """The residues of a text in three-letter code; empty where it is none, or might be a sequence itself."""
    if text[:3].upper() not in _CODES and not _ENDS.match(text):
        return b""
    words = [word for word in _CODE_SEPARATORS.split(_ENDS.sub(b"", text)) if word]
    if any(len(word) % 3 for word in words):
        return b""
    codes = [word[at : at + 3] for word in words for at in range(0, len(word), 3)]
    residues = [_CODES_TO_LETTERS.get(code.upper(), b"") for code in codes]
    if not all(residues):
        return b""
    apart = len(words) == len(codes) > 3
    distinct = len(set(residues))
    written = all(_TITLE_CASE.fullmatch(word) for word in words) and len(codes) > 3
    return b"".join(residues) if apart or written or (len(codes) >= 10 and distinct >= 4) else b""


# Annotation below the sequence, a letter for each residue

_LABELS = b"IOMSTLPBGHECDNioms"
_TOPOLOGY = frozenset(b"IOMSTLPBGiomstlpbgUu.-")
_SECONDARY = frozenset(b"HECTSGBILPhectsgbilp.-~ _C")
_FIGURES = re.compile(rb"[0-9.+*~:-]+")
_THREE_LINES = re.compile(
    rb"\|(?:EUKARYA|ARCHAEA|POSITIVE|NEGATIVE)\||\| ?(?:TM|SP|GLOB|SP\+TM|BETA|Alpha TM|SP\+Alpha TM)\s*$"
)


def _without_annotation(lines: list[_Line], remarks: list[str]) -> list[_Line]:
    """The lines of the sequence, where each of them has one or two of annotation below them all."""
    for layers in (2, 3):
        height, rest = divmod(len(lines), layers)
        if not height or rest:
            continue
        blocks = [lines[at : at + height] for at in range(0, len(lines), height)]
        widths = [[len(line.text) for line in block] for block in blocks]
        if any(width != widths[0] for width in widths) or sum(widths[0]) < 10:
            continue
        texts = [b"".join(line.text for line in block) for block in blocks]
        if not _is_annotation(texts[0]) and all(map(_is_annotation, texts[1:])):
            for text in texts[1:]:
                remarks.append(
                    f"the line {quoted(text, 12)}, an annotation of each residue as SignalP, DeepTMHMM and "
                    "predictors of structure write it, left out"
                )
            return blocks[0]
    return lines


def _is_annotation(text: bytes) -> bool:
    """True if a text as long as a sequence describes it: few different letters, each many times in a row."""
    if _FIGURES.fullmatch(text):
        return True
    letters = frozenset(text)
    runs = sum(1 for _ in groupby(text))
    if letters <= _TOPOLOGY:
        return runs <= len(text) / 4 and (len(letters) > 1 or letters < frozenset(b"IOio"))
    return letters <= _SECONDARY and len(letters) > 2 and runs <= len(text) / 2.5


# Lines of words

_ENGLISH = frozenset(
    b"protein sequence hypothetical putative predicted probable uncharacterized fragment partial precursor "
    b"isoform subunit domain family chain factor receptor kinase enzyme containing binding unavailable "
    b"available temporarily resource error warning found from with this that the and for not file line "
    b"email mail homo sapiens mus musculus unknown unnamed product conserved variant ribosomal "
    b"mitochondrial".split()
)
_IDENTIFIER = re.compile(rb"[A-Za-z0-9_.:-]*\|[^\s]*|[A-Z]{2}_\d{6,}\S*|(?:[A-Za-z]+_?)?\d{3,}\S*")
_TITLED = re.compile(rb"[A-Z][a-z]{3,20}")


class _Shapes:
    """The look of a record's lines, against which a line of words stands out."""

    def __init__(self, lines: list[_Line]) -> None:
        self.several = len(lines) > 1
        self.upper = sum(line.text.isupper() for line in lines) > len(lines) / 2

    def are_words(self, line: bytes) -> bool:
        """True if a line is text that people read, and no residues."""
        words = line.split()
        if len(words) < 2:
            titled = self.several and self.upper and _TITLED.fullmatch(line)
            return bool(titled or line.lower() in _ENGLISH or _IDENTIFIER.fullmatch(line))
        if _in_blocks(words) and not (self.upper and not line.isupper() and len(set(map(len, words))) > 1):
            return False
        english = [word for word in words if word.lower().strip(b".,:;()") in _ENGLISH]
        if line.isupper():
            return (
                len(english) > 1
                or any(len(word) > 5 for word in english)
                or _IDENTIFIER.match(line) is not None
            )
        return bool(english) or _IDENTIFIER.match(line) is not None or 1 < max(map(len, words)) < 15


def _in_blocks(words: list[bytes]) -> bool:
    """True if words are a sequence set in blocks of one width, the last of which may be shorter."""
    widths = {len(word) for word in words[:-1]}
    if len(widths) != 1 or not b"".join(words).translate(None, b"*").isalpha():
        return False
    [width] = widths
    if len(words[-1]) > width:
        return False
    return width == 10 or (len(words) > 2 and (width > 2 or width == 1))
