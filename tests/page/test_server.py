"""The live page's server answers the one browser that was let in, and nobody else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from threading import Thread
from typing import Any, cast

import pytest

from functions.domain.fasta import read_records
from functions.page.document import document
from protloc.errors import Unreachable
from protloc.page.server import PageServer
from protloc.stack.client import Client, Sent
from tests.page.made import about, explanation, fasta, model, rows

TEXT = fasta(50)
ROWS = list(rows(TEXT))
UPLOAD = about(ROWS)["upload"]


class StackOfOne:
    """A stack with one upload in work, which the API answers for; it takes files and keeps their bytes."""

    def __init__(self) -> None:
        self.view = about(ROWS) | {"results": None, "status": "running", "progress": {}}
        self.taken: list[tuple[str, bytes]] = []
        self.broken = False

    def find_upload(self, upload: str) -> dict[str, Any] | None:
        if self.broken:
            raise Unreachable("the API does not answer")
        return self.view if upload == UPLOAD else None

    def uploads(self) -> Iterator[dict[str, Any]]:
        return iter([self.view])

    def predictions(self, _upload: str) -> Iterator[dict[str, Any]]:
        return iter(ROWS)

    def models(self) -> dict[str, Any]:
        return {"models": [model()]}

    def explanation(self, upload: str, offset: int) -> dict[str, Any]:
        if self.broken:
            raise Unreachable("The model is not there to ask at the moment.")
        record = next(each for each in read_records([TEXT]) if each.offset == offset)
        row = next(row for row in ROWS if row["offset"] == offset)
        return explanation(row, record.sequence.decode().upper())

    def send(self, file: io.BufferedReader, name: str) -> Sent:
        self.taken.append((name, file.read()))
        return Sent("a" * 26, "uploads", f"2026-11-26/x/{name}", "1", 1)


@pytest.fixture
def stack() -> StackOfOne:
    return StackOfOne()


@contextmanager
def served(stack: StackOfOne) -> Iterator[PageServer]:
    """Within, the page of a stack is served."""
    with PageServer(cast(Client, stack), upload=UPLOAD) as made:
        Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def server(stack: StackOfOne) -> Iterator[PageServer]:
    with served(stack) as made:
        yield made


def ask(
    server: PageServer, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    return connection.getresponse()


def let_in(server: PageServer) -> str:
    """The cookie that the printed address gives."""
    answer = ask(server, "/open/" + server.address.rsplit("/", 1)[1])
    assert answer.status == 303
    return str(answer.headers["Set-Cookie"]).split(";")[0]


def test_the_address_works_once_and_leads_to_the_upload(server: PageServer) -> None:
    path = "/open/" + server.address.rsplit("/", 1)[1]
    first = ask(server, path)
    assert (first.status, first.headers["Location"]) == (303, f"/#upload={UPLOAD}")
    assert "HttpOnly" in first.headers["Set-Cookie"] and "SameSite" in first.headers["Set-Cookie"]
    again = ask(server, path)
    assert again.status == 403 and "Set-Cookie" not in again.headers
    # A person who is in already may press it again.
    assert ask(server, path, Cookie=first.headers["Set-Cookie"].split(";")[0]).status == 303


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/uploads",
        f"/api/uploads/{UPLOAD}",
        f"/api/uploads/{UPLOAD}/data",
        f"/api/uploads/{UPLOAD}/results",
        f"/api/uploads/{UPLOAD}/predictions/0/explanation",
    ],
)
def test_without_the_cookie_nothing_is_answered(server: PageServer, path: str) -> None:
    for cookie in ("", f"protloc-{server.port}=wrong", "protloc-1=x", "\x7f=;;"):
        answer = ask(server, path, Cookie=cookie)
        assert answer.status == 403 and UPLOAD.encode() not in answer.read()


@pytest.mark.parametrize("token", ["", "x", "é", "None", "%00", "../../"])
def test_a_guessed_address_lets_nobody_in(server: PageServer, token: str) -> None:
    from urllib.parse import quote

    assert ask(server, "/open/" + quote(token)).status in (403, 404)
    assert let_in(server)


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "example.org:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "",
        "localhost.example.org:{port}",
        "[::1]:{port}",
    ],
)
def test_no_other_name_leads_here(server: PageServer, host: str) -> None:
    cookie = let_in(server)
    answer = ask(server, "/", Cookie=cookie, Host=host.format(port=server.port))
    assert answer.status == 421


def test_the_page_comes_with_its_policy_and_may_not_be_framed_kept_or_read_by_others(
    server: PageServer,
) -> None:
    answer = ask(server, "/", Cookie=let_in(server), Host=f"localhost:{server.port}")
    assert answer.status == 200 and b'data-home="live"' in answer.read()
    assert (
        answer.headers["Content-Security-Policy"] == document(live=True).policy + "; frame-ancestors 'none'"
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_origin_gets_no_data(server: PageServer, site: str) -> None:
    assert ask(server, "/api/uploads", Cookie=let_in(server), Sec_Fetch_Site=site).status == 403


@pytest.mark.parametrize(
    "origin", [None, "null", "http://example.org", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_only_the_page_itself_sends_files(server: PageServer, stack: StackOfOne, origin: str | None) -> None:
    headers = {"Cookie": let_in(server)} | ({"Origin": origin.format(port=server.port)} if origin else {})
    assert ask(server, "/api/uploads?name=a", "POST", b">a\nMKV\n", **headers).status == 403
    assert stack.taken == []


def test_a_file_goes_to_the_stack_whole_and_is_seen_at_once(server: PageServer, stack: StackOfOne) -> None:
    headers = {"Cookie": let_in(server), "Origin": f"http://127.0.0.1:{server.port}"}
    body = fasta(2_000)
    answer = ask(server, "/api/uploads?name=%C3%A4%2F..%2Fb.fasta", "POST", body, **headers)
    assert (answer.status, json.loads(answer.read())) == (202, {"upload": "a" * 26})
    assert stack.taken == [("ä/../b.fasta", body)]
    view = json.loads(ask(server, f"/api/uploads/{'a' * 26}", **headers).read())
    assert (view["status"], view["records"]) == ("receiving", 0)
    data = json.loads(ask(server, f"/api/uploads/{'a' * 26}/data", **headers).read())
    assert data["about"]["status"] == "receiving"


def test_an_upload_in_work_is_shown_with_the_rows_there_are(server: PageServer) -> None:
    data = json.loads(ask(server, f"/api/uploads/{UPLOAD}/data", Cookie=let_in(server)).read())
    assert len(data["rows"]) == 50 and data["model"]["version"] == model()["version"]


def test_an_answer_is_explained_by_the_stack(server: PageServer) -> None:
    row = next(row for row in ROWS if row["status"] == "predicted")
    path = f"/api/uploads/{UPLOAD}/predictions/{row['offset']}/explanation"
    answer = ask(server, path, Cookie=let_in(server))
    assert answer.status == 200 and json.loads(answer.read())["location"] == row["location"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/uploads/{UPLOAD}/predictions/x/explanation", 404),
        (f"/api/uploads/{UPLOAD}/predictions/-1/explanation", 404),
        ("/api/uploads/nothing", 404),
        ("/nothing", 404),
        (f"/api/uploads/{UPLOAD}/results?format=tsv", 404),
        ("/api", 404),
    ],
)
def test_a_missing_page_is_reported_in_json(server: PageServer, path: str, status: int) -> None:
    answer = ask(server, path, Cookie=let_in(server))
    assert answer.status == status and json.loads(answer.read())["detail"]


def test_a_stack_that_does_not_answer_is_reported_too(server: PageServer, stack: StackOfOne) -> None:
    cookie = let_in(server)
    stack.broken = True
    answer = ask(server, f"/api/uploads/{UPLOAD}/data", Cookie=cookie)
    assert answer.status == 502 and "does not answer" in json.loads(answer.read())["detail"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999", "٣"])
def test_a_body_without_a_true_length_is_refused(server: PageServer, stack: StackOfOne, length: str) -> None:
    headers = {"Cookie": let_in(server), "Origin": f"http://127.0.0.1:{server.port}"}
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/api/uploads?name=a")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", length.encode())
    connection.endheaders()
    assert connection.getresponse().status == 413 and stack.taken == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_no_other_method_is_known(server: PageServer, method: str) -> None:
    assert ask(server, "/api/uploads", method, Cookie=let_in(server)).status == 501
