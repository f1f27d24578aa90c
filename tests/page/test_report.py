"""`complete` writes a report beside each upload's results, which agrees with them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import functions.page.report
from tests.functions.world import VERSION, World, world
from tests.page.made import model


def report_of(made: World, identity: str) -> Any:
    """The data inside an upload's report."""
    body = made.aws.storage.get(f"results/{identity}/report.html").decode()
    script = re.search(r'<script type="application/json" id="data">(.*?)</script>', body, re.DOTALL)
    assert script
    return json.loads(script[1])


def test_a_report_stands_beside_the_results_and_has_every_row() -> None:
    with world() as made:
        made.activate()
        version = {
            "pk": "version",
            "sk": VERSION,
            "state": "in_service",
            "metrics": json.dumps(model()["metrics"]),
        }
        made.database.Table("ModelsTable").put_item(Item=version)
        identity = made.run(made.upload(b">a\nMKVLAAGIVG\n>b\nMK1V\n>c <i>x</i>\nMKVLAAGIVGL\n"))
        item = made.item(identity)
        data = report_of(made, identity)
    assert item["results"]["report"] == f"results/{identity}/report.html"
    assert [row[0] for row in data["rows"]] == ["a", "b", "c"]
    assert data["rows"][1][5:] == ["rejected", "line 3: '1' at residue 3 is no amino acid"]
    assert data["rows"][2][1] == "c <i>x</i>"
    assert (data["about"]["records"], data["about"]["status"]) == (3, "complete")
    assert data["about"]["results"]["tsv"].endswith("results.tsv")
    assert data["model"]["version"] == item["model_version"]
    assert data["model"]["metrics"]["proteins"] == model()["metrics"]["proteins"]


def test_above_its_limit_a_report_says_where_the_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions.page.report, "REPORT_ROWS", 2)
    with world() as made:
        made.activate()
        identity = made.run(made.upload(b">a\nMKVLAAGIVG\n>b\nMK1V\n>c\nMKVLAAGIVGL\n"))
        data = report_of(made, identity)
    assert data["rows"] is None
    assert (data["summary"]["predicted"], data["summary"]["rejected"]) == (2, 1)
    assert data["about"]["results"]["tsv"].endswith("results.tsv")
