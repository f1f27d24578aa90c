"""HTTP/1.1, as far as Lambda's runtime client speaks it to the process that gives it events."""

from __future__ import annotations

import socket
from collections.abc import Mapping


class Connection:
    """One HTTP/1.1 connection of the runtime client, read as far as it has come."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = b""

    def request(self) -> tuple[str, str, bytes] | None:
        """The next complete request (method, path, body), or None until it is all here."""
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self.received = rest[length:]
        return method, path, rest[:length]

    def answer(self, status: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.setblocking(True)
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
