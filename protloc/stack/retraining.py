"""Retraining, from the outside: started, followed step by step, and its result."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from protloc.errors import UsageProblem
from protloc.safe import safe
from protloc.stack import executions
from protloc.stack.client import Client

# SageMaker's names, of which the version is a part behind the stack's.
NAME = re.compile("[a-zA-Z0-9](-?[a-zA-Z0-9])*")
MAX_NAME_CHARACTERS = 40
OURS = ("model-version", "training", "validation", "model-dir")  # set by the state machine itself

JOB_LOGS = "/aws/sagemaker/TrainingJobs"  # docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
_EPOCH, _ACCURACY, _SECONDS = (
    re.compile(pattern)
    for pattern in (r"Epoch (\d+)/(\d+) ", r"Validation Accuracy: ([0-9.]+)", r"Seconds: (\d+)")
)

View = dict[str, Any]
Tell = Callable[[str], None]


class Started(NamedTuple):
    """A retraining that is on its way."""

    version: str
    execution: str


def settings(words: tuple[str, ...]) -> dict[str, str | None]:
    """`NAME=VALUE` words as settings of the training program; `null` takes one of the stack's away.

    >>> settings(("epochs=3", "frozen_layers=all", "start=null"))
    {'epochs': '3', 'frozen-layers': 'all', 'start': None}
    """
    chosen: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.removeprefix("--").replace("_", "-")
        if not equals or not name:
            raise UsageProblem(f"expected --set NAME=VALUE, as in --set epochs=3, found {safe(word, 60)}")
        if name.startswith("sagemaker") or name in OURS:
            instead = "; name the version with --version" if name == "model-version" else ""
            raise UsageProblem(f"{name} is not for --set: the retraining sets it{instead}")
        chosen[name] = None if value == "null" else value
    return chosen


def start(client: Client, version: str | None, set_: Mapping[str, str | None], *, again: bool) -> Started:
    """Start a retraining; without a version it gets one that says when it began."""
    if version is None:
        version = f"model-{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
    elif not NAME.fullmatch(version) or len(version) > MAX_NAME_CHARACTERS:
        raise UsageProblem(
            f"expected a version of letters, digits and single hyphens, at most {MAX_NAME_CHARACTERS}, "
            f"found {safe(version, 60)}"
        )
    for view in client.models()["models"]:
        if view["version"] == version and view["state"] != "failed":
            raise UsageProblem(f"there is a model version {version} already ({view['state']})")
    request: View = {"hyperparameters": dict(set_)} if set_ else {}
    return Started(version, executions.start(client, version, request | ({"again": True} if again else {})))


def outcome(client: Client, started: Started, tell: Tell) -> View:
    """Follow a retraining to its end: `outcome`, `version`, `reason` and `report`."""
    epochs = Epochs(client, started.execution)
    description = executions.follow(client, started.execution, tell, news=epochs.news)
    if description["status"] != executions.SUCCEEDED:
        return {
            "outcome": "Failed",
            "version": started.version,
            "reason": executions.reason(description),
            "report": None,
        }
    output = json.loads(description["output"])
    return {name: output.get(name) or None for name in ("outcome", "version", "reason", "report")}


def at_work(client: Client, version: str | None) -> Started:
    """The retraining that is at work, or the one of this version. Raises UsageProblem where there is none."""
    for started in _all_at_work(client):
        if version in (None, started.version):
            return started
    raise UsageProblem(f"no retraining{f' of {safe(version, 60)}' if version else ''} is at work")


def versions_at_work(client: Client) -> list[str]:
    """The versions that are being trained or judged."""
    return [started.version for started in _all_at_work(client)]


def _all_at_work(client: Client) -> Iterator[Started]:
    states = client.client("stepfunctions")
    running = states.list_executions(
        stateMachineArn=client.outputs["RetrainStateMachine"], statusFilter=executions.RUNNING
    )["executions"]
    for each in running:
        description = states.describe_execution(executionArn=each["executionArn"])
        request = json.loads(description["input"])
        if not request.get("artifact"):
            # Without a name, as the state machine itself calls one that a schedule starts.
            version = request.get("version") or f"model-{_milliseconds(description['startDate'])}"
            yield Started(version, each["executionArn"])


def stop(client: Client, started: Started) -> None:
    """Stop a retraining; its training job ends with it, and its model version so far is taken away."""
    client.client("stepfunctions").stop_execution(
        executionArn=started.execution, error="Cancelled", cause="it was cancelled"
    )
    with contextlib.suppress(ClientError):  # without the permission, the hourly run of `retire` does it
        executions.settle(client)


class Epochs:
    """The epochs that a retraining's training job reports in its log, as lines for people."""

    def __init__(self, client: Client, execution: str) -> None:
        self._client, self._execution = client, execution
        self._job, self._tokens, self._may = "", dict[str, str](), True
        self._epoch, self._accuracy = (0, 0), ""

    def news(self) -> Iterator[str]:
        """A line for each epoch that ended since the last time; none without permission to read the log."""
        if not self._may:
            return
        try:
            yield from filter(None, map(self._read, self._lines()))
        except ClientError as error:
            # Before the first job of an account there is no log at all.
            self._may = error.response["Error"]["Code"] == "ResourceNotFoundException"

    def _lines(self) -> Iterator[str]:
        logs = self._client.client("logs")
        if not self._job:
            started = self._client.client("stepfunctions").describe_execution(executionArn=self._execution)
            part = f"-{_milliseconds(started['startDate'])}-"  # how the state machine names its jobs
            jobs = self._client.client("sagemaker").list_training_jobs(NameContains=part)
            names = [each["TrainingJobName"] for each in jobs["TrainingJobSummaries"]]
            self._job = next((name for name in names if part in name and name.endswith("-train")), "")
            if not self._job:
                return
        streams = logs.describe_log_streams(logGroupName=JOB_LOGS, logStreamNamePrefix=f"{self._job}/")
        for stream in (each["logStreamName"] for each in streams["logStreams"]):
            token = self._tokens.get(stream)
            more = {"nextToken": token} if token else {}
            page = logs.get_log_events(
                logGroupName=JOB_LOGS, logStreamName=stream, startFromHead=True, **more
            )
            self._tokens[stream] = page["nextForwardToken"]
            yield from (event["message"] for event in page["events"])

    def _read(self, line: str) -> str:
        """The line for people that a line of the log completes, if so (`model/learning/outcome.py`)."""
        if match := _EPOCH.match(line):
            self._epoch, self._accuracy = (int(match[1]), int(match[2])), ""
        elif match := _ACCURACY.match(line):
            self._accuracy = f", {float(match[1]):.1%} of the validation proteins right".replace("%", " %")
        elif (match := _SECONDS.match(line)) and self._epoch[0]:
            done, epochs = self._epoch
            seconds = (epochs - done) * float(match[1])
            return f"epoch {done} of {epochs}{self._accuracy}" + (
                f", at most {duration(seconds)} left" if seconds else ""
            )
        return ""


def duration(seconds: float) -> str:
    """A time in minutes or hours, as a person says it.

    >>> duration(20), duration(200), duration(9000)
    ('1 min', '4 min', '2.5 h')
    """
    return f"{math.ceil(seconds / 60)} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def sentence(ended: View) -> str:
    """Describe the outcome of a retraining in one sentence."""
    version, reason = safe(ended["version"]), safe(ended["reason"] or "no reason given")
    return {
        "Promoted": f"{version} is the active version now. {reason}",
        "KeptChampion": f"{version} is not promoted: {reason}",
        "NothingNew": f"There is nothing to do: {reason}",
        "Skipped": f"Nothing was done: {reason}",
    }.get(ended["outcome"], f"the retraining failed: {reason}")
