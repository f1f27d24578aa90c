"""The data of the page: one JSON object, made in one pass, that holds all rows or says their sums."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from functions.domain.rows import Row
from functions.page.data import Data, Sums, dumps
from functions.page.report import report
from tests.hostile.corpus import HEADERS
from tests.page.made import about, fasta, model, rows

ROWS = list(rows(fasta(300)))


def data_of(answers: list[Row], most: int = 1_000) -> Any:
    return json.loads(b"".join(Data(about(answers), model(), most).pieces(answers)))


def test_the_data_holds_every_row_and_what_makes_its_prediction() -> None:
    data = data_of(ROWS)
    assert len(data["rows"]) == len(ROWS)
    names = [location[0] for location in data["locations"]]
    for short, row in zip(data["rows"], ROWS, strict=True):
        assert short[:4] == [row["accession"], row["header"], row["offset"], row["length"]]
        assert [data["remarks"][at] for at in short[4]] == row["remarks"]
        if row["status"] == "predicted":
            assert [unit / 10_000 for unit in short[5]] == [row[f"p:{name}"] for name in names]
            assert short[6:9] == [
                round(row["membrane"] * 10_000),
                row["residues_read"],
                int(row["uncertain"]),
            ]
            places = None if short[10] is None else [names[at] for at in short[10]]
            assert (short[9], places) == (row["relative"], row["locations_90"])
        else:
            assert short[5:] == [row["status"], row["reason"]]


def test_the_warnings_are_those_of_the_upload_and_of_its_rows_each_once() -> None:
    """A report is made before its upload has the rows' warnings, a live page after."""
    foreign = "1 of 1 answers are for proteins of bacteria, and the model knows eukaryotic cells only"
    answers = list(rows(b">a OS=Escherichia coli\nMKVLAAGIVGLCAK\n"))
    for warnings in (["5 characters were left out"], ["5 characters were left out", foreign]):
        view = about(answers) | {"warnings": warnings}
        data = json.loads(b"".join(Data(view, None, 10).pieces(answers)))
        assert data["about"]["warnings"] == ["5 characters were left out", foreign]


def test_the_sums_are_those_of_the_rows() -> None:
    summary = data_of(ROWS)["summary"]
    predicted = [row for row in ROWS if row["status"] == "predicted"]
    assert (summary["predicted"], summary["rejected"]) == (len(predicted), len(ROWS) - len(predicted))
    assert summary["doubtful"] == sum(row["uncertain"] for row in predicted)
    for name, (number, doubtful, bound) in summary["locations"].items():
        there = [row for row in predicted if row["location"] == name]
        assert number == len(there) and doubtful == sum(row["uncertain"] for row in there)
        assert bound == sum(row["membrane"] >= 0.5 for row in there)
    assert sum(map(sum, summary["confidence"])) == len(predicted)


def test_above_the_limit_the_data_holds_the_sums_alone() -> None:
    data = data_of(ROWS, most=len(ROWS) - 1)
    assert data["rows"] is None and data["remarks"] == []
    assert data["summary"] == data_of(ROWS)["summary"]


@pytest.mark.parametrize("most", [0, 1_000])
def test_every_row_gives_one_piece_so_that_formats_go_in_step(most: int) -> None:
    count = 0

    def counted() -> Any:
        nonlocal count
        for row in ROWS:
            count += 1
            yield row

    pieces = Data(about(ROWS), None, most).pieces(counted())
    list(islice(pieces, 51))
    assert count == 50


def test_kinds_of_remarks_are_bounded_however_many_there_are() -> None:
    sums = Sums()
    for number in range(1_000):
        letters = "".join(chr(97 + int(digit)) for digit in str(number))
        sums.count({**ROWS[0], "remarks": [f"remark {letters}"]})
    kinds = dict(sums.found()["remarks"])
    assert len(kinds) == 201 and kinds["others"] == 800


def test_a_model_that_states_what_is_no_number_spoils_nothing() -> None:
    odd = {
        "version": "odd-1",
        "created": None,
        "metrics": {"q10": float("nan"), "locations": {"x": [float("inf")]}},
    }
    data = json.loads(
        b"".join(Data(about(ROWS), odd, 10).pieces(ROWS)), parse_constant=lambda word: pytest.fail(word)
    )
    assert data["model"]["metrics"] == {"q10": None, "locations": {"x": [None]}}


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_ends_the_script_that_the_data_stands_in(name: str) -> None:
    text = dumps([HEADERS[name].decode("utf-8", "surrogateescape")])
    assert b"<" not in text and text.isascii() and len(text.splitlines()) == 1


def test_a_report_of_a_proteome_is_below_three_megabytes() -> None:
    answers = list(rows(fasta(6_000)))
    assert sum(map(len, report(answers, about(answers), model()))) < 3_000_000
