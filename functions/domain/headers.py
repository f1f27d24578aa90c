"""Reads a header: its text, its accession, and the kind of molecule it announces."""

import codecs
import re

MAX_HEADER_CHARACTERS = 1_000
MAX_ACCESSION_CHARACTERS = 100


def _western(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as Windows does in Western Europe; those it lacks as Latin-1."""
    assert isinstance(error, UnicodeDecodeError)
    odd = error.object[error.start : error.end]
    return "".join(_WESTERN.get(byte, chr(byte)) for byte in odd), error.end


_WESTERN = {
    byte: bytes((byte,)).decode("cp1252")
    for byte in range(0x80, 0x100)
    if byte not in b"\x81\x8d\x8f\x90\x9d"
}
codecs.register_error("western", _western)


def decode(text: bytes) -> str:
    """The text as its author most probably wrote it: UTF-8, or where it is none, Windows-1252.

    >>> decode("Größe".encode()), decode("Größe".encode("latin-1"))
    ('Größe', 'Größe')
    """
    return text.decode("utf-8", "western")


def shown(header: str) -> str:
    """A header as rows carry it, with a sign where it was cut."""
    return header if len(header) <= MAX_HEADER_CHARACTERS else header[: MAX_HEADER_CHARACTERS - 1] + "…"


def quoted(text: bytes, characters: int = 40) -> str:
    """The beginning of a text within quotation marks, printable."""
    start = decode(text[: 4 * characters]).strip()[:characters]
    return (
        "'"
        + "".join(c if c.isprintable() else "·" for c in start)
        + ("…'" if len(text) > len(start) + 3 else "'")
    )


_UNIPROT = re.compile(r"^(?:sp|tr)\|([^|\s]+)")
_PLAIN_UNIPROT = re.compile(r"(?:sp|tr)\|([^|\s\0\x01]{1,100})[|\s]")
_PDB = re.compile(r"^pdb\|([^|\s]+)\|([^|\s]*)")
_NCBI = re.compile(r"(?:^|\|)(?:gb|emb|dbj|ref|tpg|tpe|tpd|pir|prf)\|+([^|\s]+)")
_GENERAL = re.compile(r"^(?:lcl|nxp|gnl\|[^|\s]+)\|([^|\s]+)")
_GI = re.compile(r"^gi\|(\d+)")
_RCSB = re.compile(r"^(\d[A-Za-z0-9]{3}_\d+)\|Chains? ")
_RCSB_OLD = re.compile(r"^(\d[A-Za-z0-9]{3}):([^|\s]+)(?:\|PDBID\|CHAIN\|SEQUENCE|:(?:sequence|secstr)$)")
_JGI = re.compile(r"^(jgi\|[^|\s]+\|\d+)\|")
_PIR = re.compile(r"^(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);(\S+)")
_NUMBERED = re.compile(r"^gnl\|BL_ORD_ID\|\d+ (?=\S)")
_NAME = re.compile(r"[^\0\x01]+")  # NCBI joins the headers of identical proteins by control-A


def parse_accession(header: str) -> str:
    """The accession that a header's first word carries, in UniProt's, NCBI's, PDB's or any other style.

    >>> parse_accession("sp|P04637-2|P53_HUMAN Isoform 2 of Cellular tumor antigen p53")
    'P04637-2'
    >>> parse_accession("gi|4959044|gb|AAD34209.1|AF069992_1 LIM domain"), parse_accession("pdb|1ABC|A")
    ('AAD34209.1', '1ABC_A')
    >>> parse_accession("9ABC_1|Chains A, B|Something|Homo sapiens (9606)"), parse_accession(">id")
    ('9ABC_1', 'id')
    """
    if match := _PLAIN_UNIPROT.match(header):
        return match[1]
    text = _NUMBERED.sub(
        "", header.lstrip("> \t") or header
    )  # BLAST numbers records without an identifier of NCBI's
    if match := _RCSB.match(text):
        return match[1]
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    if match := _NAME.match(word):
        word = match[0]
    if not any(mark in word for mark in "|:;"):
        accession = word
    elif match := _PDB.match(word) or _RCSB_OLD.match(word):
        accession = f"{match[1]}_{match[2]}" if match[2] else match[1]
    elif (
        match := _UNIPROT.match(word)
        or _NCBI.search(word)
        or _GENERAL.match(word)
        or _GI.match(word)
        or _JGI.match(word)
        or _PIR.match(word)
    ):
        accession = match[1]
    else:
        accession = word
    return accession[:MAX_ACCESSION_CHARACTERS]


_NUCLEIC = re.compile(r"\bmol:na\b|^[>\s]*(?:DL|DC|RL|RC|N1|N3);|\|[DR]NA \((?:5'-|\d+-MER)")
_STRUCTURE = ("secstr", "ss_dis", "ssdis", "ss_pred", ":disorder")
_GLUED = re.compile(r"[ACDEFGHIKLMNPQRSTVWY]{20,}\*?\s*$")


def announces_nucleotides(header: str) -> bool:
    """True if a header says that DNA or RNA follows, as those of PDB, RCSB and PIR do."""
    return ("mol:na" in header or "NA (" in header or ";" in header[:8]) and bool(_NUCLEIC.search(header))


def announces_structure(header: str) -> bool:
    """True if a header says that no sequence follows but its secondary structure, as in PDB's `ss.txt`."""
    end = header.rstrip()[-10:]
    return end[-1:] in "rsdRSD" and end.lower().endswith(_STRUCTURE)


def residues_at_end(header: str) -> int:
    """Count the letters at a header's end that look like a sequence that lost its line; 0 for none."""
    near_end = header[-8:-4]
    if not (near_end.isalpha() and near_end.isupper()):
        return 0
    match = _GLUED.search(header)
    return len(match[0].strip()) if match else 0
