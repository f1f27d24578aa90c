from functions.protein import Protein, Rejection
from functions.rows import COLUMNS, FORMATS, Row, dump_part, exported, load_part, predicted_row, rejected_row
from tests.functions.world import answer_for
from tests.hostile.corpus import HEADERS, shown

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
    protein = Protein(0, 0, "P1", "P1 x", "MKV", ("lower case read as upper case", "terminal * removed"))
    row = exported(predicted_row(protein, answer_for("MKV"), "m-1"), first_line=0)
    assert tuple(row) == COLUMNS
    assert (row["location"], row["go"], row["reason"]) == (
        "Nucleus",
        "GO:0005634",
        "lower case read as upper case; terminal * removed",
    )
    cells = dict(zip(COLUMNS, text("tsv", [row]).split("\n")[1].split("\t"), strict=True))
    assert (cells["confidence"], cells["p:Nucleus"], cells["truncated"]) == ("0.9100", "0.9100", "false")
