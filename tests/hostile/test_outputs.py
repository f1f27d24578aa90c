"""Outputs for any header: one row a record, and nothing that acts.

JSON Lines, Parquet and the API give the header as it is, in an encoding in which nothing acts: ASCII with
escapes, or lengths. CSV, and TSV that is asked for with `--spreadsheet`, give it defused: no formula. TSV is
for programs: an accession is as its database writes it. All tables hold printing characters alone. In all of
them a header is the text of its bytes as UTF-8, blanks around it gone, and ends after 1,000 characters.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet
import pytest

from functions.domain.protein import MAX_ACCESSION_CHARACTERS
from functions.domain.rows import COLUMNS
from tests.hostile.conftest import Carried
from tests.hostile.corpus import HEADERS, shown

FORMULA = re.compile(r"""[\s"']*[=+\-@＝＋－＠]""")


EXPECTED = ["first", *(shown(header) for header in HEADERS.values() for _ in range(2))]
STATUSES = ["predicted", *(status for _ in HEADERS for status in ("predicted", "rejected"))]


def test_the_corpus_is_large_and_its_headers_are_different() -> None:
    assert len(HEADERS) >= 50 and len(set(HEADERS.values())) == len(HEADERS)
    assert not any(set(header) & set(b"\r\n") for header in HEADERS.values())


@pytest.mark.parametrize("split", [bytes.splitlines, lambda body: body.decode().splitlines()], ids=["bytes", "text"])  # fmt: skip
def test_json_lines_are_one_a_record_for_any_reader_and_give_headers_as_they_are(
    carried: Carried, split: object
) -> None:
    body = carried.files["jsonl"].read_bytes()
    rows = [json.loads(line) for line in split(body)]  # type: ignore[operator]
    assert [row["header"] for row in rows] == EXPECTED
    assert [row["status"] for row in rows] == STATUSES
    assert body.isascii() and body.decode().replace("\n", "").isprintable()


def test_parquet_is_one_row_a_record_and_gives_headers_as_they_are(carried: Carried) -> None:
    table = pyarrow.parquet.read_table(carried.files["parquet"])
    assert table.column("header").to_pylist() == EXPECTED
    assert table.column("status").to_pylist() == STATUSES


def test_the_api_lists_one_row_a_record_and_gives_headers_as_they_are(carried: Carried) -> None:
    assert [row["header"] for row in carried.listed] == EXPECTED
    assert [row["status"] for row in carried.listed] == STATUSES


def cells(path: Path, dialect: str) -> list[list[str]]:
    """A table as a spreadsheet set to `dialect` cuts it, or as `cut` and `awk` do."""
    text = path.read_bytes().decode()
    if dialect == "lines":
        return [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    if dialect == "semicolon":
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))
    return list(csv.reader(io.StringIO(text, newline=""), dialect))


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("tsv", "lines"),
        ("tsv", "excel-tab"),
        ("spreadsheet", "lines"),
        ("spreadsheet", "excel-tab"),
        ("csv", "excel"),
    ],
)
def test_a_table_is_one_row_a_record_for_any_reader(carried: Carried, name: str, dialect: str) -> None:
    columns, *rows = cells(carried.files[name], dialect)
    assert tuple(columns) == COLUMNS
    assert [row[COLUMNS.index("status")] for row in rows] == STATUSES
    assert {len(row) for row in rows} == {len(COLUMNS)}


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("spreadsheet", "lines"), ("spreadsheet", "excel-tab"), ("csv", "excel"), ("csv", "semicolon"), ("spreadsheet", "excel"), ("spreadsheet", "semicolon")],
)  # fmt: skip
def test_no_cell_of_a_table_is_a_formula_however_it_is_cut(carried: Carried, name: str, dialect: str) -> None:
    formulas = [cell for row in cells(carried.files[name], dialect) for cell in row if FORMULA.match(cell)]
    quote = '"' if dialect == "lines" else ""  # a reader of plain lines sees the quotes of a cell
    assert all(cell.removeprefix(quote).startswith("'") for cell in formulas), formulas
    assert len(formulas) > 10  # the corpus did try


@pytest.mark.parametrize("name", ["tsv", "csv", "spreadsheet"])
def test_every_character_of_a_table_is_one_that_prints(carried: Carried, name: str) -> None:
    text = carried.files[name].read_bytes().decode()
    assert text.replace("\t", "").replace("\n", "").isprintable()


def test_tables_change_nothing_that_is_harmless(carried: Carried) -> None:
    for name, dialect in (("tsv", "lines"), ("spreadsheet", "lines"), ("csv", "excel")):
        headers = [row[COLUMNS.index("header")] for row in cells(carried.files[name], dialect)[1:]]
        for harmless in ("other scripts", "Hebrew and Arabic", "combining", "backslash", "shell", "null", "up"):  # fmt: skip
            assert headers.count(shown(HEADERS[harmless])) == 2, (name, harmless)


def as_r_reads(line: str) -> list[str]:
    """A line of a table as R's `read.delim` cuts it: a quotation mark begins a quoted part wherever it stands.

    https://github.com/wch/r-source/blob/trunk/src/main/scan.c, `fillBuffer`
    """
    cells, quoted, at = [""], False, 0
    while at < len(line):
        letter = line[at]
        if quoted and line[at : at + 2] == '""':
            cells[-1] += letter
            at += 1
        elif letter == '"':
            quoted = not quoted
        elif letter == "\t" and not quoted:
            cells.append("")
        else:
            cells[-1] += letter
        at += 1
    assert not quoted, "R would go on reading in the next line"
    return cells


@pytest.mark.parametrize("reader", ["cut", "pandas", "R"])
def test_names_of_tsv_join_those_of_json_lines(carried: Carried, reader: str) -> None:
    rows = [json.loads(line) for line in carried.files["jsonl"].read_bytes().splitlines()]
    if reader == "R":
        lines = carried.files["tsv"].read_bytes().decode().removesuffix("\n").split("\n")
        table = [as_r_reads(line) for line in lines][1:]
    else:
        table = cells(carried.files["tsv"], "lines" if reader == "cut" else "excel-tab")[1:]
    for name in ("accession", "header"):
        column = [row[COLUMNS.index(name)] for row in table]
        plain = [
            (row[name], text)
            for row, text in zip(rows, column, strict=True)
            if row[name].isprintable() and not (reader == "cut" and '"' in row[name])
        ]
        assert all(one == other for one, other in plain)
        assert sum(one[:1] in "=+-@" for one, _ in plain if one) > 6
        assert reader == "cut" or any('"' in one for one, _ in plain)


def test_every_accession_is_found_through_the_api_and_finds_its_own(carried: Carried) -> None:
    for name, (status, answer) in carried.asked.items():
        header = shown(HEADERS[name])
        if not header:
            assert status == 404, name  # a record without a name can't be asked for by it
            continue
        assert status == 200, (name, answer)
        predictions = answer["predictions"]
        assert [row["header"] for row in predictions].count(header) == EXPECTED.count(header), name
        assert len({row["accession"] for row in predictions}) == 1
        assert 0 < len(predictions[0]["accession"]) <= MAX_ACCESSION_CHARACTERS


def test_the_log_has_one_json_object_a_line_and_no_text_of_the_file(carried: Carried) -> None:
    lines = carried.log.splitlines()
    assert len(lines) > 10
    for line in lines:
        assert {"level", "message", "timestamp"} <= json.loads(line).keys()
        assert line.isprintable()
    for text in ("alert(1)", "jndi", "etc/passwd", "P1", "xxxx", "MKVL", "AAAA", "fasta"):
        assert text not in carried.log, text


def test_the_upload_is_complete_and_its_own_name_is_as_harmless(carried: Carried) -> None:
    manifest = json.loads(carried.manifest)
    assert manifest["status"] == carried.view["status"] == "complete"
    assert manifest["records"] == carried.view["records"] == len(EXPECTED)
    assert manifest["source"]["key"] == carried.view["key"]
    assert carried.manifest.isascii() and carried.manifest.decode().replace("\n", "").isprintable()
