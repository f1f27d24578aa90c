"""No request, of any method, path, query and body, is an error of the server: the functions behind the API."""

from __future__ import annotations

import io
import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.functions.gateway import SIGNED, STAGE, application, routes, served_world
from tests.functions.test_flow import fasta
from tests.functions.world import VERSION, World
from tests.hostile.corpus import HEADERS, shown

KNOWN: list[str] = []
METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD")

digits = st.integers(0, 6000).map(lambda count: "9" * count)
nested = st.integers(0, 100_000).map(lambda depth: "[" * depth)
hostile = (
    st.text(max_size=40)
    | st.sampled_from([shown(header) for header in HEADERS.values()])
    | st.sampled_from(
        [".", "..", "%", "%2e%2e", "a/../b", "\0", "null", "None", "NaN", "-1", "0", "1e9", "٣"]
    )
    | digits
    | st.integers(0, 4000).map(lambda length: "x" * length)
)
names = st.sampled_from([0]).map(lambda place: KNOWN[place]) | st.just(VERSION) | hostile
queries = st.dictionaries(
    st.sampled_from(["size", "cursor", "location", "format"]) | hostile, hostile, max_size=3
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["version", "revision", "x"]), inner)
    ),
    max_leaves=6,
)
bodies = (
    values.map(json.dumps)
    | nested
    | nested.map(lambda text: '{"version": ' + text)
    | nested.map(lambda text: '{"a":' * len(text))
    | digits.map(lambda text: f'{{"version": "a", "revision": {text or 0}}}')
    | st.text(string.printable, max_size=60)
)


@pytest.fixture(scope="module", autouse=True)
def asked() -> Iterator[World]:
    with served_world() as made:
        KNOWN[:] = [made.run(made.upload(fasta(3)))]
        yield made


def status_of(method: str, path: str, query: str, body: str) -> int:
    statuses: list[str] = []
    encoded = body.encode("utf-8", "surrogatepass")
    environ = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": f"/{STAGE}{path}",
        "QUERY_STRING": query,
        "HTTP_AUTHORIZATION": SIGNED,
        "CONTENT_LENGTH": str(len(encoded)),
        "wsgi.input": io.BytesIO(encoded),
    }
    b"".join(application(environ, lambda status, headers: statuses.append(status)))
    return int(statuses[0].split()[0])


def path_of(template: str, filled: list[str]) -> str:
    parts = [quote(filled.pop(0), safe="") if part.startswith("{") else part for part in template.split("/")]
    return "/".join(parts)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(routes()),
    st.sampled_from(["", "", "", *METHODS]),
    st.tuples(names, names),
    queries,
    bodies,
)
@example(("PUT", "/models/active"), "", ("a", "a"), {}, "[" * 100_000)
@example(("PUT", "/models/active"), "", ("a", "a"), {}, '{"a":' * 100_000)
@example(("POST", "/uploads"), "", ("a", "a"), {}, "[" * 100_000)
@example(("POST", "/uploads"), "", ("a", "a"), {}, '{"name":' * 100_000)
@example(("POST", "/uploads"), "", ("a", "a"), {}, '{"name": ' + "[" * 900 + "]" * 900 + "}")
@example(("POST", "/uploads"), "", ("a", "a"), {}, '{"name": "\\ud800.fasta"}')
@example(("PUT", "/uploads/{upload}/attempts/{attempt}"), "", ("", "9" * 5000), {}, "")
@example(("PUT", "/uploads/{upload}/attempts/{attempt}"), "", ("x" * 3000, "2"), {}, "")
def test_no_request_is_an_error_of_the_server(
    route: tuple[str, str], method: str, filled: tuple[str, str], query: dict[str, str], body: str
) -> None:
    path = path_of(route[1], [each or KNOWN[0] for each in filled])
    parameters = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    assert status_of(method or route[0], path, parameters, body) < 500


def test_impossible_parameters_are_bad_requests() -> None:
    attempt = f"/uploads/{KNOWN[0]}/attempts/"
    assert status_of("PUT", "/models/active", "", "[" * 100_000) == 400
    assert status_of("PUT", attempt + "9" * 5000, "", "") == 400
    assert status_of("PUT", f"/uploads/{'x' * 3000}/attempts/2", "", "") == 400
