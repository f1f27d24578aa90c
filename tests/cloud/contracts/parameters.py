"""Parameters that an operation's model allows, drawn by hypothesis, and the requests botocore makes of them."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.serialize import create_serializer
from hypothesis import strategies as st

from protloc.cloud.contracts.requests import Wire

DEPTH = 4
NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
PATHS = st.text(string.ascii_letters + "/%# +é", min_size=1, max_size=12).filter(
    lambda text: text.strip("/ ") == text
)
TEXTS = st.text(string.ascii_letters + string.digits + " .,:;\"'<>&=%+/é字😀", min_size=1, max_size=12)


def parameters(operation: OperationModel) -> st.SearchStrategy[dict[str, Any]]:
    """Parameters of the right names and types; a service would refuse their values."""
    if operation.input_shape is None:
        return st.just({})
    return _structure(operation.input_shape, DEPTH, required=True)


def wire(operation: OperationModel, protocol: str, parameters: dict[str, Any]) -> Wire:
    """The request that botocore makes of parameters, as it arrives."""
    made = create_serializer(protocol, include_validation=False).serialize_to_request(parameters, operation)
    url = urlsplit(made["url_path"])
    query = url.query + "&" + urlencode(made["query_string"], doseq=True)
    body, headers = made["body"], {name.lower(): str(value) for name, value in made["headers"].items()}
    if isinstance(body, dict):
        body = urlencode(body)
    return Wire(
        made["method"],
        unquote(url.path),
        parse_qs(query, keep_blank_values=True),
        headers,
        body.encode() if isinstance(body, str) else bytes(body),
    )


def _structure(shape: StructureShape, depth: int, required: bool) -> st.SearchStrategy[dict[str, Any]]:
    # A structure without members is there or not; a form cannot say so.
    fitting = {name: each for name, each in shape.members.items() if getattr(each, "members", True)}
    members = {name: _value(member, depth - 1) for name, member in fitting.items()}
    if shape.metadata.get("union"):
        return st.one_of([st.fixed_dictionaries({name: each}) for name, each in members.items()])
    # Nor can it say that a structure is empty.
    needed = set(shape.required_members) or ({next(iter(members))} if members and not required else set())
    return st.fixed_dictionaries(
        {name: each for name, each in members.items() if name in needed},
        optional={name: each for name, each in members.items() if name not in needed} if depth > 0 else None,
    )


def _value(shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    location = shape.serialization.get("location")
    if isinstance(shape, StructureShape):
        return st.deferred(lambda: _structure(shape, depth, required=False))
    if isinstance(shape, ListShape):
        member = NAMES if location and shape.member.type_name == "string" else _value(shape.member, depth - 1)
        return st.lists(member, min_size=1, max_size=3)
    if isinstance(shape, MapShape):
        value = NAMES if location else _value(shape.value, depth - 1)
        return st.dictionaries(NAMES, value, min_size=1, max_size=3)
    if shape.type_name == "string":
        greedy = location == "uri" and shape.name == "ObjectKey"
        return PATHS if greedy else NAMES if location else TEXTS
    return {
        "integer": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**53), 2**53),
        "float": st.integers(-1000, 1000).map(float),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "blob": st.binary(min_size=1, max_size=8),
        "timestamp": st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    }[shape.type_name]
