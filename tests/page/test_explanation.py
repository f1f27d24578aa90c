"""Residues that mattered: asked for on the live page, drawn along the sequence, and left out of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from functions.domain.rows import Row
from protloc.page.server import PageServer
from tests.page.test_server import ROWS, StackOfOne, served
from tests.waiting import until

pytestmark = pytest.mark.page

LONG = max((row for row in ROWS if row["status"] == "predicted"), key=lambda row: int(row["length"]))


@pytest.fixture
def stack() -> StackOfOne:
    made = StackOfOne()
    made.view = made.view | {"status": "complete"}
    return made


@pytest.fixture
def server(stack: StackOfOne) -> Iterator[PageServer]:
    with served(stack) as made:
        yield made


def open_protein(page: Any, row: Row) -> Any:
    """The panel of a row's protein."""
    page.evaluate("offset => { location.hash += `&protein=${offset}`; }", row["offset"])
    page.wait_for_selector(f".protein dd:has-text('byte {row['offset']:,}')")
    return page.locator(".protein")


def test_the_model_is_asked_by_a_press_and_the_answer_is_drawn_and_said(
    open_page: Callable[..., Any], server: PageServer
) -> None:
    page = open_page(server.address)
    panel = open_protein(page, LONG)
    assert panel.locator(".tracks").count() == 0
    button = panel.get_by_role("button", name="Ask the model")
    button.focus()
    page.keyboard.press("Enter")
    panel.locator(".tracks").wait_for()
    until(lambda: page.evaluate("document.activeElement.textContent") == "Which residues mattered")
    words = panel.inner_text()
    assert "It does not say why" in words and "Without the 23 residues that matter most" in words
    length = LONG["length"]
    label = panel.locator(".tracks").get_attribute("aria-label")
    assert label == f"Importance of {length:,} residues; marked are 1 to 20 and {length - 2:,} to {length:,}."
    beginning, end = panel.locator(".letters").all()
    assert "The beginning, residues 1 to 30" in beginning.get_attribute("aria-label")
    assert f"Marked are {length - 2:,} to {length:,}." in end.get_attribute("aria-label")
    assert beginning.locator(".marked").count() == 20 and beginning.locator("text").count() == 30


def test_a_marked_stretch_is_magnified_by_the_keyboard_alone(
    open_page: Callable[..., Any], server: PageServer
) -> None:
    page = open_page(server.address)
    panel = open_protein(page, LONG)
    panel.get_by_role("button", name="Ask the model").press("Enter")
    panel.get_by_text("2 marked stretches").press("Enter")
    panel.get_by_role("button", name="residues 1 to 20").press("Enter")
    assert panel.locator(".letters").count() == 3
    assert panel.locator(".tracks .near").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_works_for_everybody_at_every_width(
    open_page: Callable[..., Any], server: PageServer, width: int, scheme: str
) -> None:
    page = open_page(
        server.address,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    panel = open_protein(page, LONG)
    panel.get_by_role("button", name="Ask the model").click()
    panel.locator(".tracks").wait_for()
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_short_protein_is_shown_whole_and_another_is_asked_about_anew(
    open_page: Callable[..., Any], server: PageServer
) -> None:
    page = open_page(server.address)
    short = min((row for row in ROWS if row["status"] == "predicted"), key=lambda row: int(row["length"]))
    panel = open_protein(page, LONG)
    panel.get_by_role("button", name="Ask the model").click()
    panel.locator(".tracks").wait_for()
    page.evaluate(
        "offset => { location.hash = location.hash.replace(/protein=[0-9]+/, `protein=${offset}`); }",
        short["offset"],
    )
    page.wait_for_selector(f".protein dd:has-text('byte {short['offset']:,}')")
    assert panel.locator(".tracks").count() == 0
    panel.get_by_role("button", name="Ask the model").click()
    panel.locator(".tracks").wait_for()
    assert panel.locator(".letters").count() == (1 if short["length"] <= 30 else 2)


def test_a_missing_model_is_reported_and_can_be_asked_again(
    open_page: Callable[..., Any], server: PageServer, stack: StackOfOne
) -> None:
    page = open_page(server.address, refusals=True)
    panel = open_protein(page, LONG)
    stack.broken = True
    panel.get_by_role("button", name="Ask the model").click()
    panel.get_by_role("alert").wait_for()
    assert "not there to ask" in panel.get_by_role("alert").inner_text()
    stack.broken = False
    panel.get_by_role("button", name="Ask the model").click()
    panel.locator(".tracks").wait_for()


def test_a_file_says_that_it_cannot_ask(
    open_page: Callable[..., Any], written: Path, proteome: list[Row]
) -> None:
    page = open_page(written, offline=True)
    row = next(row for row in proteome if row["status"] == "predicted")
    panel = open_protein(page, row)
    assert "a file that asks nobody" in panel.inner_text()
    assert panel.get_by_role("button", name="Ask the model").count() == 0
