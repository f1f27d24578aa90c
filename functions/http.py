"""Answers of the API: JSON, RFC 9457 problems, and how it shows an upload and a model version."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from functions.domain.upload import Counts, Record, attempts
from functions.services.dynamodb import iso

View = dict[str, Any]


def answer(status: HTTPStatus, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A response as API Gateway's proxy integration takes it."""
    given = {"Content-Type": "application/json"} | (headers or {})
    return {"statusCode": status.value, "headers": given, "body": json.dumps(body)}


def problem(status: HTTPStatus, detail: str) -> dict[str, Any]:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return answer(status, body, {"Content-Type": "application/problem+json"})


def upload_view(item: Record, counts: Counts, progress: Mapping[str, int]) -> View:
    """An upload as the API shows it; counts of an upload in work are those so far."""
    return {
        "upload": item["pk"],
        **item["source"],
        "bytes": item["size"],
        "status": "running" if item["status"] == "finishing" else item["status"],
        "reason": item.get("reason") or None,
        "model_version": item["model_version"] or None,
        "attempts": attempts(item),
        "created": item["created"],
        "updated": iso(item["updated"]),
        "finished": item.get("finished"),
        **counts._asdict(),
        "progress": progress,
        "results": item.get("results") or None,
        "warnings": item.get("warnings", []),
    }


def model_view(item: Record, active: str | None) -> View:
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
    }
