"""A real Chromium for the tests of the page, in which every error of the page is a failure.

Wrong is: an error of a script or a word on the console, a breach of the page's policy, and a request to
anybody but the server that a test started.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from functions.domain.rows import Row
from functions.page.document import FOLDER
from tests.page.made import fasta, rows, write

NAMES = ("chromium", "chromium-browser", "google-chrome")
WITHOUT = (
    "expected Chromium, found none: install it (Debian: apt install chromium) or name it in PROTLOC_CHROMIUM"
)
FLAGS = [
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LIMIT_MS = 60_000


def chromium() -> str | None:
    named = os.environ.get("PROTLOC_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(WITHOUT)
        pytest.skip(WITHOUT)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens addresses, each in a browser of its own; at the end, none of them may have done anything wrong."""
    for name in {"server", "here"} & set(request.fixturenames):
        request.getfixturevalue(name)  # begun before the pages, it ends after them: a page would miss it
    wrong: list[str] = []
    contexts = []

    def open_it(
        address: str | Path,
        wait_for: str = "h1",
        refusals: bool = False,
        others: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        """With `refusals` the server may answer so: the browser itself writes each on its console.

        Of `others` the page may ask as well.
        """
        options = {"viewport": {"width": 1280, "height": 900}, "accept_downloads": True} | options
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(LIMIT_MS)
        page = context.new_page()
        url = address.as_uri() if isinstance(address, Path) else address
        own = url.split("/open/")[0].split("#")[0]
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                (refusals and message.text.startswith("Failed to load resource"))
                or wrong.append(f"console: {message.type}: {message.text}")
            ),
        )
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((own, "data:", "blob:", *others))
                or wrong.append(f"request: {request.url}")
            ),
        )
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI));"
        )
        page.goto(url)
        page.wait_for_selector(wait_for)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def proteome() -> list[Row]:
    return list(rows(fasta(1_000)))


@pytest.fixture(scope="session")
def written(proteome: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("report") / "report.html", proteome)


@pytest.fixture(scope="module")
def modules() -> Iterator[str]:
    """Serves the page's modules, each as the file it is."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/":  # a document to stand in
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><link rel=icon href='data:,'><h1>x</h1>")
            else:
                super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(FOLDER))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
