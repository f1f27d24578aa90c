"""The report is one file that opens without a network, and lets nothing of a user's file run in it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from model.judging import bootstrap, plots, report
from model.judging import judgement as evaluate
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import read_artifact
from tests.hostile.corpus import HEADERS, shown
from tests.model.answered import random_answers


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    answered = random_answers(100)
    names = [f'P{row}"><script>alert(1)</script>' if row % 2 else f"P{row:05}" for row in range(100)]
    judgement = evaluate.judge(answered, LOCATIONS, accessions=names, uncertain_below=0.5, resamples=20)
    against = {"version": "tiny-0"} | bootstrap.compare(answered, answered, resamples=20)
    return judgement | {"version": "tiny-1", "split": "all", "against": against}


@pytest.fixture(scope="module")
def page(judged: dict[str, Any], tiny_artifact: Path) -> str:
    return report.page(judged, read_artifact(tiny_artifact), plots.draw(judged))


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert all(
        source.startswith("data:image/svg+xml;base64,") for source in re.findall(r'src="([^"]+)"', page)
    )
    assert "<link" not in page and "@import" not in page and "<script" not in page
    pictures = re.findall(r"base64,([^\"]+)", page)
    assert len(pictures) == 5
    assert all(base64.b64decode(picture).startswith(b"<?xml") for picture in pictures)


def test_accessions_are_escaped(page: str) -> None:
    assert "<script" not in page and "&lt;script&gt;" in page
    targets = re.findall(r'href="([^"]*)"', page)
    assert targets
    for target in targets:
        assert re.fullmatch(r"https://www\.uniprot\.org/uniprotkb/P[0-9]{5}/entry", target), target


@pytest.mark.parametrize(
    ("accession", "linked"),
    [("P12345", "P12345"), ("A0A023GPI8", "A0A023GPI8"), ("Q9H400-2", "Q9H400"), ("P1234", ""), ("p12345", ""), ("P12345\n", ""), ("MY00001", ""), ("P12345/../x", ""), ("O12345<b>", "")],
)  # fmt: skip
def test_only_accessions_of_uniprot_are_links(accession: str, linked: str) -> None:
    mistake = {
        "accession": accession,
        "location": "Nucleus",
        "named": "Plastid",
        "confidence": 0.9,
        "length": 9,
    }
    targets = re.findall(r'href="([^"]*)"', report.mistakes([mistake]))
    assert targets == ([f"https://www.uniprot.org/uniprotkb/{linked}/entry"] if linked else [])


def test_no_accession_adds_a_tag_or_leaves_its_cell(judged: dict[str, Any], tiny_artifact: Path) -> None:
    names = [shown(header) for header in HEADERS.values()]
    mistakes = [judged["mistakes"][0] | {"accession": name} for name in names]
    parsed = Page(report.page(judged | {"mistakes": mistakes}, read_artifact(tiny_artifact), {}))
    assert parsed.cells[-5 * len(names) :: 5] == names
    assert parsed.tags <= {"html", "meta", "title", "style", "h1", "h2", "p", "table", "tr", "th", "td", "a"}


class Page(HTMLParser):
    """The tags of a page and the text of its tables' cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


def test_the_page_gives_every_figure_and_the_comparison(page: str, judged: dict[str, Any]) -> None:
    for name in ("q10", "macro_f1", "mcc", "ece"):
        assert f"{judged[name]:.4f} ({judged['intervals'][name][0]:.3f}–" in page
    assert "champion tiny-0" in page and "+0.0000 (+0.000 to +0.000)" in page
    for location in LOCATIONS:
        assert f"<td>{location}</td>" in page
