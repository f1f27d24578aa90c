"""Labels are read by name, unknown membranes stay unknown, and every process plans the same steps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.learning.loss import class_weights
from model.proteins.labelled import (
    LOCATIONS,
    LabelError,
    LabelledProtein,
    entries,
    parse_header,
    read_channel,
    read_labelled,
    table,
)
from tests.model.tiny import write_labelled


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Q9H400 Cell.membrane-M test", ("Q9H400", ("Cell.membrane",), 1.0, True)),
        ("P1 Lysosome/Vacuole-S", ("P1", ("Lysosome/Vacuole",), 0.0, False)),
        ("P1 Cytoplasm-Nucleus-U", ("P1", ("Cytoplasm",), -1.0, False)),
        ("P1  Nucleus-U ", ("P1", ("Nucleus",), -1.0, False)),
    ],
)
def test_a_header_splits_at_its_last_hyphen(header: str, expected: tuple[object, ...]) -> None:
    assert parse_header(header, "line 1") == expected


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("P1 Nukleus-S", "file.fasta line 3: unknown location 'Nukleus'"),
        ("P1 Nucleus", "file.fasta line 3: expected a label ending in -M, -S or -U, found 'Nucleus'"),
        ("P1 Nucleus-Q", "ending in -M, -S or -U"),
        ("P1", "found 1 words"),
        ("P1 Nucleus-S train", "found 3 words"),
    ],
)
def test_a_wrong_header_is_an_error_naming_its_line(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "file.fasta"
    path.write_text(f">P0 Nucleus-S\nMKV\n>{header}\nMKV\n")
    with pytest.raises(LabelError, match=message):
        read_labelled(path)


def test_sequences_are_joined_in_upper_case_without_their_stop(tmp_path: Path) -> None:
    path = tmp_path / "file.fasta"
    path.write_text("\n>P0 Nucleus-S\nMk\n\nv*\r\n>P1 Plastid-M test\nMM", newline="")
    first, second = read_labelled(path)
    assert (first.sequence, first.location, first.test) == ("MKV", LOCATIONS.index("Nucleus"), False)
    assert (second.sequence, second.membrane, second.test) == ("MM", 1.0, True)


@pytest.mark.parametrize("body", ["", "MK1V", "MK V\n>", "MKé"])
def test_a_record_that_cannot_be_learned_from_is_an_error(tmp_path: Path, body: str) -> None:
    path = tmp_path / "file.fasta"
    path.write_text(f">P0 Nucleus-S\n{body}\n", encoding="utf-8")
    with pytest.raises(LabelError, match="line"):
        read_labelled(path)


def test_text_before_the_first_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.fasta"
    path.write_text("MKV\n>P0 Nucleus-S\nMKV\n")
    with pytest.raises(LabelError, match="line 1"):
        read_labelled(path)


def test_a_channel_is_every_fasta_file_of_its_folder(tmp_path: Path) -> None:
    write_labelled(tmp_path / "a.fasta", 3)
    write_labelled(tmp_path / "b.fa", 2, seed=1)
    (tmp_path / "notes.md").write_text("no proteins")
    assert len(read_channel(tmp_path)) == 5
    with pytest.raises(LabelError, match="found none"):
        read_channel(tmp_path / "nowhere")


TABLE = "membrane\tsequence\taccession\tnote\tlocation\tsplit\n"


def test_a_table_names_its_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(
        f"\ufeff{TABLE}M\tmkv*\tP1\tx\tGolgi.apparatus\ttrain\r\n\nU\tMA\tP2\t\tCytoplasm-Nucleus\ttest\n\tMW\tP3\t\tPlastid\t\n",
        newline="",
    )
    assert read_channel(tmp_path) == [
        LabelledProtein("P1", "MKV", LOCATIONS.index("Golgi.apparatus"), 1.0, False),
        LabelledProtein("P2", "MA", LOCATIONS.index("Cytoplasm"), -1.0, True),
        LabelledProtein("P3", "MW", LOCATIONS.index("Plastid"), -1.0, False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accession\tsequence\tlocation\n", "labelled.tsv line 1: expected columns .* no membrane"),
        (f"{TABLE}M\tMKV\tP1\n", "labelled.tsv line 2: expected 6 columns, found 3"),
        (f"{TABLE}X\tMKV\tP1\t\tNucleus\t\n", "line 2: expected membrane M, S, U or nothing, found 'X'"),
        (f"{TABLE}S\tMK1\tP1\t\tNucleus\t\n", "line 2: expected residues A-Z, found others"),
        (f"{TABLE}S\tMKV\tP1\t\tNukleus\t\n", "line 2: unknown location 'Nukleus'"),
        (f"{TABLE}S\tMKV\tP 1\t\tNucleus\t\n", "line 2: expected an accession without spaces"),
    ],
)
def test_a_wrong_table_is_an_error_naming_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_labelled(path)


def test_a_table_and_fasta_of_the_same_proteins_are_the_same(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 30, test=5))
    letters = {1.0: "M", 0.0: "S", -1.0: "U"}
    rows = [
        (letters[p.membrane], p.sequence, p.accession, "", LOCATIONS[p.location], "test" if p.test else "")
        for p in proteins
    ]
    path = tmp_path / "all.tsv"
    path.write_text(TABLE + "".join("\t".join(row) + "\n" for row in rows))
    assert read_labelled(path) == proteins


def test_balance_lifts_rare_locations_and_keeps_the_mean(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 100))
    skewed = [protein for protein in proteins if protein.location] + proteins[:20:10]
    assert class_weights(skewed, 0.0) == pytest.approx(np.ones(10))
    weights = class_weights(skewed, 0.5)
    assert weights[0] == pytest.approx(weights[1] * (10 / 2) ** 0.5, rel=1e-5)
    assert np.mean([weights[protein.location] for protein in skewed]) == pytest.approx(1.0)


def test_reading_on_past_what_is_wrong_costs_no_other_record() -> None:
    text = b"what\nis this\n>P0 Nucleus-S\nMKV\n>P1 Nukleus-S\nMKV\n>P2 Nucleus\nM\n>P3 Nucleus-M\nMK1\n>P4 Nucleus-U\nM\nA\n>\xff Nucleus-S\nM\n"
    records = list(entries(io.BytesIO(text), "labels/x.fasta"))
    assert [number for number, _ in records] == [1, 3, 5, 7, 9, 11, 14]
    assert [each.accession if isinstance(each, LabelledProtein) else type(each).__name__ for _, each in records] == [
        "LabelError", "P0", "UnknownLocation", "LabelError", "LabelError", "P4", "LabelError",
    ]  # fmt: skip
    assert str(records[2][1]).startswith(
        "labels/x.fasta line 5: unknown location 'Nukleus'; expected one of Cell.m"
    )


def test_a_table_is_read_past_its_wrong_lines_and_not_without_its_columns() -> None:
    rows = f"{TABLE}S\tMKV\tP1\t\tNucleus\t\nS\tMKV\tP2\n\nS\tMAA\tP3\t\tPlastid\ttest\n".encode()
    records = list(entries(io.BytesIO(rows), "x.TSV"))
    assert [(number, isinstance(each, LabelError)) for number, each in records] == [
        (2, False),
        (3, True),
        (5, False),
    ]
    (missing,) = entries(io.BytesIO(b"a\tb\nS\tMKV\n"), "x.tsv")
    assert missing[0] == 1 and "expected columns" in str(missing[1])
    (other,) = entries(io.BytesIO(b"S\tMKV\n"), "x.csv")
    assert "expected a file ending in .fasta" in str(other[1])


def test_an_error_repeats_little_of_what_stands_in_the_file() -> None:
    row = f"{TABLE}S\tNucleus\tP1\t\t{'MKV' * 1000}\t\n".encode()
    ((_, wrong),) = entries(io.BytesIO(row), "x.tsv")
    assert isinstance(wrong, LabelError) and len(wrong.problem) < 300


@given(content=st.binary(max_size=300), suffix=st.sampled_from((".fasta", ".tsv")))
def test_no_bytes_stop_the_reading(content: bytes, suffix: str) -> None:
    header = TABLE.encode() if suffix == ".tsv" else b">P0 Nucleus-S\nMKV\n"
    numbers = [number for number, _ in entries(io.BytesIO(header + content), f"x{suffix}")]
    assert numbers == sorted(set(numbers))


SAFE = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1).filter(
    lambda text: "\ufffd" not in text
)


@given(
    st.lists(
        st.builds(
            LabelledProtein,
            SAFE,
            st.text("ACDEFGHIKLMNPQRSTVWYXBZUO", min_size=1),
            st.integers(0, 9),
            st.sampled_from((-1.0, 0.0, 1.0)),
            st.just(False),
        )
    )
)
def test_a_written_table_reads_back_as_the_same(proteins: list[LabelledProtein]) -> None:
    assert [protein for _, protein in entries(io.BytesIO(table(proteins)), "proteins.tsv")] == proteins
