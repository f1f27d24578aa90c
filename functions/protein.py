"""From a FASTA record to a `Protein` that the model can read, or a `Rejection` that says why not.

A letter is read whatever its case; one terminal `*` (a translated stop codon) is dropped; both are remarks of
the protein, because nothing may change silently. The alphabet is the twenty residues and IUPAC's U O B Z J X
(https://iupac.qmul.ac.uk/AminoAcid/), of which the model reads the last six as X.
"""

import hashlib
import re
from typing import Any, NamedTuple

from functions.fasta import MAX_RECORD_BYTES, Record

MAX_RESIDUES = 100_000
"""Longest protein taken; the longest known, PKZILLA-1, has 45,212 (doi:10.1126/science.ado3290)."""

MAX_HEADER_CHARACTERS = 1_000
MAX_ACCESSION_CHARACTERS = 100

PREPROCESSING_VERSION = "1"
"""Part of the key of every known answer: change it whenever the same record would become another sequence."""

ALPHABET = b"ACDEFGHIKLMNPQRSTVWYUOBZJX"
_STANDARD = ALPHABET[:20]
_NUCLEOTIDES = b"ACGTUN"
_MIN_NUCLEOTIDE_LENGTH = 30
_MIN_NUCLEOTIDE_SHARE = 0.95


class Protein(NamedTuple):
    """One protein of an upload."""

    offset: int  # bytes from the start of the text to its `>`
    line: int  # lines before it within its shard
    accession: str
    header: str
    sequence: str  # upper case letters of ALPHABET
    remarks: tuple[str, ...]  # what was changed on reading, and each doubt

    @property
    def digest(self) -> str:
        """The sequence's identity across uploads, 32 hexadecimal digits."""
        return hashlib.sha256(self.sequence.encode("ascii")).hexdigest()[:32]

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
    line: int
    accession: str
    header: str
    length: int
    reason: str


def read_protein(record: Record) -> Protein | Rejection:
    """Judge one record.

    >>> read_protein(Record(0, 0, b"sp|P1|X_HUMAN", b"mkv*", 4)).sequence
    'MKV'
    >>> read_protein(Record(0, 0, b"P1", b"MK1V", 4)).reason
    "'1' at residue 3 is no amino acid"
    """
    header = record.header.decode("utf-8", "replace").strip()
    accession = parse_accession(header)
    shown = header if len(header) <= MAX_HEADER_CHARACTERS else header[: MAX_HEADER_CHARACTERS - 1] + "…"
    sequence = record.sequence.upper()
    remarks = [] if sequence == record.sequence else ["lower case read as upper case"]
    length = record.length
    if sequence.endswith(b"*"):
        sequence, length = sequence[:-1], length - 1
        remarks.append("terminal * removed")
    if reason := _fault(sequence, length):
        return Rejection(record.offset, record.line, accession, shown, length, reason)
    return Protein(record.offset, record.line, accession, shown, sequence.decode("ascii"), tuple(remarks))


def _fault(sequence: bytes, length: int) -> str:
    """Why these letters cannot be predicted; empty where they can."""
    if length > MAX_RESIDUES:
        return f"{length:,} residues are more than the {MAX_RESIDUES:,} that are read"
    if length and not sequence:
        return f"the record takes more than the {MAX_RECORD_BYTES:,} bytes that are read"
    if not sequence:
        return "the record holds no residues"
    if strange := sequence.translate(None, ALPHABET):
        return _describe_strange(sequence, strange[:1])
    if not sequence.translate(None, b"UOBZJX"):
        return "the sequence holds no known residue, only placeholders"
    if _looks_like_nucleotides(sequence):
        return "the sequence looks like DNA or RNA; translate it to protein first"
    return ""


def _describe_strange(sequence: bytes, letter: bytes) -> str:
    residue = sequence.index(letter) + 1
    if letter == b"*":
        return f"a stop codon '*' inside the sequence, at residue {residue}"
    if letter in (b"-", b"."):
        return f"an alignment gap '{letter.decode()}' at residue {residue}; remove the gaps"
    character = sequence[residue - 1 : residue + 3].decode("utf-8", "replace")[0]
    shown = character if character.isprintable() else f"\\x{letter[0]:02x}"
    return f"'{shown}' at residue {residue} is no amino acid"


def _looks_like_nucleotides(sequence: bytes) -> bool:
    """Nearly all of ACGTUN, over a length at which a protein never is."""
    if len(sequence) < _MIN_NUCLEOTIDE_LENGTH:
        return False
    others = len(sequence.translate(None, _NUCLEOTIDES))
    kinds = sum(letter in sequence for letter in b"ACGTU")
    return kinds >= 3 and others <= (1 - _MIN_NUCLEOTIDE_SHARE) * len(sequence)


_UNIPROT = re.compile(r"^(?:sp|tr)\|([^|\s]+)")
_PDB = re.compile(r"^pdb\|([^|\s]+)\|([^|\s]*)")
_NCBI = re.compile(r"(?:^|\|)(?:gb|emb|dbj|ref|tpg|tpe|tpd|pir|prf)\|+([^|\s]+)")
_GENERAL = re.compile(r"^(?:lcl|gnl\|[^|\s]+)\|([^|\s]+)")
_GI = re.compile(r"^gi\|(\d+)")


def parse_accession(header: str) -> str:
    """The accession that a header's first word carries, in UniProt's, NCBI's, PDB's or any other style.

    >>> parse_accession("sp|P04637-2|P53_HUMAN Isoform 2 of Cellular tumor antigen p53")
    'P04637-2'
    >>> parse_accession("gi|4959044|gb|AAD34209.1|AF069992_1 LIM domain"), parse_accession("pdb|1ABC|A")
    ('AAD34209.1', '1ABC_A')
    """
    word = header.split(maxsplit=1)[0] if header else ""
    if match := _PDB.match(word):
        accession = f"{match[1]}_{match[2]}" if match[2] else match[1]
    elif match := _UNIPROT.match(word) or _NCBI.search(word) or _GENERAL.match(word) or _GI.match(word):
        accession = match[1]
    else:
        accession = word
    return accession[:MAX_ACCESSION_CHARACTERS]
