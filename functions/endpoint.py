"""Calls to the model: one request, and what each of SageMaker's errors means for the batch.

Error codes: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from typing import TYPE_CHECKING, Any

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

    Of a call that failed, half is asked again, then half of the half that must hold the culprit; then all
    others together. A culprit among n costs at most ⌈log₂ n⌉ + 2 more calls, which from three sequences on is
    within 2·⌈log₂ n⌉; among fewer it costs up to 3, because a failure alone says nothing while the model is
    down. So a verdict stands only if the sequence failed on both sides of a call that went well, the second
    time alone, and if the model is known to have been well after that or the first time alone, too.

    A protein may take the model down with it. Then the search is interrupted by EndpointUnavailable, and goes
    on from its `progress` when somebody answers again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        component: str,
        model_version: str,
        sequences: dict[str, str],
        progress: dict[str, Any] | None = None,
    ) -> None:
        self.found: dict[str, Answer] = {}
        self.heard = False
        """Whether any call brought the search on."""
        self._endpoint, self._component, self._model_version = endpoint, component, model_version
        self._sequences = sequences  # by any name; the names are what `progress` holds
        given: dict[str, Any] = progress or {}
        suspects = given.get("suspects", [])
        self._suspects = [name for name in suspects if name in sequences]  # one of them is a culprit
        self._together = given.get("together", False) and self._suspects == suspects
        """Whether the suspects, as they are, failed in one call."""
        self._well_since_suspected = given.get("well_since_suspected", False)
        self._well_since_refused = given.get("well_since_refused", False)
        refused: dict[str, bool] = given.get("refused", {})
        self._refused = {name: twice for name, twice in refused.items() if name in sequences}
        """Who failed alone; and whether that was after another failure and a call that went well."""
        self._reason: str = given.get("reason", "")

    @property
    def progress(self) -> dict[str, Any]:
        """How far the search is, as JSON can hold it."""
        return {
            "suspects": self._suspects,
            "together": self._together,
            "well_since_suspected": self._well_since_suspected,
            "well_since_refused": self._well_since_refused,
            "refused": self._refused,
            "reason": self._reason,
        }

    def answers(self) -> dict[str, Answer]:
        """An answer for every sequence, by name; Unpredictable for those the model fails on."""
        while rest := [n for n in self._sequences if n not in self.found and n not in self._refused]:
            if self._suspects or not self._all_answered(rest):
                self._find_culprit()
        if self._refused and not self._well_since_refused:
            self._prove_alive()
        for name, twice in list(self._refused.items()):
            if twice or not self._ask([name]):
                self._refused[name] = True
                self.found[name] = Unpredictable(self._reason)
        return self.found

    def _all_answered(self, rest: list[str]) -> bool:
        if self._ask(rest):
            return True
        nothing_went_well = bool(self._refused) and not self._well_since_suspected
        self._suspects, self._together, self._well_since_suspected = rest, True, False
        if nothing_went_well:
            self._prove_alive()
            self._together = False  # that was before the proof, so one alone is asked again
        return False

    def _find_culprit(self) -> None:
        """Narrow the suspects down to one, and hear it fail alone."""
        while len(self._suspects) > 1:
            half = self._suspects[: len(self._suspects) // 2]
            if self._ask(half):
                self._suspects, self._together = self._suspects[len(half) :], False
            else:
                self._suspects, self._together = half, True
        name = self._suspects[0]
        if self._together or not self._ask([name]):
            self._refused[name] = self._well_since_suspected
        self._suspects = []

    def _ask(self, names: list[str]) -> bool:
        """Whether the model answered for these sequences, in one call."""
        answers = self._invoke([self._sequences[name] for name in names])
        self.heard = True
        self._well_since_refused = answers is not None
        if answers is None:
            return False
        self._well_since_suspected = True
        self.found |= zip(names, answers, strict=True)
        return True

    def _prove_alive(self) -> None:
        """Raise EndpointUnavailable unless the endpoint answers for a protein that any model can read."""
        if self._invoke([CANARY]) is None:
            self._suspects, self._refused, self.heard = [], {}, False  # nobody is to blame
            raise EndpointUnavailable(f"the model fails on everything: {self._reason}")
        self._well_since_suspected = self._well_since_refused = True

    def _invoke(self, sequences: list[str]) -> list[Answer] | None:
        try:
            return self._endpoint.invoke(
                sequences, component=self._component, model_version=self._model_version
            )
        except EndpointRefused as error:
            self._reason = str(error)
            return None
