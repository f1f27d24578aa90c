"""Answers of the API: JSON, RFC 9457 problems, and how it shows an upload and a model version."""

import hashlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from functions.domain.errors import Conflict, FileGone, InputError, Missing, ProtlocError, UploadDeleted
from functions.domain.upload import FINAL_STATUSES, Counts
from functions.domain.upload_record import UploadRecord
from functions.services.dynamodb import Item, iso

View = dict[str, Any]

PROBLEM = "application/problem+json"

STATUSES: dict[type[ProtlocError], HTTPStatus] = {
    Missing: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    UploadDeleted: HTTPStatus.GONE,
    FileGone: HTTPStatus.GONE,
    InputError: HTTPStatus.BAD_REQUEST,
}
"""The statuses of requests that end with an error; an error that is two of these has the first."""

REFUSED = tuple(STATUSES)


def answer(status: HTTPStatus, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A response as API Gateway's proxy integration takes it."""
    headers = {"Content-Type": "application/json"} | (headers or {})
    return {"statusCode": status.value, "headers": headers, "body": json.dumps(body)}


def entity_tag(body: str) -> str:
    """The tag of an answer, which changes with any byte of it (RFC 9110, 8.8.3).

    It is a weak one, since API Gateway may compress the answer, whose bytes are others then (8.8.3.3).
    """
    return f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'


def is_known(tag: str, known: str) -> bool:
    """True if a caller's `If-None-Match` says that it has this answer already (RFC 9110, 13.1.2)."""
    tags = [each.strip().removeprefix("W/") for each in known.split(",")]
    return known.strip() == "*" or tag.removeprefix("W/") in tags


def if_none_match(event: Mapping[str, Any]) -> str:
    """The tags that the caller of a request has answers of; none where it names none."""
    headers = event.get("headers") or {}
    return next((value for name, value in headers.items() if name.lower() == "if-none-match"), "")


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return answer(status, body, {"Content-Type": PROBLEM} | (headers or {}))


def status_of(error: ProtlocError) -> HTTPStatus:
    """The status of the answer to a request that ended with one of the errors `REFUSED`."""
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def refusal(error: ProtlocError) -> dict[str, Any]:
    """The problem that answers such a request."""
    return problem(status_of(error), str(error))


def read_object(body: str | None) -> dict[str, Any] | None:
    """The JSON object in a request's body; None where there is anything else."""
    try:
        request = json.loads(body or "")
    except (ValueError, RecursionError):  # the second of lists within lists, thousands deep
        return None
    return request if isinstance(request, dict) else None


def read_texts(body: str | None, *names: str) -> dict[str, str]:
    """A request's JSON object of texts by these names, of which any may lack. Raises InputError otherwise."""
    request = read_object(body)
    if request is None:
        raise InputError("another body", expected=f'a JSON object {{"{names[0]}": …}}')
    for name, value in request.items():
        if name not in names:
            raise InputError(repr(name)[:40], expected=", ".join(names), where="body")
        if not isinstance(value, str):
            raise InputError(shown(value), expected="a text", where=name)
    return request


def shown(value: object) -> str:
    """A value of a request as a problem repeats it: its beginning, or only its kind."""
    return repr(value)[:40] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def upload_view(
    upload: UploadRecord, counts: Counts, progress: Mapping[str, int], results: Mapping[str, str]
) -> View:
    """An upload as the API shows it, `results` by their addresses; counts of one in work are those so far."""
    return {
        "upload": upload.upload_id,
        **upload.source._asdict(),
        "bytes": upload.size,
        "status": upload.shown_status,
        "reason": upload.reason or None,
        "model_version": upload.model_version or None,
        "attempts": upload.attempts,
        "created": upload.created,
        "updated": iso(upload.updated),
        "finished": upload.finished if upload.status in FINAL_STATUSES else None,
        **counts._asdict(),
        "progress": progress,
        "results": results or None,
        "warnings": upload.warnings,
        **({"labels": upload.labels.own} if upload.labels.own else {}),
    }


def model_view(item: Item, active: str | None) -> View:
    """A model version as the API shows it. One in service that is not the active one stands by."""
    standby = item["state"] == "in_service" and item["sk"] != active
    return {
        "version": item["sk"],
        "state": "standby" if standby else item["state"],
        "active": item["sk"] == active,
        "created": item.get("created"),
        "artifact": item.get("artifact") or None,
        "metrics": json.loads(item.get("metrics", "{}")),
        "reason": item.get("reason") or None,
        "snapshot": item.get("snapshot") or None,
        "evaluation": item.get("evaluation") or None,
        "report": item.get("report") or None,
        **({"labels": json.loads(item["labels"])} if item.get("labels") else {}),
    }
