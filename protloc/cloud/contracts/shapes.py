"""Requests against the AWS SDK's service models: AWS's refusals, and the types of a template's texts."""

from __future__ import annotations

import functools
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate

from protloc.cloud.contracts import validation


class UnknownOperationError(LookupError):
    """The service has no such operation."""


@functools.lru_cache(maxsize=32)
def service_model(service: str) -> botocore.model.ServiceModel:
    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


def problems(service: str, action: str, request: dict[str, Any]) -> str:
    """Lists faults that a service would refuse: values that break a constraint, else wrong names or types."""
    try:
        operation = service_model(service).operation_model(action)
    except botocore.model.OperationNotFoundError:
        raise UnknownOperationError(action) from None
    if operation.input_shape is None:
        return ""
    if violations := validation.violations(operation, request):
        return validation.message(violations)
    return str(botocore.validate.ParamValidator().validate(request, operation.input_shape).generate_report())


def answer(action: str, record: dict[str, Any]) -> dict[str, Any]:
    """Reduce a record to the members of SageMaker's answer to `action`; lists of records as well."""
    view: dict[str, Any] = _cut(record, service_model("sagemaker").operation_model(action).output_shape)
    return view


def from_template(service: str, action: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A resource's properties with the API's types: a template's scalars may all be strings."""
    converted: dict[str, Any] = _converted(
        properties, service_model(service).operation_model(action).input_shape
    )
    return converted


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
