"""The surroundings of an in-memory service: the time, and the disturbance of calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from botocore.exceptions import ClientError

T = TypeVar("T")


class Surroundings(Protocol):
    """A simulation, or nothing at all."""

    def step(
        self, operation: str, about: Any, apply: Callable[[], T], partly: Callable[[], object] | None = None
    ) -> T:
        """Carry out a call, unless something comes between; others may go on before.

        `partly` does a part of it, as of a call of several items that failed midway.
        """

    def clock(self) -> float:
        """Seconds since the epoch."""

    def left_undone(self, count: int) -> int:
        """Draw how many of `count` items the service leaves for another call."""

    def sees_the_past(self) -> bool:
        """True if an eventually consistent read misses the latest changes."""

    def index_seconds(self) -> float:
        """The seconds by which an index may lag behind its table."""

    def conflicts(self) -> bool:
        """True if S3 answers a conditional write that another one was made at the same time."""

    def shuffled(self, values: list[T]) -> list[T]:
        """Values in the order in which a service that promises none takes them."""

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Have a service do something by itself, some time after it may."""

    def lineage(self) -> dict[str, int]:
        """The number of times that the event behind the current invocation has invoked each function."""


class Calm:
    """Surroundings in which every call is carried out at once."""

    def step(
        self, operation: str, about: Any, apply: Callable[[], T], partly: Callable[[], object] | None = None
    ) -> T:
        return apply()

    def clock(self) -> float:
        return time.time()

    def left_undone(self, count: int) -> int:
        return 0

    def sees_the_past(self) -> bool:
        return False

    def index_seconds(self) -> float:
        return 0.0

    def conflicts(self) -> bool:
        return False

    def shuffled(self, values: list[T]) -> list[T]:
        return values

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Nothing comes later where there is no simulated time."""

    def lineage(self) -> dict[str, int]:
        return {}


def refusal(operation: str, code: str, message: str = "", status: int = 400, **fields: Any) -> ClientError:
    """The error boto3 raises where a service refuses; `operation` as in `dynamodb.PutItem`."""
    answer: Any = {
        "Error": {"Code": code, "Message": message or code},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **fields,
    }
    return ClientError(answer, operation.split(".")[-1])
