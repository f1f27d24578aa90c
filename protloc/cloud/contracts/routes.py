"""REST requests: the operation that method, path and conditions lead to, and where its parameters stand."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape

from protloc.cloud.contracts.bodies import Wanted, from_json, from_text, from_xml, json_value

LABEL = re.compile(r"\{([^}]+?)(\+?)\}")
ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')


class Wire(NamedTuple):
    """A request as it arrived: the path decoded, header names in small letters."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes


class Route(NamedTuple):
    """The route of an operation: besides the path, the required parts of the address and headers."""

    operation: OperationModel
    method: str
    path: re.Pattern[str]
    names: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    keys: frozenset[str]
    headers: frozenset[str]

    def labels(self, wire: Wire) -> dict[str, str] | None:
        """The names in the path, None where this is another operation's request."""
        if (
            wire.method != self.method
            or not self.keys <= wire.query.keys()
            or not self.headers <= wire.headers.keys()
        ):
            return None
        if any(
            key not in wire.query or (value and value not in wire.query[key]) for key, value in self.query
        ):
            return None
        match = self.path.fullmatch(wire.path)
        return dict(zip(self.names, match.groups(), strict=True)) if match else None


@functools.cache
def routes(model: ServiceModel) -> tuple[Route, ...]:
    """The operations of a service, those first that ask for more; of two alike, the one that is not old."""
    routes = [_route(model.operation_model(name)) for name in model.operation_names]
    return tuple(sorted(routes, key=_demands, reverse=True))


def _demands(route: Route) -> tuple[int, int, bool]:
    literal = len(LABEL.sub("", str(route.operation.http["requestUri"]).partition("?")[0]))
    return literal, len(route.query) + len(route.keys) + len(route.headers), not route.operation.deprecated


def _route(operation: OperationModel) -> Route:
    address, _, query = str(operation.http["requestUri"]).partition("?")
    shape = operation.input_shape
    required = [shape.members[name] for name in shape.required_members] if shape else []

    def named(location: str) -> frozenset[str]:
        serializations = (
            each.serialization for each in required if each.serialization.get("location") == location
        )
        return frozenset(
            each["name"].lower() if location == "header" else each["name"] for each in serializations
        )

    parts, end = LABEL.split(address.rstrip("/")), "" if address.endswith("+}") else "/?"
    pattern = re.escape(parts[0])
    for greedy, literal in zip(parts[2::3], parts[3::3], strict=True):
        pattern += ("(.+)" if greedy else "([^/]+)") + re.escape(literal)
    return Route(
        operation,
        str(operation.http["method"]),
        re.compile(pattern + end, re.DOTALL),
        tuple(parts[1::3]),
        tuple(parse_qsl(query, keep_blank_values=True)),
        named("querystring"),
        named("header"),
    )


def parameters(
    operation: OperationModel, protocol: str, labels: Mapping[str, str], wire: Wire, wanted: Wanted
) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    members: dict[str, Any] = {}
    places = [(name, member, member.serialization) for name, member in shape.members.items()]
    named = {place.get("name", name) for name, _, place in places if place.get("location") == "querystring"}
    for name, member, place in places:
        location, key = place.get("location"), str(place.get("name", name))
        if location == "uri":
            members[name] = from_text(labels[key], member)
        elif location == "querystring" and isinstance(member, MapShape):
            members[name] = {each: texts[0] for each, texts in wire.query.items() if each not in named}
        elif location == "querystring" and isinstance(member, ListShape) and key in wire.query:
            members[name] = [from_text(each, member.member) for each in wire.query[key]]
        elif location == "querystring" and key in wire.query:
            members[name] = from_text(wire.query[key][0], member)
        elif location == "header" and key.lower() in wire.headers:
            members[name] = _from_header(wire.headers[key.lower()], member)
        elif location == "headers":
            start = key.lower()
            values = wire.headers.items()
            members[name] = {each[len(start) :]: value for each, value in values if each.startswith(start)}
    members = {name: value for name, value in members.items() if value != {}}
    payload = shape.serialization.get("payload")
    if not wire.body:
        return members
    if payload is None:
        return {**members, **_from_body(wire.body, protocol, shape, wanted)}
    member = shape.members[payload]
    if member.type_name in ("blob", "string"):
        members[payload] = wire.body if member.type_name == "blob" else wire.body.decode()
    else:
        members[payload] = _from_body(wire.body, protocol, member, wanted)
    return members


def _from_header(text: str, shape: Shape) -> Any:
    if isinstance(shape, ListShape):
        items = (quoted.replace('\\"', '"') or plain.strip() for quoted, plain in ITEM.findall(text))
        return [from_text(each, shape.member) for each in items]
    return from_text(text, shape)


def _from_body(body: bytes, protocol: str, shape: Shape, wanted: Wanted) -> Any:
    return from_json(json_value(body), shape, wanted) if protocol == "rest-json" else from_xml(body, shape)
