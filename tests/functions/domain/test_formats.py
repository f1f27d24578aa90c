import pytest

from functions.domain.errors import InputError
from functions.domain.formats import packing, require_fasta

RECORD = b">a\nMKVLAAGIVG\n"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            b"PK\x03\x04....",
            "expected FASTA text, found a ZIP archive (or a spreadsheet or document) in an archive; compress once",
        ),
        (
            b"\xff\xfe>\0",
            "expected FASTA text, found UTF-16 text; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > proteins.fasta",
        ),
        (b"MK\0V\0\0\0\0", "expected FASTA text, found binary data"),
        (
            b"\n\naccession,sequence\n",
            "line 3: expected a header that begins with '>', found 'accession,sequence'",
        ),
        (b"", "expected FASTA records, found an empty file"),
        (b"\n# made by hand\n", "expected FASTA records, found no record"),
    ],
)
def test_a_file_that_is_no_fasta_is_named(head: bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        require_fasta(head, whole=True)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("head", "name", "helps"),
    [
        (b"LOCUS       X 37 aa linear\n", "GenBank", "seqret"),
        (b"ID   P53_HUMAN   Reviewed;   393 AA.\n", "UniProt", "seqret"),
        (b"# STOCKHOLM 1.0\n", "Stockholm", "esl-reformat"),
        (b"CLUSTAL W (1.83) multiple sequence alignment\n", "CLUSTAL", "esl-reformat"),
        (b"!!AA_MULTIPLE_ALIGNMENT 1.0\n", "MSF", "seqret"),
        (b"#NEXUS\nbegin data;", "NEXUS", "seqret"),
        (b" 2 10\nseq1      MKVLAAGIVG\n", "PHYLIP", "esl-reformat"),
        (b"##gff-version 3\n##FASTA\n>a\nACGT", "GFF", "gffread"),
        (b"##fileformat=VCFv4.2\n", "VCF", ""),
        (b"@HD\tVN:1.6\n", "SAM", ""),
        (b"@r1\nACGT\n+\nIIII\n", "FASTQ", ""),
        (b"HEADER    HYDROLASE", "PDB", ""),
        (b"data_9ABC\n#\n_entry.id", "mmCIF", ""),
        (b"<?xml version='1.0'?>", "XML", ""),
        (b"\xef\xbb\xbf<!DOCTYPE html>", "HTML", ""),
        (b'[{"id": 1}]', "JSON", ""),
        (b"{\\rtf1", "RTF", ""),
        (b'">a"\n"MKV"\n', "CSV", "tr -d"),
        (b"&gt;a\nMKV\n", "HTML", "sed"),
        (b">r\nGGGAAACCC\n(((...)))\n", "dot-bracket", ""),
        (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
        (b"\x28\xb5\x2f\xfd", "Zstandard", "zstd -d"),
        (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
        (b"\x1f\x9d", ".Z", "uncompress"),
        (b"Rar!\x1a", "RAR", "unrar"),
        (b"\xd0\xcf\x11\xe0", "Excel", ""),
        (">a\nMKV\n".encode("utf-16-le"), "UTF-16", "iconv -f UTF-16LE"),
        (">a\nMKV\n".encode("utf-16-be"), "UTF-16", "iconv"),
    ],
)  # fmt: skip
def test_another_format_is_named_with_what_helps(head: bytes, name: str, helps: str) -> None:
    for whole in (False, True):
        with pytest.raises(InputError) as raised:
            require_fasta(head, whole=whole)
        assert name in str(raised.value) and helps in str(raised.value)


@pytest.mark.parametrize(
    "head",
    [
        RECORD,
        b"\xef\xbb\xbf" + RECORD,
        b"\0\0" + RECORD,
        b"; a comment\n" + RECORD,
        b"made by hand\n" + RECORD,
        b"#37\t1\n" + RECORD,
        b"3546" + RECORD,
        b">a\0\nMK\0V",
        b">a|<b>\nMKV",
        b">@r\n+\nMKV",
        b">LOCUS\nMKV",
    ],
)
def test_a_file_with_records_is_taken_whatever_stands_before_them(head: bytes) -> None:
    require_fasta(head, whole=False)
    require_fasta(head, whole=True)


def test_a_beginning_of_comments_is_undecided_until_it_is_the_whole() -> None:
    require_fasta(b"; a comment\n", whole=False)
    with pytest.raises(InputError):
        require_fasta(b"; a comment\n", whole=True)


def test_a_packed_file_is_known_by_its_beginning() -> None:
    assert packing(RECORD) == packing(b"") == ""
    assert packing(b"\x1f\x8b\x08") == packing(RECORD + b"\x1f\x8b\x08") == "gzip"
    assert packing(b"BZh9") == "bzip2" and packing(b"\xfd7zXZ\0") == "xz" and packing(b"PK\x03\x04") == "zip"
    assert packing(b"a.fasta".ljust(257, b"\0") + b"ustar\x0000") == "tar"
