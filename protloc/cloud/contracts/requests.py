"""HTTP requests as the services read them: the operation asked for, and its parameters as boto3 takes them.

The other direction of botocore's serializers, from the same models: JSON, query, REST with JSON or XML, and
RPC with CBOR. A service is read in whichever of its protocols the request came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import ResponseParserError

from protloc.cloud.contracts.bodies import cbor_value, from_form, from_json, json_value, nested
from protloc.cloud.contracts.routes import Wire, parameters, routes

RPC = re.compile(r"/service/(?P<prefix>\w+)/operation/(?P<name>\w+)")
Wanted = Callable[[str, Shape], bool]


class UnreadableError(ValueError):
    """The body breaks the operation's protocol."""


class Call(NamedTuple):
    """The operation and parameters of a request."""

    operation: OperationModel
    protocol: str
    parameters: dict[str, Any]


def read(
    models: Sequence[ServiceModel],
    wire: Wire,
    wanted: Wanted = lambda service, shape: True,
) -> Call | None:
    """The call that a request to one of these services makes; None where no model knows it.

    A shape of a service that is not `wanted` may stay as it came. Raises `UnreadableError`.
    """
    try:
        return _read(models, wire, wanted)
    except (ValueError, LookupError, RecursionError, ResponseParserError) as problem:
        raise UnreadableError(str(problem)) from problem


def _read(models: Sequence[ServiceModel], wire: Wire, wanted: Wanted) -> Call | None:
    prefix, _, name = wire.headers.get("x-amz-target", "").rpartition(".")
    if prefix:
        return _call(models, prefix, name, "json", json_value, wire, wanted)
    if "cbor" in wire.headers.get("smithy-protocol", "") and (place := RPC.fullmatch(wire.path)):
        return _call(models, place["prefix"], place["name"], "cbor", cbor_value, wire, wanted)
    form = _form(wire)
    for model in models:
        protocols = model.metadata.get("protocols") or [model.metadata["protocol"]]
        if "query" in protocols and form.get("Action") in model.operation_names:
            operation = model.operation_model(form["Action"])
            return Call(operation, "query", from_form(nested(form), operation.input_shape))
        if protocols[0].startswith("rest-"):
            for route in routes(model):
                if (labels := route.labels(wire)) is not None:
                    values = parameters(
                        route.operation, protocols[0], labels, wire, partial(wanted, model.service_name)
                    )
                    return Call(route.operation, protocols[0], values)
    return None


def _call(
    models: Sequence[ServiceModel],
    prefix: str,
    name: str,
    protocol: str,
    body: Callable[[bytes], Any],
    wire: Wire,
    wanted: Wanted,
) -> Call | None:
    """The call of an operation that is named, in JSON or CBOR."""
    for model in models:
        if model.metadata.get("targetPrefix") == prefix and name in model.operation_names:
            operation, value = model.operation_model(name), body(wire.body)
            if not isinstance(value, dict):
                raise UnreadableError("expected an object")
            return Call(
                operation,
                protocol,
                from_json(value, operation.input_shape, partial(wanted, model.service_name)),
            )
    return None


def _form(wire: Wire) -> dict[str, str]:
    """The fields of a form, in the body or in the address."""
    form = {name: values[0] for name, values in wire.query.items() if values}
    if wire.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form |= parse_qsl(wire.body.decode(), keep_blank_values=True)
    return form
