from typing import Any

import pytest

from functions.domain.fasta import Record
from functions.domain.protein import MAX_RESIDUES, Protein, Rejection, parse_accession, read_protein

NEEDED = "at least 10 known residues, and half of all, are needed to tell a location"


def judge(sequence: bytes, header: bytes = b"P1") -> Protein | Rejection:
    return read_protein(Record(0, 0, header, sequence, len(sequence)))


def reason(sequence: bytes) -> str:
    judged = judge(sequence)
    assert isinstance(judged, Rejection), judged
    return judged.reason


@pytest.mark.parametrize(
    ("header", "accession"),
    [
        (
            "sp|P04637|P53_HUMAN Cellular tumor antigen p53 OS=Homo sapiens OX=9606 GN=TP53 PE=1 SV=4",
            "P04637",
        ),
        ("tr|A7TBS3|A7TBS3_NEMVE Predicted protein (Fragment)", "A7TBS3"),
        ("sp|P04637-2|P53_HUMAN Isoform 2", "P04637-2"),
        ("NP_000537.3 cellular tumor antigen p53 isoform a [Homo sapiens]", "NP_000537.3"),
        ("gi|4959044|gb|AAD34209.1|AF069992_1 LIM domain interacting RING finger protein", "AAD34209.1"),
        ("gi|129295|sp|P01013|OVAX_CHICK GENE X PROTEIN", "129295"),
        ("ref|NP_000537.3| p53", "NP_000537.3"),
        ("pdb|1ABC|A Chain A", "1ABC_A"),
        ("lcl|query1 mine", "query1"),
        ("gnl|mydb|query2", "query2"),
        ("ENSP00000269305.4 pep chromosome:GRCh38:17", "ENSP00000269305.4"),
        ("Q9SMX3 Mitochondrion-M test", "Q9SMX3"),
        ("  spaced out", "spaced"),
        ("9ABC_1|Chains A, B|Something|Homo sapiens (9606)", "9ABC_1"),
        ("9ABC:A|PDBID|CHAIN|SEQUENCE", "9ABC_A"),
        ("9abc_A mol:protein length:37  SOMETHING", "9abc_A"),
        ("jgi|Aspni7|1234|e_gw1.1.1", "jgi|Aspni7|1234"),
        ("nxp|NX_P1-2|X", "NX_P1-2"),
        ("gnl|BL_ORD_ID|7 sp|Q9|N", "Q9"),
        ("P1;CRAB_ANAPL", "CRAB_ANAPL"),
        (">>id two", "id"),
        ("a\x01b", "a"),
        ("a\0", "a"),
        ("", ""),
        ("|||", "|||"),
        ("a/b&c:d e", "a/b&c:d"),
    ],
)
def test_accessions_of_every_dialect(header: str, accession: str) -> None:
    assert parse_accession(header) == accession


def test_case_and_a_terminal_stop_are_forgiven_and_noted() -> None:
    judged = judge(b"mkvUlaagivg*")
    assert isinstance(judged, Protein)
    assert judged.sequence == "MKVULAAGIVG"
    assert judged.remarks == (
        "lower case read as upper case",
        "terminal * removed",
        "short: of 11 residues, a location is hard to tell",
    )


@pytest.mark.parametrize(
    ("sequence", "why"),
    [
        (b"", "the record holds no residues"),
        (b"*", "the record holds no residues"),
        (b"MK*VL", "a stop codon '*' inside the sequence, at residue 3"),
        (b"*MKVL", "a stop codon '*' inside the sequence, at residue 1"),
        (b"MK*X", "a stop codon '*' inside the sequence, at residue 3"),
        (b"MK.VL", "a stop codon '.' inside the sequence, at residue 3, as gffread writes it"),
        (b"MK_VL", "'_', a stop codon or a gap, at residue 3"),
        (b"..MKVL..", "an alignment gap '.' at residue 1, as in an alignment (A2M or A3M); remove the gaps"),
        (b"MKaaVL---", "an alignment gap '-' at residue 7, as in an alignment (A2M or A3M); remove the gaps"),
        (b"MK-VL", "an alignment gap '-' at residue 3, as in an alignment; remove the gaps"),
        (b"MK1V", "'1' at residue 3 is no amino acid"),
        ("MKäV".encode(), "'ä' (U+00E4, LATIN SMALL LETTER A WITH DIAERESIS) at residue 3 is no amino acid"),
        (b"MK\x07V", r"'\x07' at residue 3 is no amino acid"),
        (b"MK\xffV", "'ÿ' (U+00FF, LATIN SMALL LETTER Y WITH DIAERESIS) at residue 3 is no amino acid"),
        (b"XXXX", f"100 % of 4 residues are unknown (X or its like), 0 are known: {NEEDED}"),
        (b"MKVLAAGIV", f"9 residues are too few: {NEEDED}"),
        (
            b"MKVLAAGIVG" + b"X" * 11,
            f"52 % of 21 residues are unknown (X or its like), 10 are known: {NEEDED}",
        ),
        (
            b"CGTAACAAGGTTTCCGTAGGTGAACCTGCGGAAGG",
            "nucleotides: the sequence looks like DNA or RNA; translate it to protein first",
        ),
    ],
)
def test_why_a_record_cannot_be_predicted(sequence: bytes, why: str) -> None:
    assert reason(sequence) == why


def test_short_or_repetitive_proteins_are_not_taken_for_dna() -> None:
    for sequence in (b"GAGAGSGAGAGSGAGAGSGAGAGSGAGAGSGAGAGS", b"A" * 50, b"GA" * 30):
        assert isinstance(judge(sequence), Protein)


@pytest.mark.parametrize(
    ("carried", "remarks"),
    [
        ({"remarks": ["one", "two"]}, ("one", "two")),
        ({"remarks": []}, ()),
        ({"note": "one; two"}, ("one; two",)),
        ({"note": ""}, ()),
    ],
)
def test_a_message_of_either_release_gives_its_protein(
    carried: dict[str, Any], remarks: tuple[str, ...]
) -> None:
    message = {"offset": 0, "line": 0, "accession": "P1", "header": "P1", "sequence": "MKV", **carried}
    assert Protein.from_message(message) == Protein(0, 0, "P1", "P1", "MKV", remarks)


def test_a_protein_too_long_is_rejected_by_its_true_length() -> None:
    judged = read_protein(Record(0, 0, b"P1", b"", 100_000_000))
    assert isinstance(judged, Rejection)
    assert judged.reason == "100,000,000 residues are more than the 100,000 that are read"
    assert isinstance(judge(b"MK" * (MAX_RESIDUES // 2)), Protein)


def test_a_header_of_a_megabyte_is_cut() -> None:
    judged = judge(b"MKV", header=b"<script>" * 131_072)
    assert len(judged.header) == 1_000 and judged.header.endswith("…")
    assert len(judged.accession) == 100
