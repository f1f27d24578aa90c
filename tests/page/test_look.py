"""The report in a real browser: what it says, how it is used, and for whom it works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

import functions.page.report
from functions.domain.rows import FORMATS, Row
from functions.page.report import report
from tests.hostile.corpus import HEADERS
from tests.page.made import about, fasta, model, rows

pytestmark = pytest.mark.page

WIDTHS = (360, 768, 1280)


def write(path: Path, found: list[Row], **changes: Any) -> Path:
    path.write_bytes(b"".join(report(found, about(found) | changes, model())))
    return path


@pytest.fixture(scope="module")
def proteome() -> list[Row]:
    return list(rows(fasta(1_000)))


@pytest.fixture(scope="module")
def written(proteome: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("report") / "report.html", proteome)


def tally(page: Any) -> str:
    return str(page.locator(".tally").inner_text())


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text.split(" of ")[0]))


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


def test_a_protein_says_all_that_is_known_of_it_and_leads_to_its_database_alone(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    text = (
        b">sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606\nmkvlaagivglcakaystwdekrhfpqnll*\n"
        b">NP_000537.3 cellular tumor antigen p53 [Homo sapiens]\nMKVLAAGIVGLCAKAYSTWDEKRHFPQNLLV\n"
        b">P12345 of nobody's database\nMKVLAAGIVGLCAKAYSTWDEKRHFPQNLLVA\n"
    )
    found = list(rows(text))
    page = open_page(write(tmp_path / "report.html", found))
    page.get_by_role("button", name="P01308").click()
    panel = page.locator(".protein")
    words = panel.inner_text()
    assert page.evaluate("document.activeElement.id") == "protein-title"
    assert "lower case read as upper case" in words and "terminal * removed" in words
    assert panel.locator(".chances tr").count() == 10
    addresses = [link.get_attribute("href") for link in panel.locator("dd a").all()]
    assert "https://www.uniprot.org/uniprotkb/P01308" in addresses
    assert "https://www.ebi.ac.uk/QuickGO/annotations?geneProductId=P01308" in addresses
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "P01308"
    page.get_by_role("button", name="NP_000537.3").click()
    assert (
        panel.get_by_role("link", name="NCBI").count() == 1
        and panel.get_by_role("link", name="UniProt").count() == 0
    )
    page.get_by_role("button", name="The next protein in the table").click()
    page.wait_for_function("document.querySelector('#protein-title').textContent === 'P12345'")
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
    found = list(rows(b"".join(b">%b\nMKVLAAGIVGLCAK\n>%b\nMK1V\n" % (header, header) for header in headers)))
    page = open_page(write(tmp_path / "report.html", found))
    page.get_by_text("Save these rows").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=title).click()
    text = Path(download.value.path()).read_bytes()
    expected = b"".join(FORMATS[kind](found))
    if kind == "jsonl":
        assert [json.loads(line) for line in text.splitlines()] == [
            json.loads(line) for line in expected.splitlines()
        ]
    else:
        assert text.decode().split("\n") == expected.decode().split("\n")


def test_no_header_becomes_anything_but_text(open_page: Callable[..., Any], tmp_path: Path) -> None:
    headers = [header for header in HEADERS.values() if len(header) < 100_000]
    found = list(rows(b"".join(b">%b\nMKVLAAGIVGLCAK\n>%b\nMK1V\n" % (header, header) for header in headers)))
    key = "2026-11-26/1/<img src=x onerror=alert(1)>\u202e.fasta"
    page = open_page(
        write(tmp_path / "report.html", found, key=key, reason="<script>alert(1)</script>", status="partial")
    )
    assert page.locator("img, script:not([type]) ~ script, iframe, object").count() == 0
    for at in range(0, len(found), 7):
        page.evaluate("offset => { location.hash = `protein=${offset}`; }", found[at]["offset"])
        page.wait_for_selector(f".protein dd:has-text('byte {found[at]['offset']:,}')")
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


def test_a_hundred_thousand_rows_are_in_the_table_and_few_in_the_document(
    open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions.page.report, "REPORT_ROWS", 200_000)
    few = list(rows(fasta(100)))
    found = [{**few[at % 100], "offset": at} for at in range(100_000)]
    page = open_page(write(tmp_path / "report.html", found))
    assert tally(page) == "100,000 records"
    page.get_by_role("button", name="Confidence").click()
    page.get_by_label("Show only").fill("location:nucleus confidence>0.5")
    assert number(tally(page)) == sum(
        row["location"] == "Nucleus" and row["confidence"] > 0.5 for row in found
    )
    page.get_by_label("Show only").fill("")
    page.locator(".scroller").evaluate("box => box.scrollTop = box.scrollHeight")
    page.wait_for_selector("tr[data-at='99999']")
    assert page.locator(".scroller tbody tr").count() < 100


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
    for step, shown in steps.items():
        page.evaluate("hash => { location.hash = hash; }", step)
        page.wait_for_selector(shown)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def moved_on(found: list[Row]) -> list[Row]:
    """The same proteins as another model might answer: every nucleus is the cytoplasm, and one record is gone."""
    changed = []
    for row in found[1:]:
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
    assert page.evaluate("document.activeElement.id") == "q"
    page.locator("tr[data-at='0'] .opens").focus()
    for at in range(1, 40):
        page.keyboard.press("ArrowDown")
        page.wait_for_function(
            "at => document.activeElement.closest('tr')?.dataset.at === String(at)", arg=at
        )
    page.keyboard.press("Enter")
    page.wait_for_selector(".protein")
    assert page.locator("#protein-title").inner_text() == proteome[39]["accession"]


def test_a_proteome_prints_on_few_sheets(open_page: Callable[..., Any], written: Path) -> None:
    page = open_page(written)
    page.emulate_media(media="print")
    assert page.locator(".scroller").is_hidden() and page.locator(".filter").is_hidden()
    assert page.locator(".cell").is_visible() and page.locator(".cite").is_visible()
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 2
