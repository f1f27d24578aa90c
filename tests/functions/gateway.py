"""API Gateway in front of the functions of the API, as a WSGI application.

It knows the routes of the template, hands on paths as they were sent, and answers itself requests that never
get to the function: a request without a signature, and one to no route.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest

import functions.activate
import functions.ask
import functions.explain
import functions.query
import functions.retry
import functions.submit
import functions.withdraw
from protloc.stack.parameters import template
from tests.functions.test_events import Context, golden
from tests.functions.world import VERSION, World, world

STAGE = "v1"
MISSING: str = template()["Resources"]["Api"]["Properties"]["GatewayResponses"][
    "MISSING_AUTHENTICATION_TOKEN"
]["ResponseTemplates"]["application/json"]
MODULES = (
    functions.query,
    functions.explain,
    functions.ask,
    functions.retry,
    functions.submit,
    functions.withdraw,
    functions.activate,
)
SIGNED = "AWS4-HMAC-SHA256 Credential=test"


@cache
def routes() -> list[tuple[str, str]]:
    """Method and path of every route that the template gives a function."""
    functions = template()["Resources"]
    events = [
        event["Properties"]
        for name in (
            "QueryFunction",
            "ExplainFunction",
            "AskFunction",
            "RetryFunction",
            "SubmitFunction",
            "WithdrawFunction",
            "ActivateFunction",
        )
        for event in functions[name]["Properties"]["Events"].values()
    ]
    return [(event["Method"], event["Path"]) for event in events]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    method, path = environ["REQUEST_METHOD"], environ["REQUEST_URI"].split("?")[0].removeprefix(f"/{STAGE}")
    resource = _resource(method, path)
    if resource is None or environ.get("HTTP_AUTHORIZATION") != SIGNED:
        start_response("403 Forbidden", [("Content-Type", "application/problem+json")])
        return [MISSING.replace("$context.error.messageString", '"Missing Authentication Token"').encode()]
    parameters: dict[str, list[str]] = {}
    for name, value in parse_qsl(environ["QUERY_STRING"], keep_blank_values=True):
        parameters.setdefault(name, []).append(value)
    event = golden("api-get-upload") | {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "pathParameters": _path_parameters(resource, path),
        "queryStringParameters": {name: values[-1] for name, values in parameters.items()} or None,
        "multiValueQueryStringParameters": parameters or None,
    }
    event["requestContext"] |= {"path": f"/{STAGE}{path}", "resourcePath": resource, "httpMethod": method}
    if length := int(environ.get("CONTENT_LENGTH") or 0):
        event["body"] = environ["wsgi.input"].read(length).decode("utf-8", "replace")
    answer = json.loads(json.dumps(_handler(method, resource)(event, Context())))
    headers = [
        (name, value) for name, values in answer.get("multiValueHeaders", {}).items() for value in values
    ]
    headers += answer.get("headers", {}).items()
    status = HTTPStatus(answer["statusCode"])
    start_response(f"{status.value} {status.phrase}", headers)
    return [answer["body"].encode()]


def _handler(method: str, resource: str) -> Callable[..., Any]:
    if resource.endswith("/explanation"):
        return functions.explain.handler
    if resource == "/predictions":
        return functions.ask.handler
    if resource in ("/uploads", "/submissions/{submission}") and (method == "POST" or resource != "/uploads"):
        return functions.submit.handler
    if method in ("POST", "DELETE"):
        return functions.withdraw.handler
    if method in ("GET", "HEAD"):
        return functions.query.handler
    return functions.activate.handler if resource == "/models/active" else functions.retry.handler


def _path_parameters(resource: str, path: str) -> dict[str, str]:
    names = [part[1:-1] for part in resource.split("/") if part.startswith("{")]
    match = re.fullmatch(re.sub(r"\{\w+\}", "([^/]+)", resource), path)
    assert match
    return {name: unquote(value) for name, value in zip(names, match.groups(), strict=True)}


def _resource(method: str, path: str) -> str | None:
    fitting = [
        (known, template)
        for known, template in sorted(routes(), key=lambda route: route[1].count("{"))
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    # The most literal resource is the one, whether it has the method or not.
    return next(
        (template for known, template in fitting if template == fitting[0][1] and known == method), None
    )


@contextmanager
def served_world() -> Iterator[World]:
    """A world whose API answers, with a model version in service, through `application`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with world(shard_bytes=2_000) as made:
            made.activate()
            item = {"pk": "version", "sk": VERSION, "state": "in_service", "metrics": '{"q10": 0.7}'}
            made.database.Table("ModelsTable").put_item(Item=item)
            for module in MODULES:
                patch.setattr(module, "services", lambda: made.aws)
            yield made
