"""The page of a model with labels of its own, several of them a protein: drawn, filtered, opened, saved, compared."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from functions.domain.fasta import read_records
from functions.domain.locations import LabelSet, Location
from functions.domain.prediction import Prediction
from functions.domain.protein import Protein, read_protein
from functions.domain.rows import FORMATS, Row, columns_of, exported, predicted_row, rejected_row
from functions.page.report import report
from tests.page.made import UPLOAD, about, fasta
from tests.page.seen import number, tally

pytestmark = pytest.mark.page

LABELS = LabelSet(
    (
        Location("Matrix", "Mitochondrial matrix", ("GO:0005759",), (), 0.4),
        Location("Membrane", "Any membrane", ("GO:0016020",), (), 0.5),
        Location("Inner membrane", "Mitochondrial inner membrane", ("GO:0005743", "GO:0016020"), (), 0.3),
        Location("Nucleus", "Cell nucleus", ("GO:0005634",), (), 0.55),
    )
)
UPLOADED = replace(UPLOAD, labels=LABELS)


def rows(text: bytes, seed: int = 3) -> list[Row]:
    """A row for each record, as the exports have it."""
    draw, exports = random.Random(seed), list[Row]()
    for record in read_records([text]):
        one = read_protein(record)
        if not isinstance(one, Protein):
            exports.append(exported(rejected_row(one, LABELS), 0))
            continue
        probabilities = tuple(round(draw.betavariate(0.4, 0.6), 4) for _ in LABELS.names)
        named = [
            each.name
            for each, p in zip(LABELS.locations, probabilities, strict=True)
            if p >= (each.threshold or 1)
        ]
        named = named or [LABELS.names[probabilities.index(max(probabilities))]]
        sure = 1.0
        for name, probability in zip(LABELS.names, probabilities, strict=True):
            sure *= probability if name in named else 1 - probability
        answer = Prediction(
            *(probabilities, None, len(one.sequence), False, sure < 0.2),
            named=tuple(named),
            sure=round(sure, 4),
            names=LABELS.names,
        )
        exports.append(exported(predicted_row(one, answer, UPLOADED), 0))
    return exports


def write(path: Path, exports: list[Row]) -> Path:
    view = about(exports) | {"labels": LABELS.own}
    path.write_bytes(b"".join(report(exports, view, None)))
    return path


@pytest.fixture(scope="module")
def proteome() -> list[Row]:
    return rows(fasta(400))


@pytest.fixture(scope="module")
def written(proteome: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("report") / "report.html", proteome)


def places(row: Row) -> list[str]:
    return (row["location"] or "").split("|")


def test_each_label_has_a_bar_and_no_cell_is_drawn_of_other_places(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    page = open_page(written)
    bars = page.locator(".bar-row").all_inner_texts()
    assert len(bars) == 4 and page.locator("svg.cell").count() == 0
    for label in LABELS.locations:
        [bar] = [text for text in bars if text.startswith(label.display)]
        assert f"\n{sum(label.name in places(row) for row in proteome)} " in bar.replace("\xa0", " ")
    text = page.locator("main").inner_text()
    assert "A protein in several locations is counted in each." in text
    assert "Mitochondrial inner membrane 0.30" in text and "ten places" not in text
    assert Axe().run(page).violations_count == 0


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("location:Membrane", lambda row: "Membrane" in places(row)),
        ('location:"Inner membrane"', lambda row: "Inner membrane" in places(row)),
        ("location:matrix,nucleus", lambda row: {"Matrix", "Nucleus"} & {*places(row)}),
        ("location:mitochondrial", lambda row: {"Matrix", "Inner membrane"} & {*places(row)}),
        ("-location:Membrane status:answered", lambda row: row["location"] and "Membrane" not in places(row)),
    ],
)
def test_the_filter_tells_a_label_from_one_whose_name_holds_it(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], text: str, kept: Callable[[Row], Any]
) -> None:
    page = open_page(written)
    page.get_by_label("Show only").fill(text)
    assert number(tally(page)) == sum(bool(kept(row)) for row in proteome) > 0


def test_a_protein_is_opened_with_all_its_places(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    row = next(row for row in proteome if row["location"] == "Matrix|Inner membrane")
    page = open_page(written)
    page.get_by_label("Show only").fill(row["accession"])
    page.locator("tr[data-at='0'] .opens").click()
    text = page.locator(".protein").inner_text()
    assert "Most probably Mitochondrial matrix and Mitochondrial inner membrane" in text
    assert "GO:0005759" in text and "GO:0016020" in text and "one by one" in text
    assert "The model says nothing about membranes." in text


@pytest.mark.parametrize(("kind", "title"), [("tsv", "Table (TSV)"), ("jsonl", "JSON Lines")])
def test_rows_are_saved_as_the_stack_itself_writes_them(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], kind: str, title: str
) -> None:
    page = open_page(written)
    page.get_by_text("Save these rows").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=title).click()
    text = Path(download.value.path()).read_bytes()
    expected = b"".join(FORMATS[kind](proteome, columns_of(LABELS)))
    if kind == "jsonl":
        assert [*map(json.loads, text.splitlines())] == [*map(json.loads, expected.splitlines())]
    else:
        assert text.decode().split("\n") == expected.decode().split("\n")


def test_another_result_of_the_same_labels_shows_what_moved(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], tmp_path: Path
) -> None:
    there = rows(fasta(400), seed=4)
    page = open_page(written)
    page.get_by_label("File of the other result").set_input_files(write(tmp_path / "report.html", there))
    pairs = [(a, b) for a, b in zip(proteome, there, strict=True) if a["location"] and b["location"]]
    moved = sum(a["location"] != b["location"] for a, b in pairs)
    words = page.locator("section:has(> #compare) .answer").inner_text()
    assert words.startswith("400 records are in both.") and f" {moved} (" in words
    assert page.locator(".flow:not(.stays)").count() == len(
        {(b["location"], a["location"]) for a, b in pairs if a["location"] != b["location"]}
    )


def test_a_result_of_other_labels_has_nothing_to_compare(
    open_page: Callable[..., Any], written: Path, tmp_path: Path
) -> None:
    other = b"".join(
        FORMATS["jsonl"]([{**row, "location": "Plastid"} for row in rows(fasta(10))], columns_of(LABELS))
    )
    (tmp_path / "results.jsonl").write_bytes(other)
    page = open_page(written)
    page.get_by_label("File of the other result").set_input_files(tmp_path / "results.jsonl")
    assert "Of 0 with two answers" in page.locator("section:has(> #compare) .answer").inner_text()
