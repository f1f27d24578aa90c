"""Serves the live page to one browser on this machine, and answers it out of a stack.

Only the loopback address listens. The address that is printed works once: it gives the browser a cookie, and
everything else wants that cookie, a host name of this machine (so that no other name may be made to point
here) and, from a script, this very page as its origin. There is no CORS: no other site may read an answer.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from functions.domain.rows import Row
from functions.page.data import LIVE_ROWS, Data
from functions.page.document import document
from protloc.errors import Problem, UsageProblem

if TYPE_CHECKING:
    from protloc.stack.client import Client

HOST = "127.0.0.1"
UPLOADS_LISTED = 50
MAX_BODY_BYTES = 5 * 1024**3
TYPES = {"tsv": "text/tab-separated-values", "jsonl": "application/jsonl", "report": "text/html"}
NAMES = {"tsv": "results.tsv", "jsonl": "results.jsonl", "report": "report.html"}

View = dict[str, Any]


class Refused(Exception):
    """A request that is not from the page, or not one that it would send."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class PageServer(ThreadingHTTPServer):
    """The page's server. The user opens `address`, once."""

    daemon_threads = True

    def __init__(self, client: Client, port: int = 0, upload: str = "") -> None:
        super().__init__((HOST, port), _Handler)
        self.client = client
        self.upload = upload
        self.port: int = self.server_address[1]
        self._token: str | None = secrets.token_urlsafe(24)
        self.session = secrets.token_urlsafe(24)
        self.sent: dict[str, View] = {}
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/open/{self._token}"

    def spend(self, token: str) -> bool:
        """True for the token, the first time it is shown."""
        with self._lock:
            if self._token is None or not secrets.compare_digest(token.encode(), self._token.encode()):
                return False
            self._token = None
            return True

    # Requests of the page

    def view(self, upload: str) -> View:
        """An upload as it stands; one that was sent from here is being received until it is seen."""
        view = self.client.find_upload(upload) or self.sent.get(upload)
        if view is None:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such upload.")
        return view

    def data(self, upload: str) -> Iterator[bytes]:
        """The page's data of an upload: of one that has not ended, those so far."""
        view = self.view(upload)
        models = self.client.models()["models"] if view["model_version"] else []
        model = next((each for each in models if each["version"] == view["model_version"]), None)
        with self._rows(view) as rows:
            yield from Data(view, model, LIVE_ROWS).pieces(rows)

    @contextlib.contextmanager
    def _rows(self, view: View) -> Iterator[Iterable[Row]]:
        from protloc.cli.results import downloaded_rows

        if view["results"]:
            with downloaded_rows(self.client, view["results"]) as rows:
                yield rows
            return
        try:
            yield list(self.client.predictions(view["upload"]))
        except UsageProblem:  # too large for single predictions, or not seen yet
            yield []

    def receive(self, body: IO[bytes], name: str) -> str:
        """Send a file to the stack; return the upload's id."""
        sent = self.client.send(body, name)
        counts = dict.fromkeys(("records", "predicted", "rejected", "failed", "residues"), 0)
        progress = dict.fromkeys(("shards", "shards_split", "batches", "batches_done", "records_found"), 0)
        self.sent[sent.upload_id] = {
            "upload": sent.upload_id,
            "key": sent.key,
            "status": "receiving",
            "reason": None,
            "model_version": None,
            "results": None,
            "progress": progress,
            **counts,
        }
        return sent.upload_id


class _Limited:
    """The body of a request, which ends where its length says."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        return piece


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "protloc"
    sys_version = ""
    timeout = 60  # of one read or write of the socket

    @property
    def page(self) -> PageServer:
        return cast(PageServer, self.server)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the terminal belongs to the command, and the first address is a secret."""

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self.close_connection = True  # so the rest of a body is not read as another request
        self._answered(self._post)

    def _answered(self, act: Any) -> None:
        try:
            self._require_host()
            act(urlsplit(self.path))
        except Refused as refused:
            self._json({"detail": str(refused)}, refused.status)
        except UsageProblem as problem:
            self._json({"detail": str(problem)}, HTTPStatus.NOT_FOUND)
        except (Problem, BotoCoreError, ClientError) as problem:
            self._json({"detail": str(problem)}, HTTPStatus.BAD_GATEWAY)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True  # the browser went away

    def _get(self, address: Any) -> None:
        match [unquote(part) for part in address.path.split("/")[1:]]:
            case ["open", token]:
                self._open(token)
            case [""]:
                self._require_session()
                page = document(live=True)
                self._send([page.before, b"null", page.after], "text/html; charset=utf-8")
            case ["api", "uploads"]:
                self._require_page()
                self._json({"uploads": list(islice(self.page.client.uploads(), UPLOADS_LISTED))})
            case ["api", "uploads", upload]:
                self._require_page()
                self._json(self.page.view(upload))
            case ["api", "uploads", upload, "data"]:
                self._require_page()
                self._send(self.page.data(upload), "application/json")
            case ["api", "uploads", upload, "predictions", offset, "explanation"] if offset.isdecimal():
                self._require_page()
                self._json(self.page.client.explanation(upload, int(offset)))
            case ["api", "uploads", upload, "results"]:
                self._require_page()
                self._download(upload, parse_qs(address.query).get("format", ["tsv"])[0])
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "There is nothing at this path.")

    def _post(self, address: Any) -> None:
        if address.path != "/api/uploads":
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing at this path.")
        self._require_page()
        if self.headers.get("Origin") not in self._origins():
            raise Refused(HTTPStatus.FORBIDDEN, "Only this page sends files.")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A file may have up to 5 GiB.")
        name = parse_qs(address.query).get("name", ["pasted.fasta"])[0]
        body = cast(IO[bytes], _Limited(cast(IO[bytes], self.rfile), int(length)))
        self._json({"upload": self.page.receive(body, name)}, HTTPStatus.ACCEPTED)

    def _open(self, token: str) -> None:
        if not self.page.spend(token) and not self._has_session():
            raise Refused(HTTPStatus.FORBIDDEN, "This address was opened before. Type `protloc open` again.")
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header(
            "Set-Cookie",
            f"protloc-{self.page.port}={self.page.session}; HttpOnly; SameSite=Lax; Path=/",
        )
        self.send_header("Location", f"/#upload={self.page.upload}" if self.page.upload else "/")
        self.send_header("Content-Length", "0")
        self._finish_head()

    def _download(self, upload: str, name: str) -> None:
        results = self.page.view(upload)["results"] or {}
        if name not in NAMES or name not in results:
            raise Refused(HTTPStatus.NOT_FOUND, "There are no such results.")
        with tempfile.TemporaryDirectory(prefix="protloc-") as folder:
            path = Path(folder) / "results"
            self.page.client.download(results[name], path)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES[name])
            self.send_header("Content-Disposition", f'attachment; filename="{NAMES[name]}"')
            self.send_header("Content-Length", str(path.stat().st_size))
            self._finish_head()
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    # Access

    def _origins(self) -> tuple[str, ...]:
        return tuple(f"http://{host}:{self.page.port}" for host in (HOST, "localhost"))

    def _require_host(self) -> None:
        if f"http://{self.headers.get('Host', '')}" not in self._origins():
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This server answers to its own address alone.")

    def _has_session(self) -> bool:
        cookies = SimpleCookie()
        with contextlib.suppress(CookieError):
            cookies.load(self.headers.get("Cookie", ""))
        cookie = cookies.get(f"protloc-{self.page.port}")
        return cookie is not None and secrets.compare_digest(
            cookie.value.encode(), self.page.session.encode()
        )

    def _require_session(self) -> None:
        if not self._has_session():
            raise Refused(HTTPStatus.FORBIDDEN, "Open the address that `protloc open` printed.")

    def _require_page(self) -> None:
        """Refuse requests from elsewhere than the page itself, as from another port of this machine."""
        self._require_session()
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Refused(HTTPStatus.FORBIDDEN, "Only this page may ask.")

    # Answers

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send([json.dumps(value).encode()], "application/json", status)

    def _send(self, pieces: Iterable[bytes], content_type: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        # Put together first, so that a fault on the way is an error and not the half of an answer.
        body = b"".join(pieces)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self._finish_head()
        self.wfile.write(body)

    def _finish_head(self) -> None:
        for name, value in {
            "Content-Security-Policy": f"{document(live=True).policy}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        self.end_headers()
