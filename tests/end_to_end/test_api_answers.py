"""Answers of the API as HTTP has them: headers alone, and compressed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.conftest import SAMPLE, Embedded


@pytest.fixture(scope="module")
def upload(embedded: Embedded) -> str:
    return str(embedded.answer("predict", SAMPLE)["upload"])


@pytest.fixture
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager() as made:
        yield made


def ask(cloud: Embedded, pool: urllib3.PoolManager, method: str, path: str, **headers: str) -> Any:
    """An answer as it was sent, its body not decompressed."""
    request = AWSRequest(method, cloud.client.api_url + path, headers=headers)
    credentials = cloud.client.api._session.get_credentials()
    SigV4Auth(credentials, "execute-api", cloud.client.region).add_auth(request)
    signed = dict(request.prepare().headers.items())
    return pool.request(method, request.url, headers=signed, decode_content=False, redirect=False)


@pytest.mark.parametrize("path", ["", "/predictions?size=3", "/predictions?size=3&format=tsv", "/results"])
def test_head_gives_the_headers_that_get_gives(
    embedded: Embedded, upload: str, pool: urllib3.PoolManager, path: str
) -> None:
    answers = [ask(embedded, pool, method, f"/uploads/{upload}{path}") for method in ("GET", "HEAD")]
    headers, headed = ({**answer.headers} for answer in answers)
    assert answers[0].status == answers[1].status and not answers[1].data
    assert headers.keys() == headed.keys()
    assert all(
        headers[name] == headed[name]
        for name in ("Content-Type", "Content-Length", "ETag", "X-Total-Results", "Link")
        if name in headers
    )


def test_what_the_gateway_refuses_of_head_has_no_body(embedded: Embedded, pool: urllib3.PoolManager) -> None:
    answer = ask(embedded, pool, "HEAD", "/nothing/here")
    assert (answer.status, answer.data) == (403, b"")


def test_long_answers_are_compressed_for_who_takes_that(
    embedded: Embedded, upload: str, pool: urllib3.PoolManager
) -> None:
    path = f"/uploads/{upload}/predictions"
    plain = ask(embedded, pool, "GET", path)
    packed = ask(embedded, pool, "GET", path, **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.data) == plain.data
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data) / 3
    assert packed.headers["ETag"] == plain.headers["ETag"] and plain.headers["ETag"].startswith("W/")
    for accepted in ("br", "identity"):
        other = ask(embedded, pool, "GET", path, **{"Accept-Encoding": accepted})
        assert "Content-Encoding" not in other.headers and other.data == plain.data
    short = ask(embedded, pool, "GET", f"{path}?size=1&fields=accession", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in short.headers
