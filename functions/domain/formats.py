"""Tells FASTA from other formats, and names each with the command that makes FASTA of it."""

import re
from collections.abc import Iterator

from functions.domain.errors import InputError
from functions.domain.fasta import BYTE_ORDER_MARK, read_records

_SEQRET = "convert it with EMBOSS: seqret {} fasta::proteins.fasta"
_REFORMAT = "convert it with HMMER's: esl-reformat fasta FILE > proteins.fasta"

_FOREIGN = (  # the first bytes of a file that is no text, its usual name, and the remedy
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Excel document; save the sequences as plain text"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet table"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it with: 7z x FILE"),
    (b"Rar!", "a RAR archive; unpack it with: unrar x FILE"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data; decompress it with: lz4 -d FILE"),
    (b"\x02\x21\x4c\x18", "lz4-compressed data; decompress it with: lz4 -d FILE"),
    (b"\x28\xb5\x2f\xfd", "Zstandard-compressed data; decompress it with: zstd -d FILE"),
    (b"\x1f\x9d", "data compressed by compress (.Z); decompress it with: uncompress FILE.Z"),
    (b"\x1f\xa0", "data compressed by compress (.Z); decompress it with: uncompress FILE.Z"),
    (b"LZIP", "lzip-compressed data; decompress it with: lzip -d FILE"),
    (b"\x5d\x00\x00", "LZMA-compressed data; decompress it with: xz -d --format=lzma FILE"),
    (b"MSCF", "a Windows cabinet; unpack it with: cabextract FILE"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > proteins.fasta"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > proteins.fasta"),
    (b"BAM\x01", "aligned reads in BAM"),
    (b"CRAM", "aligned reads in CRAM"),
    (b".snp", "binary data"),
    (b"\x7fELF", "binary data, a program"),
)
_NESTED = (  # formats that a text out of an archive must not have
    (b"\x1f\x8b", "a gzip archive in a gzip archive; compress once"),
    (b"BZh", "a bzip2 archive in an archive; compress once"),
    (b"\xfd7zXZ", "an xz archive in an archive; compress once"),
    (b"PK\x03\x04", "a ZIP archive (or a spreadsheet or document) in an archive; compress once"),
)
_TEXTS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), name)
    for pattern, name in (
        (rb"\A\{\\rtf", "rich text (RTF); save it as plain text"),
        (
            rb"\A(?:<!doctype html|<html|<head|<body|<!--|<script|<h\d>|<title)",
            "an HTML page, not the file it links to",
        ),
        (rb"\A<\?xml|\A<uniprot|\A<entry|\A<\w+ xmlns", "XML; download the sequences as FASTA"),
        (rb"\A\{\s*[\"'}]|\A\[\s*[\[{\"'\]]", "JSON; download the sequences as FASTA"),
        (
            rb"\A@[^\r\n]*\r?\n[A-Za-z.*-]*\r?\n\+",
            "FASTQ, reads of a sequencer; translate them to proteins first",
        ),
        (rb"\A@(?:HD|SQ|RG|PG)\t", "aligned reads in SAM"),
        (rb"\ALOCUS\s", "a GenBank record; " + _SEQRET.format("genbank::FILE")),
        (rb"\AID   \S", "an EMBL or UniProt record; " + _SEQRET.format("swiss::FILE")),
        (rb"\A# STOCKHOLM", "an alignment in Stockholm format; " + _REFORMAT),
        (
            rb"\A(?:CLUSTAL|MUSCLE \(|PROBCONS|MAFFT\b|T-COFFEE|Kalign)",
            "an alignment in CLUSTAL format; " + _REFORMAT,
        ),
        (rb"\A!!(?:AA|NA)_MULTIPLE|\APileUp\b", "an alignment in MSF format; " + _SEQRET.format("msf::FILE")),
        (rb"\A#NEXUS", "an alignment in NEXUS format; " + _SEQRET.format("nexus::FILE")),
        (rb"\A\s*\d+\s+\d+\s*[\r\n]+\S+\s+[A-Za-z*. -]+$", "an alignment in PHYLIP format; " + _REFORMAT),
        (
            rb"\A##gff|\A##gtf",
            "annotation in GFF; extract the proteins with: gffread -y proteins.fasta -g GENOME FILE",
        ),
        (rb"\A##fileformat=VCF", "variants in VCF"),
        (rb"\A(?:HEADER    |ATOM  +\d|REMARK +\d|CRYST1)", "a PDB structure; download its sequence as FASTA"),
        (rb"\Adata_\S*\s+(?:#|_|loop_)", "an mmCIF structure; download its sequence as FASTA"),
        (rb"\AT?BLAST[PNX] \d", "a BLAST report"),
        (rb"\A# (?:T?BLAST[PNX]|hmm\w+ ::)", "a report of BLAST or HMMER"),
        (rb"\AHMMER\d", "a profile of HMMER"),
        (
            rb"\A[\"']>",
            "a table with quotation marks (CSV), made of FASTA; take them out with: tr -d '\"' < FILE",
        ),
        (rb"\A&gt;", "FASTA with its '>' written as HTML's &gt;; turn it back with: sed 's/&gt;/>/g' FILE"),
        (
            rb"\A>[^\r\n]*[\r\n]+[ACGUTN]+[\r\n]+(?=[().]*\()[().\[\]{}]{4,}\s",
            "RNA with its structure in dot-bracket notation, no proteins",
        ),
        (rb"\A(?:\.\.)?[(\[]*\(+[A-Za-z_'][^()\r\n]*[,:][^\r\n]*\)[^\r\n]*;\s*\Z", "a tree in Newick format"),
    )
)
_PRELUDE = re.compile(rb"(?:[\s\0\x1a]|%b)+" % BYTE_ORDER_MARK)
_TEXT_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\0\x01\x1b"))
_BLANK = b" \t\r\n\v\f\0\x1a"


def packing(head: bytes) -> str:
    """The packing of a file with this beginning, if it can be unpacked here; else empty."""
    for magic, name in (
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"PK\x03\x04", "zip"),
    ):
        if head.startswith(magic):
            return name
    if head[257:262] == b"ustar":
        return "tar"
    return "gzip" if re.search(rb"[\r\n]\x1f\x8b\x08", head) and head.lstrip().startswith(b">") else ""


def require_fasta(head: bytes, *, whole: bool) -> None:
    """Raise InputError unless a text with this beginning is FASTA.

    `whole` says that `head` is all there is: one without a record is then no FASTA, and otherwise undecided,
    which passes.
    """
    if whole and not head:
        raise InputError("an empty file", expected="FASTA records")
    for magic, name in (*_FOREIGN, *_NESTED):
        if head.startswith(magic):
            raise InputError(name, expected="FASTA text")
    if _is_wide(head):
        raise InputError(
            "UTF-16 text without a byte order mark; "
            "save it as UTF-8: iconv -f UTF-16LE -t UTF-8 FILE > proteins.fasta",
            expected="FASTA text",
        )
    text = _PRELUDE.sub(b"", head, count=1) if _PRELUDE.match(head) else head
    for pattern, name in _TEXTS:
        if pattern.search(text[:4096]):
            raise InputError(name, expected="FASTA records")
    if text.startswith(b">"):
        return
    if b"\0" in text or len(text) - len(text.translate(None, _TEXT_CONTROLS)) > len(text) / 50:
        raise InputError("binary data", expected="FASTA text")
    if whole and next(read_records([head]), None) is None:
        for number, line in _lines_of_text(head):
            raise InputError(
                repr(line[:30].decode("utf-8", "replace")),
                expected="a header that begins with '>'",
                where=f"line {number}",
            )
        raise InputError("no record", expected="FASTA records")


def _lines_of_text(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are no comments and not blank, with their numbers."""
    for number, line in enumerate(text.replace(BYTE_ORDER_MARK, b"").splitlines(), start=1):
        if line.strip(_BLANK) and not line.startswith((b";", b"#")):
            yield number, line


def _is_wide(head: bytes) -> bool:
    """True if every other byte is NUL, as in UTF-16 without a mark."""
    part = head[:400]
    if len(part) < 8 or b"\0" not in part:
        return False
    even, odd = part[::2], part[1::2]
    zeros = sorted((even.count(0) / len(even), odd.count(0) / len(odd)))
    return zeros[0] < 0.1 and zeros[1] > 0.8
