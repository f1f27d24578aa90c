"""The report of a retraining opens without a network, names the changes, and runs nothing of a user's file."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.judging import bootstrap, paired
from model.judging import comparison_page as comparison
from model.judging import judgement as evaluate
from model.judging.judgement import Contestant
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import read_artifact
from tests.hostile.corpus import HEADERS, shown
from tests.model.answered import random_answers
from tests.model.judging.test_report import Page

NAMES = [shown(header) for header in HEADERS.values()]


def contestant(folder: Path, version: str, *, sharpness: float) -> Contestant:
    answered = random_answers(120)
    answered = replace(answered, probabilities=random_answers(120, sharpness=sharpness).probabilities)
    names = [NAMES[row % len(NAMES)] if row % 2 else f"P{row:05}" for row in range(120)]
    judged = evaluate.judge(answered, LOCATIONS, accessions=names, uncertain_below=0.5, resamples=30)
    return Contestant(replace(read_artifact(folder), version=version), answered, judged, 0)


@pytest.fixture(scope="module")
def pair(tiny_artifact: Path) -> tuple[Contestant, Contestant]:
    return contestant(tiny_artifact, "new-1", sharpness=3.0), contestant(
        tiny_artifact, "old-1", sharpness=0.1
    )


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    split = {"proteins": 1234, "sha256": "0" * 64, "locations": dict.fromkeys(LOCATIONS, 123)}
    problems = {
        kind: {
            "total": 3,
            "left_out": 3,
            "first": [{"where": f"labels/{name} line 3", "problem": name} for name in NAMES[:3]],
        }
        for kind in comparison.PROBLEMS
    }
    source = {
        "uri": "s3://uploads/labels/<b>.fasta",
        "kind": "labels",
        "proteins": 5,
        "duplicates": 6,
        "left_out": 7,
    }
    return {
        "snapshot": "a" * 16,
        "sources": [source],
        "splits": dict.fromkeys(("training", "validation", "holdout"), split),
        "changes": {"since": "b" * 16, "added": 31, "removed": 2, "relabelled": 1},
        "problems": problems | {"leaks": {"total": 0, "left_out": 0, "first": []}},
    }


@pytest.fixture(scope="module")
def against(pair: tuple[Contestant, Contestant]) -> dict[str, Any]:
    return bootstrap.compare(pair[1].answered, pair[0].answered, resamples=30)


@pytest.fixture(scope="module")
def page(pair: tuple[Contestant, Contestant], manifest: dict[str, Any], against: dict[str, Any]) -> str:
    evaluation = {"snapshot": "a" * 16, "holdout": {"proteins": 120}, "against": against}
    return comparison.page(*pair, evaluation, manifest)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(page: str) -> None:
    sources = re.findall(r'src="([^"]+)"', page)
    assert len(sources) == 6 and all(each.startswith("data:image/svg+xml;base64,") for each in sources)
    assert base64.b64decode(sources[0].partition(",")[2]).startswith(b"<?xml")
    assert "<script" not in page and "<link" not in page and "@import" not in page and "url(" not in page
    targets = re.findall(r'href="([^"]*)"', page)
    assert targets and all(
        re.fullmatch(r"https://www\.uniprot\.org/uniprotkb/P\d{5}/entry", each) for each in targets
    )


def test_nothing_of_a_users_file_becomes_a_tag(page: str) -> None:
    parsed = Page(page)
    assert parsed.tags <= {
        "html",
        "meta",
        "title",
        "style",
        "h1",
        "h2",
        "p",
        "table",
        "tr",
        "th",
        "td",
        "a",
        "figure",
        "figcaption",
        "img",
        "details",
        "summary",
    }
    assert "labels/<b>.fasta" in parsed.cells
    assert parsed.cells.count(NAMES[0]) >= 4, "as a problem of each kind"


def test_both_models_stand_beside_each_other_with_their_difference(
    page: str, against: dict[str, Any]
) -> None:
    cells = Page(page).cells
    row = cells[cells.index("Macro-F1") :][:4]
    figure = against["macro_f1"]
    assert row[1].startswith(f"{figure['champion']:.4f} (") and row[2].startswith(
        f"{figure['challenger']:.4f} ("
    )
    assert row[3].startswith(f"{figure['difference']:+.4f} (") and " to " in row[3]
    assert "Log loss ↓" in cells and "new-1 against old-1" in page


def test_the_data_are_counted(page: str) -> None:
    assert "31 proteins added, 2 removed, 1 labelled otherwise" in page
    cells = Page(page).cells
    assert cells[cells.index("labels/<b>.fasta") :][:5] == ["labels/<b>.fasta", "labels", "5", "6", "7"]
    assert cells[cells.index("all") :][:4] == ["all", "1,234", "1,234", "1,234"]
    assert "In contradiction to another record: 3" in page and "Related to a protein" not in page


def test_a_first_version_is_shown_alone(
    pair: tuple[Contestant, Contestant], manifest: dict[str, Any]
) -> None:
    first = manifest | {"changes": manifest["changes"] | {"since": None}}
    evaluation = {"snapshot": "a" * 16, "holdout": {"proteins": 120}, "against": None}
    text = comparison.page(pair[0], None, evaluation, first)
    assert (
        "new-1, the first version" in text and "champion" not in text.lower() and "The first snapshot" in text
    )
    assert len(re.findall(r'src="', text)) == 5


def test_the_picture_has_a_row_a_figure_and_a_location_and_passes_over_what_cannot_be_told(
    against: dict[str, Any], pair: tuple[Contestant, Contestant]
) -> None:
    nothing = {"champion": None, "challenger": 0.5, "difference": None, "interval": (None, None)}
    recall = [
        nothing,
        {"champion": 0.5, "challenger": 0.6, "difference": 0.1, "interval": (None, None)},
        *against["recall"][2:],
    ]
    upper, lower = paired.differences(
        against | {"membrane_q2": nothing, "recall": recall}, pair[0].judged["locations"]
    ).axes
    assert [len(axes.get_yticks()) for axes in (upper, lower)] == [4, 10]
    assert [text.get_text().strip() for axes in (upper, lower) for text in axes.texts] == [
        "not measurable"
    ] * 2


def test_what_too_few_proteins_tell_is_a_dash_and_no_claim(
    pair: tuple[Contestant, Contestant], manifest: dict[str, Any], against: dict[str, Any]
) -> None:
    recall = [each | {"interval": (0.1, 0.2)} for each in against["recall"]]
    few = dict(pair[0].judged["locations"])
    few["Nucleus"] = few["Nucleus"] | {"proteins": 9}
    few["Peroxisome"] = few["Peroxisome"] | {"proteins": 10}
    challenger = replace(pair[0], judged=pair[0].judged | {"locations": few})
    evaluation = {
        "snapshot": "a" * 16,
        "holdout": {"proteins": 120},
        "against": against | {"recall": recall},
    }
    text = comparison.page(challenger, pair[1], evaluation, manifest)
    (claim,) = re.findall(r"It clearly finds more proteins of: ([^<]*)\.", text)
    assert "Peroxisome" in claim and "Nucleus" not in claim
    cells = Page(text).cells
    assert cells[cells.index("Nucleus") :][:6] == ["Nucleus", "–", "–", "–", "–", "9"]
    assert "(n = 120)" in text and text.index("<!-- verdict -->") < text.index("<p>new-1")
