"""Requests while the state cannot be saved: which of them would change something, and the answer to those."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

READING = ("Get", "Describe", "List", "Query", "Scan", "BatchGet", "Head", "Lookup", "Filter")


def changes_state(scope: Mapping[str, Any]) -> bool:
    """True if a request may have changed something; one too many only costs a save."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    for name, value in scope["headers"]:
        if name.lower() == b"x-amz-target":
            return not value.decode("latin-1").rpartition(".")[2].startswith(READING)
    return not scope["path"].endswith("/invocations")


def needs_room(scope: Mapping[str, Any]) -> bool:
    """True if a request would change something; a deletion makes room, and is taken when there is none."""
    return changes_state(scope) and scope["method"] != "DELETE"


async def answer_unavailable(scope: Mapping[str, Any], send: Any, message: str) -> None:
    """Answer 503 so that every SDK tries again: in JSON to those that speak it, else in XML."""
    code, headers = "ServiceUnavailable", {name.lower(): value for name, value in scope["headers"]}
    if b"x-amz-target" in headers or scope["path"].startswith("/_aws/"):
        body, kind = json.dumps({"__type": code, "message": message}), b"application/x-amz-json-1.0"
    else:
        error = f"<Error><Code>{code}</Code><Message>{html.escape(message, quote=False)}</Message></Error>"
        form = headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded")
        body, kind = f"<ErrorResponse>{error}</ErrorResponse>" if form else error, b"application/xml"
    data = body.encode()
    sent = [(b"content-type", kind), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": sent})
    await send({"type": "http.response.body", "body": data})
