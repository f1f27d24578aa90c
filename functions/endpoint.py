"""Calls to the model: one request, and what each of SageMaker's errors means for the batch.

Error codes: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from functions.errors import BrokenContract, EndpointError, EndpointRefused, EndpointUnavailable
from functions.prediction import Answer, Unpredictable, read_answer, request_body

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# ValidationError is what a component without capacity, or one still being created, answers with.
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


CANARY = "MSMTILPLELIDKCIGSNLWVIMKSEREFAGTLVGFDDYVNIVLKDVTEYDTVTGVTEKHSEMLLNGNGMCMLIPGGKPE"
"""A small protein any model answers for: Q9P802's relative from the article, a nuclear LSm protein."""


class Endpoint:
    """The SageMaker endpoint; each model version is an inference component of it."""

    def __init__(self, client: "SageMakerRuntimeClient", name: str) -> None:
        self.client = client
        self.name = name

    def invoke(self, sequences: list[str], *, component: str, model_version: str) -> list[Answer]:
        """Ask one model version about these sequences, in one call.

        Raises EndpointUnavailable where nobody answered, EndpointRefused where the model failed on the
        request, BrokenContract where the answer is not what was agreed.
        """
        try:
            answer = self.client.invoke_endpoint(
                EndpointName=self.name,
                InferenceComponentName=component,
                ContentType="application/json",
                Accept="application/json",
                Body=request_body(sequences),
            )
            body = answer["Body"].read()
        except ClientError as error:
            raise _meaning(error) from error
        except BotoCoreError as error:  # no connection, or none that lasted
            raise EndpointUnavailable(f"{self.name}: {type(error).__name__}") from error
        return read_answer(body, sequences=sequences, model_version=model_version)


def _meaning(error: ClientError) -> EndpointError | BrokenContract | ClientError:
    """What a refused call means: wait, bisect, or shout."""
    code = error.response["Error"]["Code"]
    if code == "ModelError":
        status = int(error.response.get("OriginalStatusCode", 500))  # type: ignore[call-overload]
        if status in (429, 503):
            return EndpointUnavailable(f"the model server answered {status}")
        if status == 400:
            return BrokenContract("the model server does not understand the request")
        return EndpointRefused(f"the model failed with status {status}")
    if code in _WAITING:
        return EndpointUnavailable(f"{code}: {error.response['Error'].get('Message', '')[:200]}")
    return error


class Bisection:
    """Finds the sequences a model fails on, calling it as few times as that takes.

    A failed call is halved until the failing sequences stand alone; each costs at most 2·⌈log₂ n⌉ more calls.
    That a sequence alone failed says nothing while the endpoint is down, so such a verdict stands only if
    another call went well after it.
    """

    def __init__(self, endpoint: Endpoint, component: str, model_version: str) -> None:
        self._endpoint = endpoint
        self._component = component
        self._model_version = model_version
        self._unproven = False

    def answers(self, sequences: list[str]) -> list[Answer]:
        """One answer a sequence, in order; Unpredictable for those the model fails on."""
        found = self._solve(sequences)
        if self._unproven:
            self._prove_alive()
        return found

    def _solve(self, sequences: list[str]) -> list[Answer]:
        try:
            found = self._endpoint.invoke(
                sequences, component=self._component, model_version=self._model_version
            )
        except EndpointRefused as error:
            if len(sequences) == 1:
                self._unproven = True
                return [Unpredictable(str(error))]
            middle = len(sequences) // 2
            return self._solve(sequences[:middle]) + self._solve(sequences[middle:])
        self._unproven = False
        return found

    def _prove_alive(self) -> None:
        """Raise EndpointUnavailable unless the endpoint answers for a protein that any model can read."""
        try:
            self._endpoint.invoke([CANARY], component=self._component, model_version=self._model_version)
        except EndpointRefused as error:
            raise EndpointUnavailable(f"the model fails on everything: {error}") from error
