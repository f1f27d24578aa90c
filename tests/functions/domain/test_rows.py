import json

from functions.domain.protein import Protein, Rejection
from functions.domain.rows import (
    COLUMNS,
    FORMATS,
    Row,
    dump_part,
    exported,
    load_part,
    predicted_row,
    rejected_row,
)
from functions.domain.upload import Source, Upload
from tests.functions.world import ROOT, answer_for
from tests.hostile.corpus import HEADERS, shown

UPLOAD = Upload("u" * 26, Source("uploads", "a.fasta", "null"), 9, "m-1", "2026-11-25T12:00:00Z", 0, True)
CHANGED = ("lower case read as upper case", "terminal * removed")
HOSTILE = [shown(header) for header in HEADERS.values()]


def row_with(header: str) -> Row:
    return rejected_row(Rejection(7, 2, header[:100], header, 3, "why"))


def text(kind: str, rows: list[Row]) -> str:
    return b"".join(FORMATS[kind](rows)).decode("utf-8")


def test_a_part_gives_back_its_rows() -> None:
    rows = [row_with(header) for header in HOSTILE]
    assert load_part(dump_part(rows)) == rows


def test_the_reason_for_a_missing_answer_names_the_line() -> None:
    assert exported(row_with("x"), first_line=10)["reason"] == "line 13: why"


def test_a_predicted_row_has_every_column() -> None:
    protein = Protein(0, 0, "P1", "P1 x", "MKV", CHANGED)
    row = exported(predicted_row(protein, answer_for("MKV"), UPLOAD), first_line=0)
    assert tuple(row) == COLUMNS
    assert (row["location"], row["go"], row["reason"]) == ("Nucleus", "GO:0005634", None)
    assert row["remarks"] == list(CHANGED)
    cells = dict(zip(COLUMNS, text("tsv", [row]).split("\n")[1].split("\t"), strict=True))
    assert (cells["confidence"], cells["p:Nucleus"], cells["truncated"]) == ("0.9100", "0.9100", "false")
    assert cells["remarks"] == "lower case read as upper case; terminal * removed"


def test_the_second_location_is_another_one_even_if_it_is_as_probable() -> None:
    answer = answer_for("MKV")._replace(probabilities=(0.3, 0.3, *[0.05] * 8), uncertain=True)
    row = predicted_row(Protein(0, 0, "P1", "P1", "MKV", ()), answer, UPLOAD)
    assert (row["location"], row["second"], row["second_confidence"]) == ("Cell.membrane", "Cytoplasm", 0.3)
    assert row["uncertain"] is True


def test_a_row_that_an_older_release_kept_has_every_column_of_today() -> None:
    """Its reason named the changes on reading; its second location follows from its probabilities."""
    older_rows = json.loads((ROOT / "events" / "result-rows.json").read_text())
    new = {"uncertain", "second", "second_confidence", "relative", "locations_90", "remarks"}
    old = [
        {name: value for name, value in row.items() if name not in new} | {"line": 0} for row in older_rows
    ]
    old[0]["reason"] = "terminal * removed"
    predicted, rejected = load_part(dump_part(old))
    assert {*predicted} == {*rejected} == {*COLUMNS, "line"}
    assert (predicted["reason"], predicted["remarks"]) == (None, ["terminal * removed"])
    assert (predicted["second"], predicted["second_confidence"]) == ("Endoplasmic.reticulum", 0.05)
    assert predicted["relative"] is None and predicted["locations_90"] is None
    assert predicted["uncertain"] is None  # by a threshold that nobody kept
    assert (rejected["reason"], rejected["remarks"]) == (old[1]["reason"], [])
