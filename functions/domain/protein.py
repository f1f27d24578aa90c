"""Turns a FASTA record into a `Protein` that the model can read, or into a `Rejection` with its reason.

Letters are read in upper and lower case; a stop codon at the end, in any notation, is dropped. Each change is
a remark, because nothing may change silently, and so is each doubt. The alphabet is the twenty residues and
IUPAC's U O B Z J X (https://iupac.qmul.ac.uk/AminoAcid/), of which the model reads the last six as X.
"""

import hashlib
import re
import unicodedata
from typing import Any, NamedTuple

from functions.domain.alphabets import ALPHABET, STANDARD, is_3di
from functions.domain.fasta import MAX_RECORD_BYTES, Record
from functions.domain.headers import (
    MAX_ACCESSION_CHARACTERS,
    MAX_HEADER_CHARACTERS,
    announces_nucleotides,
    announces_structure,
    decode,
    parse_accession,
    residues_at_end,
    shown,
)
from functions.domain.nucleotides import are_nucleotides

__all__ = [
    "ALPHABET",
    "MAX_ACCESSION_CHARACTERS",
    "MAX_HEADER_CHARACTERS",
    "MAX_RESIDUES",
    "MIN_KNOWN_RESIDUES",
    "PREPROCESSING_VERSION",
    "Protein",
    "Rejection",
    "parse_accession",
    "read_protein",
]

MAX_RESIDUES = 100_000
"""Longest protein taken; the longest known, PKZILLA-1, has 45,212 (doi:10.1126/science.ado3290)."""

MIN_KNOWN_RESIDUES = 10
"""Fewer tell nothing of a location: a signal needs its surroundings."""

SHORT_RESIDUES = 30
"""Shorter ones are answered with a remark; the model saw hardly any."""

PREPROCESSING_VERSION = "2"
"""Part of the key of every known answer: change it whenever the same record would become another sequence."""


class Protein(NamedTuple):
    """One protein of an upload."""

    offset: int  # bytes from the start of the text to its `>`
    line: int  # lines before it within its shard
    accession: str
    header: str
    sequence: str  # upper case letters of ALPHABET
    remarks: tuple[str, ...]  # each change on reading, and each doubt

    @property
    def digest(self) -> str:
        """The sequence's identity across uploads, 32 hexadecimal digits."""
        return hashlib.sha256(self.sequence.encode("ascii")).hexdigest()[:32]

    def as_message(self) -> dict[str, Any]:
        """The protein as a batch message carries it; `_asdict` takes twice as long."""
        offset, line, accession, header, sequence, remarks = self
        return {
            "offset": offset,
            "line": line,
            "accession": accession,
            "header": header,
            "sequence": sequence,
            "remarks": remarks,
        }

    @staticmethod
    def from_message(message: dict[str, Any]) -> "Protein":
        """The protein that a batch message carries, of this release or of one that had a `note` only."""
        fields = dict(message)
        note = fields.pop("note", "")
        fields["remarks"] = tuple(fields.get("remarks", [note] if note else []))
        return Protein(**fields)


class Rejection(NamedTuple):
    """A record that cannot be predicted, and why."""

    offset: int
    line: int  # of the line that the reason is about: mostly the header's
    accession: str
    header: str
    length: int
    reason: str


def read_protein(record: Record) -> Protein | Rejection:
    """Judge one record.

    >>> read_protein(Record(0, 0, b"sp|P1|X_HUMAN", b"mkvlaagivg*", 11)).sequence
    'MKVLAAGIVG'
    >>> read_protein(Record(0, 0, b"P1", b"MK1V", 4)).reason
    "'1' at residue 3 is no amino acid"
    """
    header = decode(record.header).strip("\0\x1a").strip()
    accession = parse_accession(header)
    sequence = record.sequence if record.clean else record.sequence.upper()
    length = record.length
    remarks = list(record.remarks)
    if not record.clean and sequence != record.sequence:
        remarks.append("lower case read as upper case")
    if not record.standard and (match := _terminal_stop(sequence)):
        sequence, length = sequence[: match.start()], match.start()
        remarks.append(f"terminal {match[0].decode()} removed")
    reason = record.fault or _fault(sequence, length, header, record)
    if reason:
        line = record.line + record.fault_line
        return Rejection(record.offset, line, accession, shown(header), length, reason)
    remarks += _doubts(sequence, header)
    return Protein(
        record.offset, record.line, accession, shown(header), sequence.decode("ascii"), tuple(remarks)
    )


_STOP = re.compile(rb"(?:\*+|_{1,2}|\.{1,2}|-)\Z")


def _terminal_stop(sequence: bytes) -> re.Match[bytes] | None:
    """The stop codons at the end of a sequence, as `*`, `.` (gffread), `_` or `-` stand for them.

    A dot or dash is none where others stand inside: that is an alignment, or a stop that is no end.
    """
    if sequence[-1:].isalpha():
        return None
    match = _STOP.search(sequence)
    if match and match[0][:1] in (b".", b"-") and re.search(rb"\.\.|-", sequence[: match.start()]):
        return None
    return match


def _fault(sequence: bytes, length: int, header: str, record: Record) -> str:
    """Return why these letters cannot be predicted; empty where they can."""
    if length > MAX_RESIDUES:
        return f"{length:,} residues are more than the {MAX_RESIDUES:,} that are read"
    if length and not sequence:
        return f"the record takes more than the {MAX_RECORD_BYTES:,} bytes that are read"
    if not sequence:
        glued = residues_at_end(header)
        hint = f"; the header ends in {glued} letters that may be its sequence" if glued else ""
        return f"the record holds no residues{hint}"
    if announces_structure(header):
        return "the secondary structure of a protein, as the header says, not its sequence"
    if announces_nucleotides(header):
        return "nucleotides, DNA or RNA, as the header says; translate them to protein first"
    if not record.clean and (strange := sequence.translate(None, ALPHABET)):
        return _describe_strange(sequence, strange, record)
    if are_nucleotides(sequence):
        return "nucleotides: the sequence looks like DNA or RNA; translate it to protein first"
    if sequence[:1] == b"D" and is_3di(sequence):
        return "3Di letters, the structure-aware alphabet of Foldseek, not residues"
    return "" if record.standard and length >= MIN_KNOWN_RESIDUES else _too_little(sequence)


def _too_little(sequence: bytes) -> str:
    length = len(sequence)
    unknown = len(sequence.translate(None, STANDARD))
    known = length - unknown
    if known == length >= MIN_KNOWN_RESIDUES or (known >= MIN_KNOWN_RESIDUES and 2 * known >= length):
        return ""
    limit = f"at least {MIN_KNOWN_RESIDUES} known residues, and half of all, are needed to tell a location"
    if known == length:
        return f"{length} residues are too few: {limit}"
    share = f"{100 * (length - known) / length:.0f} %"
    return f"{share} of {length:,} residues are unknown (X or its like), {known} are known: {limit}"


def _doubts(sequence: bytes, header: str) -> list[str]:
    """List the reasons that make an answer for a protein less certain."""
    doubts = []
    if len(sequence) < SHORT_RESIDUES:
        doubts.append(f"short: of {len(sequence)} residues, a location is hard to tell")
    if not sequence.startswith(b"M"):
        doubts.append("without a start (M): a fragment or a mature form, whose signal may be missing")
    if glued := residues_at_end(header):
        doubts.append(f"the header ends in {glued} letters that may be the sequence's beginning")
    return doubts


def _describe_strange(sequence: bytes, strange: bytes, record: Record) -> str:
    """Name the first letter that is no amino acid, its place, and its likely origin."""
    letter = strange[:1]
    residue = len(decode(sequence[: sequence.index(letter)])) + 1
    if letter == b"*":
        return f"a stop codon '*' inside the sequence, at residue {residue}"
    if letter == b"." and b".." not in sequence and b"-" not in sequence and residue > 1:
        return f"a stop codon '.' inside the sequence, at residue {residue}, as gffread writes it"
    if letter == b"_":
        return f"'_', a stop codon or a gap, at residue {residue}"
    if letter in (b"-", b"."):
        name = (
            "an alignment (A2M or A3M)" if not record.sequence.isupper() or letter == b"." else "an alignment"
        )
        return f"an alignment gap '{letter.decode()}' at residue {residue}, as in {name}; remove the gaps"
    character = _character(sequence, sequence.index(letter))
    if ord(character) > 0x7F:
        name = unicodedata.name(character, "a character without a name")
        printed = f"'{character}' " if character.isprintable() else ""
        return f"{printed}(U+{ord(character):04X}, {name}) at residue {residue} is no amino acid"
    printed = character if character.isprintable() else f"\\x{letter[0]:02x}"
    return f"'{printed}' at residue {residue} is no amino acid{_ORIGINS.get(character, '')}"


_ORIGINS = {
    ":": ": where ColabFold and Boltz join the chains of a complex; give each chain a record of its own",
    "/": ": where Modeller and AlphaFold join chains; give each chain a record of its own",
    ",": ": a table's separator (CSV)?",
    '"': ": a quotation mark of a table or of HTML",
    "#": ": a letter of a structure-aware alphabet (SaProt), or a comment",
    "=": ": quoted-printable mail?",
    "&": ": HTML?",
    "<": ": an HTML tag?",
    "?": ": an unknown residue is written X",
    "(": ": a modified residue or a structure in brackets?",
    "[": ": a modified residue or an alternative?",
}


def _character(sequence: bytes, at: int) -> str:
    """The character that begins at a byte."""
    for width in (1, 2, 3, 4):
        try:
            return sequence[at : at + width].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return decode(sequence[at : at + 1])
