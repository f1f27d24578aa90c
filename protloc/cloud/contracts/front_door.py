"""The refusals of a request that its service would not take, answered as the service answers them.

Pure: a request in, an answer out; None where the service's model finds nothing wrong or knows no such call.
"""

from __future__ import annotations

import html
import json
import logging
import re

from botocore.model import OperationModel

from protloc.cloud.contracts import validation
from protloc.cloud.contracts.requests import Call, UnreadableError, read
from protloc.cloud.contracts.routes import Wire
from protloc.cloud.contracts.shapes import service_model
from protloc.cloud.contracts.validation import Violation

log = logging.getLogger("protloc.cloud")

Answer = tuple[int, dict[str, str], bytes]

# The engine's name of each service that the project uses → botocore's models of it.
SERVED = {
    "apigateway": ("apigateway",),
    "application-autoscaling": ("application-autoscaling",),
    "cloudformation": ("cloudformation",),
    "dynamodb": ("dynamodb",),
    "dynamodbstreams": ("dynamodbstreams",),
    "events": ("events",),
    "iam": ("iam",),
    "lambda": ("lambda",),
    "logs": ("logs",),
    "monitoring": ("cloudwatch",),
    "s3": ("s3",),
    "sagemaker": ("sagemaker", "sagemaker-runtime"),
    "scheduler": ("scheduler",),
    "secretsmanager": ("secretsmanager",),
    "sns": ("sns",),
    "sqs": ("sqs",),
    "states": ("stepfunctions",),
    "sts": ("sts",),
}

# The code of a refusal: ValidationException with JSON, ValidationError with XML, as the common errors of the
# API references have it, but for these.
CODES = {
    # https://github.com/awslabs/aws-embedded-metrics-java/issues/65
    "logs": "InvalidParameterException",
    # https://github.com/aws/amazon-sagemaker-examples/issues/293
    "sagemaker-runtime": "ValidationError",
    # https://github.com/aws-samples/amazon-cloudwatch-auto-alarms/issues/61, in whichever protocol
    "cloudwatch": "ValidationError",
}


def refusal(service: str, wire: Wire) -> Answer | None:
    """The answer to a request that its service would refuse; `service` is the engine's name of it."""
    names = SERVED.get(service)
    if names is None:
        return None
    models = [service_model(name) for name in names]
    try:
        call = read(models, wire, validation.is_checked)
    except UnreadableError as problem:
        log.debug("a request to %s cannot be read: %s", service, problem)
        return None  # the service names the fault
    if call is None:
        return None
    violations = validation.violations(call.operation, call.parameters)
    return _answer(call, *coded(call.operation, violations)) if violations else None


def coded(operation: OperationModel, violations: list[Violation]) -> tuple[str, str]:
    """The code and the message with which a service refuses."""
    model = operation.service_model
    if model.service_name in WORDED:
        return WORDED[model.service_name](operation, violations[0])
    in_xml = model.metadata["protocol"] in ("query", "rest-xml")
    if wrong := [violation for violation in violations if violation.kind == "type"]:
        return "MalformedInput" if in_xml else "SerializationException", str(wrong[0])
    default = "ValidationError" if in_xml else "ValidationException"
    return CODES.get(model.service_name, default), validation.message(violations)


def _of_sqs(operation: OperationModel, violation: Violation) -> tuple[str, str]:
    *_, last = violation.member.split(".")
    name = last[:1].upper() + last[1:]
    if violation.kind == "required":  # https://github.com/pulumi/pulumi-aws/issues/5959
        return "MissingParameter", f"The request must contain the parameter {name}."
    if violation.kind == "enum":  # https://github.com/aquasecurity/cloudsploit/issues/102
        return "InvalidAttributeName", f"Unknown Attribute {violation.culprit}."
    # https://github.com/aws-samples/amazon-sqs-dlq-replay-backoff/issues/8
    value = validation.shown(violation.value)
    return (
        "InvalidParameterValue",
        f"Value {value} for parameter {name} is invalid. Reason: {violation.constraint}.",
    )


def _of_s3(operation: OperationModel, violation: Violation) -> tuple[str, str]:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
    assert operation.input_shape is not None
    payload = str(operation.input_shape.serialization.get("payload", ""))
    if payload and violation.member.startswith(f"{payload[:1].lower()}{payload[1:]}."):
        text = "The XML you provided was not well-formed or did not validate against our published schema"
        return "MalformedXML", f"{text}: {violation}"
    if violation.member == "storageClass":
        return "InvalidStorageClass", "The storage class you specified is not valid"
    return "InvalidArgument", str(violation)


def _of_sns(operation: OperationModel, violation: Violation) -> tuple[str, str]:
    """https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html and API_Publish.html"""
    name = violation.member[:1].upper() + violation.member[1:]
    return "InvalidParameter", f"Invalid parameter: {name} Reason: {violation.constraint}"


# Services with words of their own.
WORDED = {"s3": _of_s3, "sns": _of_sns, "sqs": _of_sqs}


# Characters that no XML document may hold: https://www.w3.org/TR/xml/#charsets
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(text: str) -> str:
    return html.escape(UNWRITABLE.sub("?", text), quote=False)


def _answer(call: Call, code: str, message: str) -> Answer:
    if call.protocol == "query":
        error = f"<Type>Sender</Type><Code>{code}</Code><Message>{_xml(message)}</Message>"
        body = f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"
        return 400, {"Content-Type": "text/xml"}, body.encode()
    if call.protocol == "rest-xml":
        body = f"<Error><Code>{code}</Code><Message>{_xml(message)}</Message></Error>"
        return 400, {"Content-Type": "application/xml"}, body.encode()
    if call.protocol == "cbor":
        headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        return 400, headers, b"\xa2" + b"".join(map(_cbor, ("__type", code, "message", message)))
    model = call.operation.service_model
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    if call.protocol == "json":
        headers["Content-Type"] = f"application/x-amz-json-{model.metadata['jsonVersion']}"
    if "awsQueryCompatible" in model.metadata:
        headers["x-amzn-query-error"] = f"{code};Sender"
    return 400, headers, json.dumps({"__type": code, "message": message}).encode()


def _cbor(text: str) -> bytes:
    """A text as CBOR writes it, with its length in eight bytes."""
    encoded = text.encode()
    return b"\x7b" + len(encoded).to_bytes(8, "big") + encoded
