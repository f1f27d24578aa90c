"""Calls to the model: one request, and what each of SageMaker's errors means for the batch.

Error codes: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from functions.domain.errors import (
    BrokenContract,
    EndpointError,
    EndpointRefused,
    EndpointTimedOut,
    EndpointUnavailable,
    OutOfTime,
)
from functions.domain.prediction import Answer, Unpredictable, read_answer, request_body

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

# A container that takes more than 60 s is reported with status 0: aws/amazon-sagemaker-examples#799, #1407.
# The others are what a server or a proxy within the container says of the same.
_TIMED_OUT = (0, 408, 504)

CANARY = "MSMTILPLELIDKCIGSNLWVIMKSEREFAGTLVGFDDYVNIVLKDVTEYDTVTGVTEKHSEMLLNGNGMCMLIPGGKPE"
"""A small protein any model answers for: Q9P802's relative from the article, a nuclear LSm protein."""


CONNECT_SECONDS = 5
READ_SECONDS = 70
"""SageMaker gives a container 60 s to answer; waiting less would ask twice for the same work."""

CALL_SECONDS = CONNECT_SECONDS + READ_SECONDS
WRITING_SECONDS = 45
"""Seconds that it may take after the last call to store what was found, or to send it on."""


class Endpoint:
    """The SageMaker endpoint; each model version is an inference component of it."""

    def __init__(self, client: "SageMakerRuntimeClient", name: str) -> None:
        self.client = client
        self.name = name

    def invoke(self, sequences: list[str], *, component: str, model_version: str) -> list[Answer]:
        """Ask one model version about these sequences, in one call.

        Raises EndpointUnavailable where nobody answered, EndpointTimedOut where nobody did in time,
        EndpointRefused where the model failed on the request, BrokenContract where the answer is not what was
        agreed.
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
        except ReadTimeoutError as error:
            raise EndpointTimedOut(f"{self.name}: no answer in time") from error
        except BotoCoreError as error:  # no connection, or none that lasted
            raise EndpointUnavailable(f"{self.name}: {type(error).__name__}") from error
        return read_answer(body, sequences=sequences, model_version=model_version)


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


class Bisection:
    """Finds the sequences a model fails on, calling it as few times as that takes.

    Of a call that failed, half is asked again, then half of the half that must hold the culprit; then all
    others together. A culprit among n costs at most ⌈log₂ n⌉ + 2 more calls, which from three sequences on is
    within 2·⌈log₂ n⌉; among fewer it costs up to 3, because a failure alone says nothing while the model is
    down. So a verdict stands only if the sequence failed on both sides of a call that went well, the second
    time alone, and if the model is known to have been well after that or the first time alone, too.

    A protein may take the model down with it. Then the search is interrupted by EndpointUnavailable, and goes
    on from its `progress` when somebody answers again; by OutOfTime before a call that might outlive the
    function.

    That the model takes too long is nobody's fault: half as many are asked about at a time from then on. One
    that it takes too long for alone is put last; if the model answers for no other in between, the search
    waits, as it does when only such are left. However long that lasts, it is never a verdict.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        component: str,
        model_version: str,
        sequences: dict[str, str],
        progress: dict[str, Any] | None = None,
        seconds_left: Callable[[], float] = lambda: inf,
    ) -> None:
        given: dict[str, Any] = progress or {}
        told: dict[str, str] = given.get("told", {})
        self.found: dict[str, Answer] = {n: Unpredictable(told[n]) for n in told if n in sequences}
        self.heard = False
        """True if any call brought the search on."""
        self._endpoint, self._component, self._model_version = endpoint, component, model_version
        self._sequences = sequences  # by any name; the names are what `progress` holds
        suspects = given.get("suspects", [])
        self._suspects = [name for name in suspects if name in sequences]  # one of them is a culprit
        self._together = given.get("together", False) and self._suspects == suspects
        """True if the suspects, as they are, failed in one call."""
        self._well_since_suspected = given.get("well_since_suspected", False)
        self._well_since_refused = given.get("well_since_refused", False)
        refused: dict[str, bool] = given.get("refused", {})
        self._refused = {name: twice for name, twice in refused.items() if name in sequences}
        """Who failed alone; and whether that was after another failure and a call that went well."""
        self._reason: str = given.get("reason", "")
        self._most: int = max(1, min(2 * given.get("most", len(sequences)), len(sequences)))
        """How many to ask about at a time: what was too many before may not be any more."""
        self._slow = [name for name in given.get("slow", []) if name in sequences]
        self._tired = bool(self._slow)
        """True if the model took too long for one sequence alone and has not answered since."""
        self._asked: list[str] = []
        self._seconds_left = seconds_left

    @property
    def progress(self) -> dict[str, Any]:
        """The state of the search, as JSON can hold it."""
        return {
            "suspects": self._suspects,
            "together": self._together,
            "well_since_suspected": self._well_since_suspected,
            "well_since_refused": self._well_since_refused,
            "refused": self._refused,
            "reason": self._reason,
            "most": self._most,
            "slow": self._slow,
            "told": {
                name: answer.reason
                for name, answer in self.found.items()
                if isinstance(answer, Unpredictable) and name not in self._refused
            },
        }

    def answers(self) -> dict[str, Answer]:
        """An answer for every sequence, by name; Unpredictable for those the model fails on."""
        while rest := self._rest():
            try:
                if self._suspects or not self._all_answered(rest[: self._most]):
                    self._find_culprit()
            except EndpointTimedOut:
                self._ask_for_less()
        if self._refused and not self._well_since_refused:
            self._prove_alive()
        for name, twice in list(self._refused.items()):
            if twice or not self._ask([name]):
                self._refused[name] = True
                self.found[name] = Unpredictable(self._reason)
        return self.found

    def _rest(self) -> list[str]:
        """Those that nothing is known of, the slow ones last."""
        rest = [n for n in self._sequences if n not in self.found and n not in self._refused]
        return sorted(rest, key=self._slow.__contains__)

    def _ask_for_less(self) -> None:
        """Go on after a call that took too long; raise EndpointTimedOut where only waiting is left."""
        if len(self._asked) > 1:
            self._most = len(self._asked) // 2
            return
        gives_up = self._tired or not self._asked
        self._slow += [name for name in self._asked if name not in self._slow]
        self._tired, self._most = True, 1
        self._suspects, self._together = [], False
        if gives_up or set(self._rest()) <= set(self._slow):
            raise EndpointTimedOut("the model takes too long, even for a single protein")

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
            half = self._suspects[: min(len(self._suspects) // 2, self._most)]
            if self._ask(half):
                self._suspects, self._together = self._suspects[len(half) :], False
            else:
                self._suspects, self._together = half, True
        name = self._suspects[0]
        if self._together or not self._ask([name]):
            self._refused[name] = self._well_since_suspected
        self._suspects = []

    def _ask(self, names: list[str]) -> bool:
        """Ask the model about these sequences in one call; True if it answered."""
        self._asked = names
        answers = self._invoke([self._sequences[name] for name in names])
        self.heard, self._tired = True, False
        self._well_since_refused = answers is not None
        if answers is None:
            return False
        self._well_since_suspected = True
        self.found |= zip(names, answers, strict=True)
        return True

    def _prove_alive(self) -> None:
        """Raise EndpointUnavailable unless the endpoint answers for a protein that any model can read."""
        self._asked = []
        if self._invoke([CANARY]) is None:
            self._suspects, self._refused, self.heard = [], {}, False  # nobody is to blame
            raise EndpointUnavailable(f"the model fails on everything: {self._reason}")
        self._well_since_suspected = self._well_since_refused = True

    def _invoke(self, sequences: list[str]) -> list[Answer] | None:
        if self._seconds_left() < CALL_SECONDS + WRITING_SECONDS:
            raise OutOfTime("too little time left for another call of the model")
        try:
            return self._endpoint.invoke(
                sequences, component=self._component, model_version=self._model_version
            )
        except EndpointRefused as error:
            self._reason = str(error)
            return None
