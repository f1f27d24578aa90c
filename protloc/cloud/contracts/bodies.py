"""Bodies of requests by the model of their content: JSON, CBOR, forms and XML in, parameters out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.parsers import RestXMLParser, RpcV2CBORParser
from botocore.utils import parse_timestamp

Wanted = Callable[[Shape], bool]


# ── JSON and CBOR ───────────────────────────────────────────


def json_value(body: bytes) -> Any:
    return json.loads(body) if body else {}


def cbor_value(body: bytes) -> Any:
    parser = RpcV2CBORParser()
    return parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}


def from_json(value: Any, shape: Shape | None, wanted: Wanted) -> Any:
    """A value with the model's names and types; one that is of another type stays as it is."""
    if shape is None:
        return {}
    if isinstance(shape, StructureShape):
        if shape.is_document_type or not isinstance(value, dict) or not wanted(shape):
            return value
        names = (
            (name, member.serialization.get("name", name), member) for name, member in shape.members.items()
        )
        return {
            name: from_json(value[key], member, wanted)
            for name, key, member in names
            if value.get(key) is not None and "location" not in member.serialization
        }
    if isinstance(shape, ListShape) and isinstance(value, list) and wanted(shape):
        return [from_json(each, shape.member, wanted) for each in value]
    if isinstance(shape, MapShape) and isinstance(value, dict) and wanted(shape):
        return {key: from_json(each, shape.value, wanted) for key, each in value.items()}
    if shape.type_name == "blob" and isinstance(value, str):
        return from_base64(value)
    if shape.type_name == "timestamp" and isinstance(value, (str, int, float)):
        return parse_timestamp(str(value))
    return value


def from_base64(text: str) -> bytes | str:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text


# ── query ───────────────────────────────────────────────────


def nested(form: Mapping[str, str]) -> dict[str, Any]:
    """`Tags.member.1.Key` as dictionaries within each other; a field that has others below it is left out."""
    tree: dict[str, Any] = {}
    for path, value in form.items():
        *holders, last = path.split(".")
        node = tree
        for holder in holders:
            below = node.get(holder)
            if not isinstance(below, dict):
                below = node[holder] = {}
            node = below
        if not isinstance(node.get(last), dict):
            node[last] = value
    return tree


def from_form(node: Any, shape: Shape | None) -> Any:
    if isinstance(shape, StructureShape):
        values = {}
        for name, member in shape.members.items():
            key = member.serialization.get("name", name)
            if isinstance(member, ListShape) and member.serialization.get("flattened"):
                key = member.member.serialization.get("name", key)
            if isinstance(node, dict) and key in node:
                values[name] = from_form(node[key], member)
        return values
    if isinstance(shape, ListShape):
        if not shape.serialization.get("flattened"):
            node = _below(node, shape.member.serialization.get("name", "member"))
        return [from_form(each, shape.member) for each in _numbered(node)]
    if isinstance(shape, MapShape):
        if not shape.serialization.get("flattened"):
            node = _below(node, "entry")
        key, value = (
            each.serialization.get("name", word)
            for each, word in ((shape.key, "key"), (shape.value, "value"))
        )
        return {each[key]: from_form(each.get(value, ""), shape.value) for each in _numbered(node)}
    return {} if shape is None else from_text(node, shape)


def _below(node: Any, name: str) -> Any:
    return node.get(name, {}) if isinstance(node, dict) else {}


def _numbered(node: Any) -> list[Any]:
    return [node[key] for key in sorted(node, key=int)] if isinstance(node, dict) else []


def from_text(text: Any, shape: Shape) -> Any:
    """A value that came as text; one that cannot be read stays text."""
    kind = shape.type_name
    if not isinstance(text, str):
        return text
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
        if kind == "timestamp":
            return parse_timestamp(text)
    except ValueError:
        return text
    if kind == "boolean":
        return text.lower() == "true"
    return from_base64(text) if kind == "blob" else text


# ── XML ─────────────────────────────────────────────────────


def from_xml(body: bytes, shape: Shape) -> Any:
    """Reads an XML document. Requests are written as answers are: botocore's reader of those serves."""
    parser: Any = RestXMLParser()
    return parser._parse_shape(shape, parser._parse_xml_string_to_dom(body))
