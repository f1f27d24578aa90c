"""Answers of the API that a handler gives by itself: JSON, and RFC 9457 problems."""

import json
from http import HTTPStatus
from typing import Any


def answer(status: HTTPStatus, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A response as API Gateway's proxy integration takes it."""
    given = {"Content-Type": "application/json"} | (headers or {})
    return {"statusCode": status.value, "headers": given, "body": json.dumps(body)}


def problem(status: HTTPStatus, detail: str) -> dict[str, Any]:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return answer(status, body, {"Content-Type": "application/problem+json"})
