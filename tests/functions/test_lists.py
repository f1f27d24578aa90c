"""Facts about a list of the API beside its rows: how many there are in all, and its headers alone."""

import json
from dataclasses import replace
from typing import Any

import pytest

import functions.explain
import functions.query
import functions.submit
from functions.receive import receive
from functions.sweep import move
from tests.functions.test_events import Context, golden
from tests.functions.test_flow import fasta
from tests.functions.world import World

TOTAL = "X-Total-Results"
BODY = fasta(40) + b">bad\nMK1V\n>none\n>last\nMKVLAAGIVGMKV\n"


@pytest.fixture
def world(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    object.__setattr__(running_world.aws.settings, "uploads_bucket", "uploads")
    for module in (functions.query, functions.explain, functions.submit):
        monkeypatch.setattr(module, "services", lambda: running_world.aws)
    return running_world


def ask(path: str, method: str = "GET", handler: Any = None, **parameters: str) -> dict[str, Any]:
    parts = [*path.split("/"), ""]
    names = {"upload": parts[2], "submission": parts[2], "offset": parts[-3]}
    event = golden("api-get-upload") | {
        "httpMethod": method,
        "path": path,
        "pathParameters": names,
        "queryStringParameters": parameters or None,
    }
    event["requestContext"] = event["requestContext"] | {"path": f"/v1{path}", "httpMethod": method}
    answer: dict[str, Any] = (handler or functions.query.handler)(event, Context())
    return answer


def total(upload: str, **parameters: str) -> int | None:
    headers = ask(f"/uploads/{upload}/predictions", **parameters)["multiValueHeaders"]
    return int(headers[TOTAL][0]) if TOTAL in headers else None


def listed(upload: str, **parameters: str) -> int:
    """The rows of all pages of a list, counted."""
    answer = ask(f"/uploads/{upload}/predictions", size="500", **parameters)
    assert "Link" not in answer["multiValueHeaders"]
    return len(json.loads(answer["body"])["predictions"])


def failed(world: World) -> str:
    """An upload whose time was up before anything was asked."""
    identity = receive(world.upload(b">a\nMKVFAILEDWY\n>b\nMK1V\n", key="failed"), world.aws)
    assert identity
    move(replace(world.aws.uploads.get(identity), deadline=0), world.aws)
    world.finish(identity)
    return identity


def test_the_rows_of_all_pages_together_are_told_with_each_page(world: World) -> None:
    object.__setattr__(world.aws.settings, "shard_bytes", 100_000)  # so that one page holds them all
    for upload in (world.run(world.upload(BODY)), failed(world), world.run(world.upload(b"no fasta"))):
        for chosen in ({}, {"status": "predicted"}, {"status": "rejected"}, {"status": "failed"}):
            for form in ("json", "tsv"):
                assert total(upload, size="1", format=form, **chosen) == listed(upload, **chosen)


def test_every_page_of_several_shards_tells_the_same_total(world: World) -> None:
    upload = world.run(world.upload(BODY))
    assert world.aws.uploads.get(upload).shards > 1
    assert total(upload) == total(upload, size="3", fields="accession") == 43
    assert total(upload, status="rejected") == 2


@pytest.mark.parametrize(
    "chosen",
    [
        {"location": "Nucleus"},
        {"confidence": "0.5"},
        {"uncertain": "true"},
        {"accession": "P00001"},
        {"status": "predicted", "confidence": "0"},
        {"status": "predicted", "location": "Nucleus"},
    ],
)
def test_no_total_is_told_that_would_have_to_be_counted(world: World, chosen: dict[str, str]) -> None:
    assert total(world.run(world.upload(fasta(3))), **chosen) is None


def test_no_total_is_told_of_an_upload_in_work_or_of_rows_that_expire(world: World) -> None:
    in_work = receive(world.upload(fasta(3)), world.aws)
    assert in_work and total(in_work) is None
    world.finish(in_work)
    assert total(in_work) == 3
    object.__setattr__(world.aws.settings, "prediction_days", 0)
    assert total(in_work) is None


@pytest.mark.parametrize(
    "path",
    [
        "/uploads",
        "/uploads/{0}",
        "/uploads/{0}/predictions",
        "/uploads/{0}/results",
        "/uploads/{0}/nothing",
        "/proteins/P00001",
        "/models",
        "/models/none",
    ],
)
def test_head_is_answered_as_get_is(world: World, path: str) -> None:
    path = path.format(world.run(world.upload(fasta(3))))
    asked, headed = ask(path), ask(path, "HEAD")
    for answer in (asked, headed):  # a link is signed for a moment
        answer["multiValueHeaders"].get("Location", [""])[0] = ""
    assert headed == asked


def test_head_of_an_explanation_and_of_a_submission_is_answered_as_get_is(world: World) -> None:
    upload = world.run(world.upload(fasta(3), key="2026-11-26/0123456789ab/a.fasta"))
    for path, handler in (
        (f"/uploads/{upload}/predictions/0/explanation", functions.explain.handler),
        ("/submissions/2026-11-26-0123456789ab", functions.submit.handler),
    ):
        asked = ask(path, handler=handler)
        assert asked["statusCode"] == 200 and ask(path, "HEAD", handler) == asked


def test_an_order_that_pages_cannot_have_is_refused_with_its_reason(world: World) -> None:
    upload = world.run(world.upload(fasta(1)))
    answer = ask(f"/uploads/{upload}/predictions", sort="confidence")
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["detail"].startswith("sort: rows come in file order")
