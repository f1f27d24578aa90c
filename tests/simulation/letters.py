"""A reference reader: finds a text's records in the plainest way, and shares nothing with the real one.

The whole text is there, lines are strings, letters are looked at one by one. Only lists of words and sums
over letters are taken from the functions: `placeholder`, `are_nucleotides` and `is_3di` have judges of their
own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from functions.domain.alphabets import is_3di
from functions.domain.nucleotides import are_nucleotides
from functions.domain.placeholders import placeholder

MARK = "\xef\xbb\xbf"  # a byte order mark, as Latin-1 shows it
BLANKS = " \t\r\n\v\f\0\x1a"
ALPHABET = "ACDEFGHIKLMNPQRSTVWYUOBZJX"
CODES = dict(
    pair.split("=")
    for pair in """
    ALA=A ARG=R ASN=N ASP=D CYS=C GLN=Q GLU=E GLY=G HIS=H ILE=I LEU=L LYS=K MET=M PHE=F PRO=P SER=S THR=T TRP=W
    TYR=Y VAL=V SEC=U PYL=O ASX=B GLX=Z XLE=J XAA=X MSE=M UNK=X TER=* END=* ***=*
    """.split()  # noqa: SIM905
)


def starts(text: bytes, lookback: int) -> list[int]:
    """The offsets at which the records of a text start."""
    offsets, line = [], 0
    for at, byte in enumerate(text):
        if byte in b"\r\n":
            line = at + 1
        elif byte == ord(">") and _may_stand_before(text[max(line, at - lookback) : at].decode("latin-1")):
            offsets.append(at)
    return offsets


def _may_stand_before(prefix: str) -> bool:
    """True if this text, before a `>` on its line, is invisible or a sequence that lost its line end."""
    kinds, at = "", 0
    while at < len(prefix):
        rest = prefix[at:]
        tag = re.match("<[A-Za-z/!][^<>]{0,200}>", rest)
        if rest.startswith(MARK):
            kinds, at = kinds + "u", at + 3
        elif rest.startswith("\xc2\xa0"):
            kinds, at = kinds + "u", at + 2
        elif tag:
            kinds, at = kinds + "u", at + tag.end()
        elif rest[:2] in ("\\n", "\\r"):
            kinds, at = kinds + "e", at + 2
        else:
            kinds += _kind(rest[0])
            at += 1
    return bool(re.fullmatch("u*|[uesS]+|u*l{10}[ls]*[ue]*", kinds))


def _kind(letter: str) -> str:
    if letter in " \t\v\f\0\x1a\"'":
        return "u"
    if letter in "*.":
        return "s"
    if "A" <= letter <= "Z" or "0" <= letter <= "9" or letter in "_-":
        return "S"
    return "l" if "a" <= letter <= "z" else "x"


def records(text: bytes, lookback: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Offset, header and the text after it, of each record of a text."""
    for start, end in pairwise([*starts(text, lookback), len(text)]):
        header = re.split(b"[\r\n]", text[start + 1 : end], maxsplit=1)[0]
        yield start, header, text[start + 1 + len(header) : end]


def sequence(header: bytes, body: bytes) -> str | None:
    """The residues that a record is predicted by, or None where it must be rejected."""
    letters = _letters(header.decode("latin-1"), body.decode("latin-1"))
    if letters is None:
        return None
    letters = _without_stop(_upper(letters))
    title = header.decode("utf-8", "replace")
    if len(letters) > 100_000 or any(letter not in ALPHABET for letter in letters):
        return None
    nucleic = r"\bmol:na\b|\A[>\s]*(DL|DC|RL|RC|N1|N3);|\|[DR]NA \((5'-|\d+-MER)"
    structure = r"(secstr|ss_dis|ssdis|ss_pred|:disorder)\s*\Z"
    if re.search(nucleic, title) or re.search(structure, title, re.IGNORECASE):
        return None
    residues = sum(letter in ALPHABET[:20] for letter in letters)
    if residues < 10 or residues < len(letters) / 2:
        return None
    coded = letters.encode()
    return None if are_nucleotides(coded) or is_3di(coded) else letters


def _upper(text: str) -> str:
    return text.encode("latin-1").upper().decode("latin-1")  # of ASCII alone


def _is_upper(text: str) -> bool:
    return text.encode("latin-1").isupper()


def _without_stop(letters: str) -> str:
    if letters.endswith("*"):
        return letters.rstrip("*")
    for stop, most in (("_", 2), (".", 2), ("-", 1)):
        if letters.endswith(stop):
            inner = letters
            for _ in range(most):
                inner = inner.removesuffix(stop)
            aligned = stop != "_" and (".." in inner or "-" in inner)
            return letters if aligned else inner
    return letters


def _letters(header: str, body: str) -> str | None:
    """The letters of the lines that are the sequence, or None where the lines are something else."""
    raw = re.split("\r\n|\r|\n", body)
    lines = [line for line in map(_cleaned, raw) if line]
    if placeholder(" ".join(lines).encode("latin-1").decode("utf-8", "replace")):
        return None
    if re.match("(P1|F1|XX);", header) and lines:
        blank_title = len(raw) > 1 and not _cleaned(raw[1])
        plain = re.fullmatch(r"[A-Z*]+|[a-z*]+", lines[0])
        shorter = len(lines) > 1 and lines[-1].endswith("*") and len(lines[0]) < len(lines[1])
        if not blank_title and (not plain or shorter):
            lines = lines[1:]
    for line in lines:
        bare = re.sub(r"[ \t\v\f]+\([ \t\v\f]*-?[0-9.]+\)$", "", line)
        if len(line) > 3 and set(bare) <= set("().[]{}<>|&,:_-") and set(bare) & set("(<[{"):
            return None
        if "\x1f\x8b\x08" in line:
            return None
    joined = "".join("".join(c for c in line if c not in BLANKS) for line in lines)
    if re.fullmatch(r"[A-Z#]?([A-Z#][a-z#]){8,}\*?", joined):
        return None
    if residues := _one_letter(" ".join(lines)):
        return residues
    lines = _unannotated(lines)
    if any(_numbered(line) for line in lines):
        return None
    upper = sum(_is_upper(line) for line in lines) * 2 > len(lines)
    if any(_words(line, len(lines), upper) for line in lines):
        return None
    return "".join("".join(c for c in line if c not in BLANKS) for line in lines)


def _cleaned(line: str) -> str:
    line = line.replace("\xc2\xa0", " ")
    line = re.sub("(?<![\x80-\xff])\xa0(?![\x80-\xff])", " ", line).replace(MARK, "").strip(BLANKS)
    tag = r"</?(p|br|pre|tt|code|span|div|font|b|i|body|html|td|tr|table)([ \t\v\f][^<>]*)?/?>"
    shorter = None
    while shorter != line:
        line = line if shorter is None else shorter
        shorter = re.sub(rf"^[ \t\v\f]*{tag}|{tag}[ \t\v\f]*$", "", line, flags=re.IGNORECASE).strip(BLANKS)
    if line.startswith(";") or line in ("--", "//"):
        return ""
    saprot = re.fullmatch("#[A-Za-z#]{0,2}[a-z]?([A-Z#][a-z#])+", line)
    return "" if line.startswith("#") and not saprot else line


def _one_letter(text: str) -> str:
    text = re.sub(r"^(NH2|H2N|H|AC)[- \t\v\f]+|[- \t\v\f]+(COOH|CO2H|OH|NH2)$", "", text, flags=re.IGNORECASE)
    words = [word for word in re.split(r"[ \t\v\f,.\-]+", text) if word]
    codes = [word[at : at + 3] for word in words for at in range(0, len(word), 3)]
    if not codes or any(_upper(code) not in CODES for code in codes):
        return ""
    residues = "".join(CODES[_upper(code)] for code in codes)
    if len(words) == len(codes) > 3 or (len(codes) >= 10 and len(set(residues)) >= 4):
        return residues
    titled = all(code == "***" or code == code[0].upper() + code[1:].lower() for code in codes)
    return residues if titled and len(codes) > 3 else ""


def _unannotated(lines: list[str]) -> list[str]:
    for layers in (2, 3):
        if not lines or len(lines) % layers:
            continue
        height = len(lines) // layers
        blocks = [lines[layer * height : (layer + 1) * height] for layer in range(layers)]
        if any([len(line) for line in block] != [len(line) for line in blocks[0]] for block in blocks):
            continue
        top, *below = ["".join(block) for block in blocks]
        if len(top) >= 10 and not _annotation(top) and all(_annotation(text) for text in below):
            return blocks[0]
    return lines


def _annotation(text: str) -> bool:
    if all(letter in "0123456789.+*~:-" for letter in text):
        return True
    runs = 1 + sum(before != after for before, after in pairwise(text))
    kinds = set(text)
    if kinds <= set("IOMSTLPBGiomstlpbgUu.-"):
        return runs * 4 <= len(text) and (len(kinds) > 1 or kinds < set("IOio"))
    return kinds <= set("HECTSGBILPhectsgbilp.-~ _C") and len(kinds) > 2 and runs * 2.5 <= len(text)


def _numbered(line: str) -> bool:
    front = re.match(r"[0-9]+[ \t]+[A-Za-z*]", line)
    back = re.fullmatch(r"[A-Za-z* ]*[A-Za-z*][ \t]+[0-9]+", line)
    return bool(front or back)


ENGLISH = frozenset(
    """
    protein sequence hypothetical putative predicted probable uncharacterized fragment partial precursor isoform
    subunit domain family chain factor receptor kinase enzyme containing binding unavailable available
    temporarily resource error warning found from with this that the and for not file line email mail
    homo sapiens mus musculus unknown unnamed product conserved variant ribosomal mitochondrial
    """.split()  # noqa: SIM905 - one word after the other is how lists of words are read
)
IDENTIFIER = r"[A-Za-z0-9_.:-]*\|[^ \t\v\f]*|[A-Z]{2}_[0-9]{6,}[^ \t\v\f]*|([A-Za-z]+_?)?[0-9]{3,}[^ \t\v\f]*"


def _words(line: str, lines: int, upper: bool) -> bool:
    words = re.split(r"[ \t\v\f]+", line)
    if len(words) == 1:
        titled = lines > 1 and upper and re.fullmatch("[A-Z][a-z]{3,20}", line)
        return bool(titled or line.lower() in ENGLISH or re.fullmatch(IDENTIFIER, line))
    widths = [len(word) for word in words]
    alphabetic = re.fullmatch("[A-Za-z]+", line.replace("*", "").translate(str.maketrans("", "", " \t\v\f")))
    blocks = bool(alphabetic) and len(set(widths[:-1])) == 1 and widths[-1] <= widths[0]
    blocks = blocks and (widths[0] == 10 or (len(words) > 2 and widths[0] != 2))
    ragged = upper and not _is_upper(line) and len(set(widths)) > 1
    if blocks and not ragged:
        return False
    english = [word for word in words if word.lower().strip(".,:;()") in ENGLISH]
    if re.match(IDENTIFIER, line):
        return True
    if _is_upper(line):
        return len(english) > 1 or any(len(word) > 5 for word in english)
    return bool(english) or 1 < max(widths) < 15
