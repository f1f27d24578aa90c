"""Calls to the model: one request, and the meaning of each of SageMaker's errors for the batch.

Error codes: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from functions.domain.errors import (
    BrokenContract,
    EndpointError,
    EndpointRefused,
    EndpointTimedOut,
    EndpointUnavailable,
    OutOfTime,
)
from functions.domain.explanation import Explanation, explanation_body, read_explanation
from functions.domain.locations import TEN, LabelSet
from functions.domain.prediction import Answer, read_answer, request_body

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# A component without capacity, or one still being created, answers with ValidationError.
_WAITING = {
    "InternalDependencyException",
    "InternalFailure",
    "InternalServerException",
    "ModelNotReadyException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationError",
    "ValidationException",
}

# A container that takes more than 60 s is reported with status 0: aws/amazon-sagemaker-examples#799, #1407.
# The others are the statuses of a server or a proxy within the container for the same.
_TIMED_OUT = (0, 408, 504)

CONNECT_SECONDS = 5
READ_SECONDS = 70
"""SageMaker gives a container 60 s to answer; waiting less would ask twice for the same work."""

CALL_SECONDS = CONNECT_SECONDS + READ_SECONDS
WRITING_SECONDS = 45
"""Seconds that it may take after the last call to store the answers, or to send the rest on."""


class Endpoint:
    """The SageMaker endpoint; each model version is an inference component of it."""

    def __init__(self, client: "SageMakerRuntimeClient", name: str) -> None:
        self.client = client
        self.name = name

    def invoke(
        self, sequences: list[str], *, component: str, model_version: str, labels: LabelSet = TEN
    ) -> list[Answer]:
        """Ask one model version about these sequences, in one call.

        Raises EndpointUnavailable where no model answered, EndpointTimedOut where none did in time,
        EndpointRefused where the model failed on the request, BrokenContract where the answer breaks the
        agreed format.
        """
        body = self._invoke(request_body(sequences), component)
        return read_answer(body, sequences=sequences, model_version=model_version, labels=labels)

    def explain(
        self, sequence: str, *, component: str, model_version: str, labels: LabelSet = TEN
    ) -> Explanation:
        """Ask one model version which residues of a sequence its answer hangs on.

        Raises as `invoke`, and Unexplained where the model has no explanation to give.
        """
        body = self._invoke(explanation_body(sequence), component)
        return read_explanation(body, sequence=sequence, model_version=model_version, labels=labels)

    def _invoke(self, request: bytes, component: str) -> bytes:
        try:
            answer = self.client.invoke_endpoint(
                EndpointName=self.name,
                InferenceComponentName=component,
                ContentType="application/json",
                Accept="application/json",
                Body=request,
            )
            return answer["Body"].read()
        except ClientError as error:
            raise _meaning(error) from error
        except ReadTimeoutError as error:
            raise EndpointTimedOut(f"{self.name}: no answer in time") from error
        except BotoCoreError as error:  # no connection, or none that lasted
            raise EndpointUnavailable(f"{self.name}: {type(error).__name__}") from error

    def asking(
        self,
        *,
        component: str,
        model_version: str,
        seconds_left: Callable[[], float],
        labels: LabelSet = TEN,
    ) -> Callable[[list[str]], list[Answer]]:
        """Return a function that asks one model version, unless too little time is left: then OutOfTime."""

        def ask(sequences: list[str]) -> list[Answer]:
            if seconds_left() < CALL_SECONDS + WRITING_SECONDS:
                raise OutOfTime("too little time left for another call of the model")
            return self.invoke(sequences, component=component, model_version=model_version, labels=labels)

        return ask


def _meaning(error: ClientError) -> EndpointError | BrokenContract | ClientError:
    """Classify a refused call: wait, bisect, or raise."""
    code = error.response["Error"]["Code"]
    if code == "ModelError":
        status = int(error.response.get("OriginalStatusCode", 500))  # type: ignore[call-overload]
        if status in _TIMED_OUT:
            return EndpointTimedOut(f"the model server did not answer in time (status {status})")
        if status in (429, 503):
            return EndpointUnavailable(f"the model server answered {status}")
        if status == 400:
            return BrokenContract("the model server does not understand the request")
        return EndpointRefused(f"the model failed with status {status}")
    if code in _WAITING or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return EndpointUnavailable(f"{code}: {error.response['Error'].get('Message', '')[:200]}")
    return error
