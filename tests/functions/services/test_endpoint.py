import io
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from functions.domain.errors import BrokenContract, EndpointRefused, EndpointTimedOut, EndpointUnavailable
from functions.services.endpoint import Endpoint

CALL = {"component": "stack-m-1", "model_version": "m-1"}


def endpoint_that_fails(code: str, **fields: Any) -> Endpoint:
    client = boto3.client("sagemaker-runtime", region_name="us-east-1")
    stubber = Stubber(client)
    stubber.add_client_error("invoke_endpoint", code, modeled_fields=fields)
    stubber.activate()
    return Endpoint(client, "stack")


@pytest.mark.parametrize(
    "code",
    [
        "ModelNotReadyException",
        "ServiceUnavailable",
        "ThrottlingException",
        "ValidationError",
        "InternalFailure",
    ],
)
def test_an_endpoint_without_capacity_is_waited_for(code: str) -> None:
    with pytest.raises(EndpointUnavailable):
        endpoint_that_fails(code).invoke(["MKV"], **CALL)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (0, EndpointTimedOut),  # SageMaker's status for a container that took longer than a minute
        (400, BrokenContract),
        (408, EndpointTimedOut),
        (429, EndpointUnavailable),
        (500, EndpointRefused),
        (503, EndpointUnavailable),
        (504, EndpointTimedOut),
    ],
)
def test_what_the_container_answered_decides(status: int, meaning: type[Exception]) -> None:
    with pytest.raises(meaning):
        endpoint_that_fails("ModelError", OriginalStatusCode=status).invoke(["MKV"], **CALL)


def test_a_missing_permission_is_no_outage() -> None:
    with pytest.raises(Exception, match="AccessDenied"):
        endpoint_that_fails("AccessDeniedException").invoke(["MKV"], **CALL)


def test_no_connection_is_a_wait() -> None:
    client = boto3.client("sagemaker-runtime", region_name="us-east-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(EndpointUnavailable):
        Endpoint(client, "stack").invoke(["MKV"], **CALL)


def test_an_answer_that_is_not_json_is_a_broken_contract() -> None:
    client = boto3.client("sagemaker-runtime", region_name="us-east-1")
    stubber = Stubber(client)
    body = StreamingBody(io.BytesIO(b"<html>"), 6)
    stubber.add_response("invoke_endpoint", {"Body": body})
    stubber.activate()
    with pytest.raises(BrokenContract):
        Endpoint(client, "stack").invoke(["MKV"], **CALL)
