"""Files as people really have them, and the right answer for each: records, those predicted, the reasons of the others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from functions.domain.archives import Seekable
from functions.domain.errors import InputError
from functions.domain.fasta import LineCount
from functions.domain.formats import packing, require_fasta
from functions.domain.protein import Protein, Rejection
from functions.domain.text import Inflater
from functions.domain.upload import Source, plan_shards
from functions.receive import HEAD_BYTES
from functions.services.s3 import Storage
from functions.split import _read
from tests.functions.test_records import Bytes

SHARED = Path(__file__).parents[3] / "shared" / "data"
INTAKE = SHARED / "intake"
SOURCE = Source("uploads", "a.fasta", "null")


class Right(NamedTuple):
    """The right answer for a file: an end for each record, `p` or `r`, or the name by which it is refused."""

    ends: str
    names: tuple[
        str, ...
    ] = ()  # words that the reason of each rejection must hold, in turn; one for all where it is one
    residues: int = 0  # read of each predicted protein, where all are alike
    remark: str = ""  # in those of some predicted one


RIGHT: dict[str, Right] = {
    "01_gffread_dot_stop.faa": Right("ppr", ("stop codon '.'",), 37, "terminal ."),
    "02_bom_in_middle.fasta": Right("ppp", (), 37, "byte order mark"),
    "03_header_glued_to_sequence.fasta": Right("ppp", (), 37, "line end was missing"),
    "04_signalp_three_line.fasta": Right("pp", (), 37, "annotation"),
    "05_deeptmhmm.3line": Right("p", (), 37, "annotation"),
    "06_pdb_ss.txt": Right("pr", ("secondary structure",), 37),
    "07_pdb_seqres_na.txt": Right("prr", ("nucleotides",), 37),
    "09_dna_masked_x.fasta": Right("rr", ("nucleotides",)),
    "10_short_dna.fasta": Right("rrr", ("nucleotides",)),
    "11_tiny.pep.fa": Right("rrrrrrr", ("at least 10",)),
    "12_mostly_x.fasta": Right("rrr", ("100 %", "97 %", "94 %")),
    "14_mmseqs_nul.fasta": Right("pp", (), 37, "NUL"),
    "16_double_stop.fasta": Right("prrpr", ("stop", "stop", "no residues"), 37, "terminal **"),
    "17_rcsb_headers.fasta": Right("p" * 22, (), 37),
    "20_a3m.a3m": Right("pr", ("'-' at residue 24",), 37),
    "21_genbank.fasta": Right("", ("GenBank",)),
    "22_position_numbers.fasta": Right("rr", ("'1' at residue 1 is a position number", "'37' at residue 38")),
    "23_fastq_protein_looking.fq": Right("", ("FASTQ",)),
    "24_html.fasta": Right("", ("HTML",)),
    "25_json.fasta": Right("", ("JSON",)),
    "26_rtf.fasta": Right("", ("RTF",)),
    "27_cp1252.fasta": Right("ppp", (), 37, "no-break"),
    "28_saprot.fasta": Right("rr", ("SaProt", "structure-aware")),
    "29_semicolon.pearson": Right("", ("'>'",)),
    "31_gz_then_plain.fasta.gz": Right("pp", (), 37),
    "32_gz_zero_padded.fasta.gz": Right("p", (), 37),
    "33_named_gz_but_plain.fasta.gz": Right("p", (), 37),
    "34_proteome.tar": Right("p", (), 37),
    "34_proteome.tar.gz": Right("p", (), 37),
    "35_utf16le_nobom.fasta": Right("", ("UTF-16",)),
    "36_7z.fasta": Right("", ("7z",)),
    "38_lz4.fasta": Right("", ("lz4",)),
    "40_biomart_sequence_unavailable.fa": Right("rp", ("'Sequence unavailable'",), 37),
    "41_missing_values.fasta": Right("rrrrrr", ("None", "nan", "NA", "NULL", "N/A", "MISSING")),
    "42_grep_group_separator.fasta": Right("ppp", (), 37),
    "45_one_char_per_line.fasta": Right("pp", (), 37),
    "46_html_corrupted.fasta": Right("rpp", ("'\"'",), 37),
    "47_old_mac_then_unix.fasta": Right("prprpr", ("'1' at residue 3",), 37),
    "49_low_complexity_protein.fasta": Right("ppp"),
    "50_comments_only_70k.fasta": Right(""),
    "51_comments_then_text_70k.fasta": Right("p", (), 37),
    "52_formula_ids.fasta": Right("pppp", (), 37),
    "53_wrapped_header.fasta": Right("r", ("'wrapped in an email' is words",)),
    "55_rna_dotbracket.fasta": Right("", ("dot-bracket",)),
    "56_a2m.a2m": Right("rr", ("'.' at residue 1", "'-' at residue 8")),
    "57_wrapped_quotes.csv.fasta": Right("", ("CSV",)),
    "58_excel_commas.fasta": Right("r", ("',' at residue 38",)),
    "59_codon_spaced_cds_x.fasta": Right("r", ("nucleotides",)),
    "60_colon_complex.fasta": Right("r", ("':' at residue 38",)),
    "61_unicode_dash_minus.fasta": Right("rrr", ("MINUS SIGN", "ZERO WIDTH SPACE", "CYRILLIC CAPITAL LETTER A")),
    "63_sequence_glued_to_header.faa": Right("p", (), 37, "header ends in 37"),
}  # fmt: skip

shared = [pytest.mark.shared, pytest.mark.skipif(not INTAKE.is_dir(), reason="the shared data is not there")]
pytestmark = shared


class Answer(NamedTuple):
    """The answer for a file."""

    judged: list[Protein | Rejection]
    left_out: int
    refused: str = ""


def read(body: bytes, shard_bytes: int = 1 << 22) -> Answer:
    """A file on the way that `receive` and `split` take, without the storage."""
    try:
        if packing(body[:HEAD_BYTES]):
            inflater = Inflater()
            whole = Seekable(lambda start, end, packed=body: packed[start:end], len(body))  # type: ignore[misc]
            body = b"".join(inflater.text(iter([body]), whole))
        require_fasta(body[:HEAD_BYTES], whole=len(body) <= HEAD_BYTES)
    except InputError as error:
        return Answer([], 0, str(error))
    aws: Any = SimpleNamespace(storage=Storage(Bytes(body), "results"))  # type: ignore[arg-type]
    judged: list[Protein | Rejection] = []
    left_out = 0
    for shard in plan_shards("u", SOURCE, len(body), shard_bytes):
        lines = LineCount()
        records = list(_read(shard, lines, aws))
        left_out += lines.left_out if not judged else 0
        judged += records
    return Answer(judged, left_out)


@pytest.mark.parametrize("shard_bytes", [1 << 22, 1 << 12, 7])
@pytest.mark.parametrize("name", RIGHT)
def test_a_file_as_people_have_it_gets_the_right_answer(name: str, shard_bytes: int) -> None:
    body = (INTAKE / name).read_bytes()
    if len(body) > 10_000 * shard_bytes:
        pytest.skip("more shards than an upload has")
    right, answer = RIGHT[name], read(body, shard_bytes)
    assert "".join("p" if isinstance(one, Protein) else "r" for one in answer.judged) == right.ends
    if not right.ends:
        assert all(word in answer.refused for word in right.names)
        return
    reasons = [one.reason for one in answer.judged if isinstance(one, Rejection)]
    words = right.names * len(reasons) if len(right.names) == 1 else right.names
    assert all(word in reason for word, reason in zip(words, reasons, strict=True)), reasons
    proteins = [one for one in answer.judged if isinstance(one, Protein)]
    if right.residues:
        assert {len(protein.sequence) for protein in proteins} == {right.residues}
    assert not right.remark or any(right.remark in "; ".join(protein.remarks) for protein in proteins)


def test_every_file_has_a_right_answer() -> None:
    assert {path.name for path in INTAKE.glob("[0-9]*")} == set(RIGHT)


def test_accessions_are_those_that_databases_write() -> None:
    answer = read((INTAKE / "17_rcsb_headers.fasta").read_bytes())
    assert [one.accession for one in answer.judged] == [
        "9ABC_1", "9ABC_A", "jgi|Aspni7|1234", "UniRef90_P12345", "AFDB:AF-P12345-F1", "AT1G01010.1", "generic|P1|x",
        "id", "", "idd", "NP_000001.1", "sp||NAME", "P1.2", "X2", "NP_000003.1", "NP_000004.1", "Q9", "S12345",
        "A0A024R161", "NX_P1-2", "P1-2", "NC_1.1_prot_NP_2.1_1",
    ]  # fmt: skip


def test_headers_of_windows_and_the_text_left_out_are_told() -> None:
    headers = [one.header for one in read((INTAKE / "27_cp1252.fasta").read_bytes()).judged]
    assert headers == ["P1 protéine – µ-type", "Pé", "q seq nbsp"]
    assert read((INTAKE / "51_comments_then_text_70k.fasta").read_bytes()).left_out == len("MKVLLL")
    named = read((INTAKE / "34_proteome.tar.gz").read_bytes()).judged
    assert all(one.header.endswith("[file=proteome.faa]") for one in named)


@pytest.mark.parametrize("name", ["uploads/yeast_UP000002311_559292.fasta", "uploads/ecoli_UP000000625_83333.fasta", "uploads/bsubtilis_proteins.faa.gz", "messy/lowercase_protein_lib.fa", "messy/mmseqs_query_500.fasta", "messy/prodigal_stops_938293.faa"])  # fmt: skip
def test_no_protein_of_a_proteome_is_rejected_but_for_what_it_is(name: str) -> None:
    """Stop codons inside pseudogenes, leader peptides shorter than ten residues, contigs that are mostly N."""
    reasons = [one.reason for one in read((SHARED / name).read_bytes()).judged if isinstance(one, Rejection)]
    allowed = ("stop codon", "too few", "are unknown")
    assert all(any(word in reason for word in allowed) for reason in reasons), reasons[:5]


def test_all_nucleotides_of_a_shared_file_are_told() -> None:
    judged = read((SHARED / "messy" / "dna_not_protein_ls_orchid.fasta").read_bytes()).judged
    assert len(judged) == 94 and all(
        isinstance(one, Rejection) and "nucleotides" in one.reason for one in judged
    )
