"""The report in a real browser: its content, its use, and its accessibility."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

import functions.page.report
from functions.domain.rows import Row
from tests.hostile.corpus import HEADERS
from tests.page.made import rows, write
from tests.page.seen import number, tally
from tests.waiting import until

pytestmark = pytest.mark.page

WIDTHS = (360, 768, 1280)


def test_the_first_line_says_what_happened_and_its_numbers_filter(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    page = open_page(written)
    doubtful = sum(bool(row["uncertain"]) for row in proteome)
    rejected = sum(row["status"] == "rejected" for row in proteome)
    words = f"1,000 records: {1_000 - rejected} answered, {doubtful} of them doubtful; {rejected} not read as proteins."
    assert page.locator("h1").inner_text() == words
    page.get_by_role("button", name=f"{doubtful} of them doubtful").click()
    assert number(tally(page)) == doubtful
    page.get_by_role("button", name=f"{rejected} not read as proteins").click()
    assert number(tally(page)) == number(page.locator(".filter-note strong").inner_text())
    page.get_by_role("button", name="1,000 records").click()
    assert tally(page) == "1,000 records"


@pytest.mark.parametrize("place", [".cell [role=button]", ".bar-row"])
def test_a_press_on_a_compartment_or_its_bar_shows_its_proteins_alone(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], place: str
) -> None:
    page = open_page(written)
    target = page.locator(f"{place}.at-nucleus")
    there = sum(row["location"] == "Nucleus" for row in proteome)
    target.focus()
    page.keyboard.press("Enter")
    assert number(tally(page)) == there
    assert target.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")
    assert tally(page) == "1,000 records"


def test_a_protein_says_all_that_is_known_of_it_and_leads_to_its_database_alone(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    text = (
        b">sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606\nmkvlaagivglcakaystwdekrhfpqnll*\n"
        b">NP_000537.3 cellular tumor antigen p53 [Homo sapiens]\nMKVLAAGIVGLCAKAYSTWDEKRHFPQNLLV\n"
        b">P12345 of nobody's database\nMKVLAAGIVGLCAKAYSTWDEKRHFPQNLLVA\n"
    )
    answers = list(rows(text))
    page = open_page(write(tmp_path / "report.html", answers))
    page.get_by_role("button", name="P01308").click()
    panel = page.locator(".protein")
    words = panel.inner_text()
    until(lambda: page.evaluate("document.activeElement.id") == "protein-title")
    assert "lower case read as upper case" in words and "terminal * removed" in words
    assert panel.locator(".chances tr").count() == 10
    addresses = [link.get_attribute("href") for link in panel.locator("dd a").all()]
    assert "https://www.uniprot.org/uniprotkb/P01308" in addresses
    assert "https://www.ebi.ac.uk/QuickGO/annotations?geneProductId=P01308" in addresses
    page.keyboard.press("Escape")
    until(lambda: page.evaluate("document.activeElement.textContent") == "P01308")
    page.get_by_role("button", name="NP_000537.3").click()
    assert (
        panel.get_by_role("link", name="NCBI").count() == 1
        and panel.get_by_role("link", name="UniProt").count() == 0
    )
    page.get_by_role("button", name="The next protein in the table").click()
    page.wait_for_selector("#protein-title:has-text('P12345')")
    assert panel.get_by_role("link", name="UniProt").count() == 0


def test_a_link_shows_another_person_the_same(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    page = open_page(written)
    page.get_by_label("Show only").fill("location:nucleus")
    page.get_by_role("button", name="Confidence").click()
    page.locator("tr[data-at='1'] .opens").click()
    name = page.locator("#protein-title").inner_text()
    other = open_page(page.url)
    assert other.locator("#protein-title").inner_text() == name
    assert other.get_by_label("Show only").input_value() == "location:nucleus"
    assert tally(other) == tally(page)
    other.go_back()


def test_no_header_becomes_anything_but_text(open_page: Callable[..., Any], tmp_path: Path) -> None:
    headers = [header for header in HEADERS.values() if len(header) < 100_000]
    answers = list(
        rows(b"".join(b">%b\nMKVLAAGIVGLCAK\n>%b\nMK1V\n" % (header, header) for header in headers))
    )
    key = "2026-11-26/1/<img src=x onerror=alert(1)>\u202e.fasta"
    page = open_page(
        write(
            tmp_path / "report.html", answers, key=key, reason="<script>alert(1)</script>", status="partial"
        )
    )
    assert page.locator("img, script:not([type]) ~ script, iframe, object").count() == 0
    for at in range(0, len(answers), 7):
        page.evaluate("offset => { location.hash = `protein=${offset}`; }", answers[at]["offset"])
        page.wait_for_selector(f".protein dd:has-text('byte {answers[at]['offset']:,}')")
        assert all(
            address.startswith("https://")
            for address in page.locator(".protein a").evaluate_all("links => links.map((link) => link.href)")
        )
        page.keyboard.press("Escape")
    assert page.locator(".mark").inner_text() == "protloc"


def test_a_long_upload_is_shown_by_its_sums(
    open_page: Callable[..., Any], tmp_path: Path, proteome: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions.page.report, "REPORT_ROWS", 10)
    page = open_page(write(tmp_path / "report.html", proteome))
    assert page.locator("h1").inner_text().startswith("1,000 records")
    assert page.locator(".bar-row").count() == 10
    assert "s3://results/results/" in page.locator("section:has(> #proteins)").inner_text()
    assert page.locator(".scroller").count() == 0


def test_an_upload_without_an_answer_says_so(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(write(tmp_path / "report.html", list(rows(b">a\nMK1V\n"))))
    assert page.locator("h1").inner_text() == "1 record: 0 answered; 1 not read as proteins."
    assert "No protein of this file was answered" in page.locator("main").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nobody_is_shut_out_at_any_width(
    open_page: Callable[..., Any], written: Path, proteome: list[Row], width: int, scheme: str
) -> None:
    """Axe finds no violation, and nothing stands beside the page, in the whole, filtered, and with a protein open."""
    page = open_page(
        written, viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    steps = {
        "": "h1",
        "#q=location%3ANucleus": ".filter-note",
        f"#protein={proteome[2]['offset']}": ".protein",
        "#q=lenght<3": "#q-help:not(:empty)",
    }
    for step, selector in steps.items():
        page.evaluate("hash => { location.hash = hash; }", step)
        page.wait_for_selector(selector)
        report = Axe().run(page)
        assert report.violations_count == 0, report.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_proteome_prints_on_few_sheets(open_page: Callable[..., Any], written: Path) -> None:
    page = open_page(written)
    page.emulate_media(media="print")
    assert page.locator(".scroller").is_hidden() and page.locator(".filter").is_hidden()
    assert page.locator(".cell").is_visible() and page.locator(".cite").is_visible()
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 2
