"""The table of a report in a real browser: filtered, sorted, walked, saved, and held against another result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

import functions.page.report
from functions.domain.rows import FORMATS, Row
from tests.hostile.corpus import HEADERS
from tests.page.made import fasta, rows, write
from tests.page.seen import number, tally
from tests.waiting import until

pytestmark = pytest.mark.page


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("confidence>0.8", lambda row: (row["confidence"] or 0) > 0.8),
        ("location:nucleus,golgi", lambda row: row["location"] in ("Nucleus", "Golgi.apparatus")),
        ('location:"cell membrane" length<200', lambda row: row["location"] == "Cell.membrane" and row["length"] < 200),
        ("-location:nucleus status:answered", lambda row: row["status"] == "predicted" and row["location"] != "Nucleus"),
        ("membrane:yes doubtful:no", lambda row: row["status"] == "predicted" and row["membrane"] >= 0.5 and not row["uncertain"]),
        ('remark:"lower case"', lambda row: any("lower case" in remark for remark in row["remarks"])),
        ("P0000", lambda row: "P0000" in row["header"]),
        ("status:rejected reason:residue", lambda row: row["status"] == "rejected"),
        ("confidence>=50%", lambda row: (row["confidence"] or 0) >= 0.5),
    ],
)  # fmt: skip
def test_the_filter_keeps_what_its_words_say(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], text: str, kept: Callable[[Row], bool]
) -> None:
    page = open_page(written)
    page.get_by_label("Show only").fill(text)
    assert number(tally(page)) == sum(map(kept, proteome)) > 0


@pytest.mark.parametrize(
    ("text", "word"),
    [("lenght<200", "There is no field “lenght”"), ("confidence>high", "comes a number"), ("confidence:high", "for a number write"), ("location>3", "is no number")],
)  # fmt: skip
def test_a_filter_that_means_nothing_is_explained(
    open_page: Callable[..., Any], written: Path, text: str, word: str
) -> None:
    page = open_page(written)
    page.get_by_label("Show only").fill(text)
    assert word in page.locator("#q-help").inner_text()
    assert tally(page) == "1,000 records"


def test_the_table_sorts_by_every_column_and_keeps_what_has_no_answer_last(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    page = open_page(written)
    first = page.locator("tr[data-at='0'] .opens")
    page.get_by_role("button", name="Confidence").click()
    best = max((row for row in proteome if row["status"] == "predicted"), key=lambda row: row["confidence"])
    assert first.inner_text() == best["accession"]
    page.get_by_role("button", name="Confidence").click()
    worst = min((row for row in proteome if row["status"] == "predicted"), key=lambda row: row["confidence"])
    assert first.inner_text() == worst["accession"]
    page.get_by_role("button", name="Length").click()
    assert first.inner_text() == max(proteome, key=lambda row: row["length"])["accession"]
    page.locator(".scroller").evaluate("box => box.scrollTop = box.scrollHeight")
    page.wait_for_selector("tr[data-at='999']")


@pytest.mark.parametrize(
    ("kind", "title"),
    [("tsv", "Table (TSV)"), ("csv", "Table for a spreadsheet (CSV)"), ("jsonl", "JSON Lines")],
)
def test_rows_are_saved_as_the_stack_itself_writes_them(
    open_page: Callable[..., Any], tmp_path: Path, kind: str, title: str
) -> None:
    headers = [
        header for header in HEADERS.values() if len(header) < 5_000 and not set(header) & set(b"\n\r")
    ]
    answers = list(
        rows(b"".join(b">%b\nMKVLAAGIVGLCAK\n>%b\nMK1V\n" % (header, header) for header in headers))
    )
    page = open_page(write(tmp_path / "report.html", answers))
    page.get_by_text("Save these rows").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=title).click()
    text = Path(download.value.path()).read_bytes()
    expected = b"".join(FORMATS[kind](answers))
    if kind == "jsonl":
        assert [json.loads(line) for line in text.splitlines()] == [
            json.loads(line) for line in expected.splitlines()
        ]
    else:
        assert text.decode().split("\n") == expected.decode().split("\n")


def test_a_hundred_thousand_rows_are_in_the_table_and_few_in_the_document(
    open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions.page.report, "REPORT_ROWS", 200_000)
    few = list(rows(fasta(100)))
    answers = [{**few[at % 100], "offset": at} for at in range(100_000)]
    page = open_page(write(tmp_path / "report.html", answers))
    assert tally(page) == "100,000 records"
    page.get_by_role("button", name="Confidence").click()
    page.get_by_label("Show only").fill("location:nucleus confidence>0.5")
    assert number(tally(page)) == sum(
        row["location"] == "Nucleus" and row["confidence"] > 0.5 for row in answers
    )
    page.get_by_label("Show only").fill("")
    page.wait_for_selector(".tally:text-is('100,000 records')")  # drawn anew, and as long as before
    page.locator(".scroller").evaluate("box => box.scrollTop = box.scrollHeight")
    page.wait_for_selector("tr[data-at='99999']")
    assert page.locator(".scroller tbody tr").count() < 100


def moved_on(answers: list[Row]) -> list[Row]:
    """The same proteins as another model might answer: every nucleus is the cytoplasm, and one record is gone."""
    changed = []
    for row in answers[1:]:
        if row["location"] == "Nucleus":
            row = {
                **row,
                "location": "Cytoplasm",
                "p:Cytoplasm": row["p:Nucleus"],
                "p:Nucleus": row["p:Cytoplasm"],
            }
        changed.append(row)
    return changed


@pytest.mark.parametrize("kind", ["report.html", "results.jsonl"])
def test_another_result_shows_what_moved_and_leads_to_those_proteins(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], tmp_path: Path, kind: str
) -> None:
    there = moved_on(proteome)
    if kind == "report.html":
        write(tmp_path / kind, there)
    else:
        (tmp_path / kind).write_bytes(b"".join(FORMATS["jsonl"](there)))
    moved = sum(row["location"] == "Nucleus" for row in proteome[1:])
    page = open_page(written)
    page.get_by_label("File of the other result").set_input_files(tmp_path / kind)
    words = page.locator("section:has(> #compare) .answer").inner_text()
    assert (
        words.startswith("999 records are in both.")
        and f" {moved} (" in words
        and "1 are only here." in words
    )
    assert page.locator(".moves li").count() == 1 and page.locator(".flow:not(.stays)").count() == 1
    assert Axe().run(page).violations_count == 0
    page.locator(".moves button").click()
    assert number(tally(page)) == moved
    page.locator("tr[data-at='0'] .opens").click()
    assert "in the cytoplasm, confidence" in page.locator(".protein").inner_text()


def test_what_is_no_result_is_not_compared(
    open_page: Callable[..., Any], written: Path, tmp_path: Path
) -> None:
    page = open_page(written)
    for number_of, text in enumerate(
        ("no result", "", "{}", "[1]", "<p>", '<script id="data">{', '{"accession": 1}')
    ):
        file = tmp_path / f"{number_of}.html"
        file.write_text(text)
        page.get_by_label("File of the other result").set_input_files(file)
        words = page.locator("section:has(> #compare) .problem:not(:empty)").inner_text()
        assert "results" in words and "'in' operator" not in words
        assert page.locator(".flows").count() == 0


def test_the_table_is_walked_by_keys(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    page = open_page(written)
    page.keyboard.press("/")
    until(lambda: page.evaluate("document.activeElement.id") == "q")
    page.locator("tr[data-at='0'] .opens").focus()
    for at in range(1, 40):
        page.keyboard.press("ArrowDown")
        # Not `wait_for_function`, which asks again by an eval that the page's policy forbids.
        until(lambda: page.evaluate("document.activeElement.closest('tr')?.dataset.at") == str(at))  # noqa: B023
    page.keyboard.press("Enter")
    page.wait_for_selector(".protein")
    assert page.locator("#protein-title").inner_text() == proteome[39]["accession"]
