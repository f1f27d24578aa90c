"""A package index on this machine that offers PyTorch: an empty package by that name, of a few hundred bytes."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


def wheel(folder: Path, version: str, requires: str = "") -> Path:
    """Writes the package, which any Python on any machine can install."""
    metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    name = f"torch-{version}.dist-info"
    files = {f"{name}/METADATA": metadata, f"{name}/WHEEL": tags}
    record = ""
    for each, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{each},sha256={digest},{len(text)}\n"
    files[f"{name}/RECORD"] = f"{record}{name}/RECORD,,\n"
    path = folder / f"torch-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return path


@dataclass
class Index:
    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(offered: list[Path], *, whole: bool = True) -> Iterator[Index]:
    """Serves packages on a free port; one that isn't whole lists them and has none of the files."""
    files = {path.name: path.read_bytes() for path in offered}
    links = "".join(f'<a href="/files/{name.replace("+", "%2B")}">{name}</a>\n' for name in files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            name = self.path.removeprefix("/files/").replace("%2B", "+")
            body = files.get(name) if whole else None
            if self.path == "/simple/torch/":
                body = f"<!DOCTYPE html><html><body>\n{links}</body></html>".encode()
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index = Index(f"http://127.0.0.1:{server.server_port}/simple")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
