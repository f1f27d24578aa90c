"""A training job's log in CloudWatch, where SageMaker puts it and its SDK reads it.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html: group /aws/sagemaker/TrainingJobs, a
stream a host, written as the job's role. A role that may not log costs the log and not the job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

GROUP = "/aws/sagemaker/TrainingJobs"
# docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
MAX_EVENTS, MAX_EVENT_CHARACTERS = 1000, 4096

log = logging.getLogger("protloc.cloud")


class JobLog:
    """The lines that a job's program writes into files, sent on as they come."""

    def __init__(self, job: str, host: str, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        """`environment` holds the role's credentials and the cloud's address; without, nothing is sent."""
        self._stream = f"{job}/{host}-{time.time_ns() // 1_000_000}"
        self._read = {path: path.stat().st_size if path.exists() else 0 for path in files}
        self._client: Any = None
        if "AWS_ENDPOINT_URL" in environment:
            session = boto3.Session(
                environment["AWS_ACCESS_KEY_ID"],
                environment["AWS_SECRET_ACCESS_KEY"],
                environment["AWS_SESSION_TOKEN"],
                environment["AWS_REGION"],
            )
            config = Config(retries={"total_max_attempts": 2}, proxies={})
            self._client = session.client("logs", endpoint_url=environment["AWS_ENDPOINT_URL"], config=config)
            self._attempt(self._begin)

    def send(self, last: bool = False) -> None:
        """Send the lines that are new; at the `last` call also a line without an end."""
        for path in self._read:
            lines = self._new_lines(path, last)
            for first in range(0, len(lines), MAX_EVENTS):
                self._attempt(self._put, lines[first : first + MAX_EVENTS])

    def _begin(self) -> None:
        for call, fields in (
            (self._client.create_log_group, {"logGroupName": GROUP}),
            (self._client.create_log_stream, {"logGroupName": GROUP, "logStreamName": self._stream}),
        ):
            try:
                call(**fields)
            except self._client.exceptions.ResourceAlreadyExistsException:
                continue

    def _put(self, lines: Sequence[str]) -> None:
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line[:MAX_EVENT_CHARACTERS]} for line in lines]
        self._client.put_log_events(logGroupName=GROUP, logStreamName=self._stream, logEvents=events)

    def _attempt(self, call: Any, *arguments: Any) -> None:
        if self._client is None:
            return
        try:
            call(*arguments)
        except (BotoCoreError, ClientError) as problem:
            log.warning("the log of %s is not in CloudWatch: %s", self._stream, problem)
            self._client = None

    def _new_lines(self, path: Path, last: bool) -> list[str]:
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._read[path])
            content = file.read()
        if not last:
            content = content[: content.rfind(b"\n") + 1]
        self._read[path] += len(content)
        return [line for line in content.decode(errors="replace").splitlines() if line.strip()]
