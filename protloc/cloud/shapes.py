"""Requests against the AWS SDK's service models: what AWS would refuse, what a template's text means."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate


class UnknownOperationError(LookupError):
    """The service has no such operation."""


@functools.lru_cache(maxsize=4)
def service_model(service: str) -> botocore.model.ServiceModel:
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"))


def problems(service: str, action: str, request: dict[str, Any]) -> str:
    """What the service model does not allow: unknown or missing parameters, wrong types, lengths, values that
    are none of a list; "" if nothing.
    """
    try:
        shape = service_model(service).operation_model(action).input_shape
    except botocore.model.OperationNotFoundError:
        raise UnknownOperationError(action) from None
    if shape is None:
        return ""
    report = botocore.validate.ParamValidator().validate(request, shape)
    return str(report.generate_report()) or "\n".join(_unlisted(request, shape, ""))


def answer(action: str, record: dict[str, Any]) -> dict[str, Any]:
    """What of a record SageMaker's answer to `action` may hold; lists of records are cut down alike."""
    found: dict[str, Any] = _cut(record, service_model("sagemaker").operation_model(action).output_shape)
    return found


def from_template(service: str, action: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A resource's properties with the API's types: a template's scalars may all be strings."""
    converted: dict[str, Any] = _converted(
        properties, service_model(service).operation_model(action).input_shape
    )
    return converted


def _unlisted(value: Any, shape: Any, name: str) -> Iterator[str]:
    """The values that are none of those a shape lists; the SDK leaves that to the service."""
    if shape.type_name == "structure":
        for key, item in value.items():
            yield from _unlisted(item, shape.members[key], key)
    elif shape.type_name == "list":
        for item in value:
            yield from _unlisted(item, shape.member, name)
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"Value '{value}' at '{name}' failed to satisfy constraint: Member must satisfy enum value set"


def _cut(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, dict):
        return {name: _cut(value[name], member) for name, member in shape.members.items() if name in value}
    if shape.type_name == "list":
        return [_cut(item, shape.member) for item in value]
    return value


def _converted(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, dict):
        members = shape.members
        return {
            name: _converted(item, members[name]) if name in members else item for name, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_converted(item, shape.member) for item in value]
    if shape.type_name in ("integer", "long") and isinstance(value, str):
        return int(value)
    if shape.type_name in ("float", "double") and isinstance(value, str):
        return float(value)
    if shape.type_name == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    return str(value) if shape.type_name == "string" and isinstance(value, (int, float)) else value
