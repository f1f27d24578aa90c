"""A few sequences in one request: their rows in its answer, an upload while no model is there, and how often."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

from tests.conftest import SAMPLE, Embedded
from tests.end_to_end.failing import without_model
from tests.waiting import LIMIT_SECONDS

FEW = "".join(f">{part}" for part in SAMPLE.read_text().split(">")[1:8]) + ">bad\nMK1V\n"


def test_a_few_sequences_have_the_rows_that_they_have_in_a_file(embedded: Embedded, tmp_path: Path) -> None:
    status, body, _ = embedded.client.api.ask("POST", "/predictions", {"fasta": FEW})
    file = tmp_path / "few.fasta"
    file.write_text(FEW)
    upload = embedded.answer("predict", file)["upload"]
    rows = embedded.client.api.get(f"/uploads/{upload}/predictions")[1]["predictions"]
    assert status == 200 and [row | {"upload": upload} for row in body["predictions"]] == rows
    assert [row["status"] for row in rows] == ["predicted"] * 7 + ["rejected"]


def test_without_a_model_they_are_an_upload_and_known_ones_are_answered(embedded: Embedded) -> None:
    known, new = {"fasta": ">a\nMKVLAAGIVGMKVLAAGIVGQ\n"}, {"fasta": ">b\nMKVLAAGIVGWWWMKVLAAGIVG\n"}
    first = embedded.client.api.ask("POST", "/predictions", known)
    assert first[0] == 200
    with without_model(embedded):
        status, body, _ = embedded.client.api.ask("POST", "/predictions", new)
        assert status == 202, body
        assert embedded.client.api.ask("POST", "/predictions", known) == first
    view = embedded.client.wait(body["upload"], lambda _: None, LIMIT_SECONDS)
    assert (view["status"], view["predicted"]) == ("complete", 1)


def test_it_is_asked_less_often_than_the_rest_of_the_api(embedded: Embedded) -> None:
    """So that it leaves the model to the uploads. The requests are refused for their bodies."""

    def refused(_: int) -> int:
        return embedded.client.api.ask("POST", "/predictions", {"fasta": ""}, retried=set())[0]

    with ThreadPoolExecutor(30) as many:
        statuses = list(many.map(refused, range(30)))
    assert set(statuses) == {HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS}, json.dumps(statuses)
