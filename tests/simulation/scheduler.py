"""Virtual time, and the invocations that take turns in it.

Each invocation is a greenlet. Every call it makes of a client suspends it, and goes on at a moment drawn from
the seed; whether the call then fails, and how, is drawn too. So a seed is a schedule and replays exactly.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import ReadTimeoutError
from greenlet import greenlet

from tests.simulation.surroundings import refusal

T = TypeVar("T")

BEGINNING = 1_800_000_000.0

_ERRORS = {
    "dynamodb": ("ProvisionedThroughputExceededException", "InternalServerError"),
    "s3": ("SlowDown", "InternalError"),
    "sqs": ("RequestThrottled", "ServiceUnavailable"),
    "events": ("ThrottlingException", "InternalFailure"),
    "sagemaker-runtime": ("ThrottlingException", "ServiceUnavailable"),
}


class Killed(BaseException):
    """The process of an invocation is gone: nothing in it may handle this."""


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong, until when; each but `reading` is a probability a call or a delivery."""

    until: float = 0.0
    calls: float = 0.0
    slow: float = 0.0
    frozen: float = 0.0
    undone: float = 0.0
    past: float = 0.0
    deliveries: float = 0.0
    answers: float = 0.0
    reading: float = 0.0
    """Seconds that S3 takes for an object, at most."""


class Invocation:
    """One run of a function, suspended between its calls."""

    def __init__(
        self, simulation: Simulation, name: str, freeze_seconds: float, body: Callable[[], None]
    ) -> None:
        self.name = name
        self.freeze_seconds = freeze_seconds
        self.started = simulation.now
        self.killed = False
        self.disturbed = 0  # how often something came between it and a service
        self.subject: Any = None  # what it is about, where it matters
        self.resumes = False  # whether it goes on with a search that another began
        self.lineage: dict[str, int] = {}  # how often its event has invoked each function
        self.seconds_left = math.inf  # of what its function may work; what is frozen does not count
        self.overran = False
        self.model_calls: list[tuple[tuple[str, ...], str]] = []  # what was asked, and what came of it
        self._simulation = simulation
        self._body = body
        self._greenlet = greenlet(self._run)

    def _run(self) -> None:
        try:
            self._body()
        except Killed:
            self.killed = True

    def resume(self) -> None:
        if self._greenlet.dead:
            return
        self._simulation.current = self
        self._greenlet.switch()
        self._simulation.current = None

    def end(self) -> None:
        """Make an invocation that nobody waits for any more go away."""
        if self._greenlet:
            self.killed = True
            self._simulation.current = self
            self._greenlet.throw(Killed)
            self._simulation.current = None

    @property
    def running(self) -> bool:
        return not self._greenlet.dead


class Simulation:
    """The clock, the chance and the heap of what happens next."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.random = random.Random(seed)
        self.now = BEGINNING
        self.faults = Faults()
        self.current: Invocation | None = None
        self.invocations: list[Invocation] = []
        self.steps = 0
        self.trace = trace
        self._hub = greenlet.getcurrent()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._names: dict[str, int] = {}

    # Time

    def clock(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """What `time.sleep` does in an invocation."""
        if self.current is not None:
            self._pause(self.current, seconds)

    def work(self, seconds: float) -> None:
        """Let an invocation wait for a service that takes its time; Lambda ends what takes too long."""
        invocation = self.current
        if invocation is None:
            return
        invocation.seconds_left -= seconds
        if invocation.seconds_left > 0:
            return self._pause(invocation, seconds)
        self._pause(invocation, seconds + invocation.seconds_left)
        self.tell("ended by its timeout")
        invocation.killed = invocation.overran = True
        raise Killed

    def at(self, moment: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._order, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    def run(self, until: float, done: Callable[[], bool]) -> bool:
        """Let everything happen up to a moment, or until it is done; say whether it is."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
            if done():
                return True
        return done()

    # Invocations

    def invoke(self, function: str, freeze_seconds: float, body: Callable[[], None]) -> Invocation:
        self._names[function] = number = self._names.get(function, 0) + 1
        invocation = Invocation(self, f"{function}#{number}", freeze_seconds, body)
        self.invocations.append(invocation)
        self.after(0, invocation.resume)
        return invocation

    def close(self) -> None:
        for invocation in self.invocations:
            invocation.end()

    def _pause(self, invocation: Invocation, seconds: float) -> None:
        self.after(seconds, invocation.resume)
        self._hub.switch()
        if invocation.killed:
            raise Killed

    # Calls

    @property
    def faulty(self) -> bool:
        return self.now < self.faults.until

    def step(self, operation: str, about: Any, apply: Callable[[], T]) -> T:
        invocation = self.current
        if invocation is None:
            return apply()
        if invocation.killed:
            raise Killed
        self._pause(invocation, self._latency(invocation, operation))
        self.steps += 1
        fault = self._fault(operation)
        if fault:
            invocation.disturbed += 1
        if self.trace:
            self.tell(f"{operation} {shown(about)}{fault and f'  ✗ {fault}'}")
        return self._suffer(fault, operation, invocation, apply)

    def _suffer(self, fault: str, operation: str, invocation: Invocation, apply: Callable[[], T]) -> T:
        if not fault:
            return apply()
        service = operation.split(".")[0]
        match fault:
            case "died before":
                invocation.killed = True
                raise Killed
            case "died after":
                apply()
                invocation.killed = True
                raise Killed
            case "error":
                raise refusal(operation, self.random.choice(_ERRORS[service]), status=503)
            case "answer lost":
                apply()
                if service == "sagemaker-runtime":
                    invocation.model_calls.append(((), "timed out"))  # as it looks to the function
                raise ReadTimeoutError(endpoint_url=service)
        # The client tried again after an answer that was lost: it is done twice and the second answer counts.
        apply()
        return apply()

    def _fault(self, operation: str) -> str:
        if not self.faulty or self.random.random() >= self.faults.calls:
            return ""
        fault = self.random.choice(("died before", "died after", "error", "answer lost", "done twice"))
        if fault == "done twice" and operation.startswith("sagemaker-runtime"):
            return "error"  # the one client that does not try again by itself
        return fault

    def _latency(self, invocation: Invocation, operation: str) -> float:
        chance = self.random.random()
        if self.faulty:
            if chance < self.faults.frozen:
                invocation.disturbed += 1
                seconds = invocation.freeze_seconds * self.random.uniform(0.3, 2.5)
                if self.trace:
                    self.tell(f"… freezes for {seconds:.0f} s")
                return seconds
            if chance < self.faults.frozen + self.faults.slow:
                return self.random.uniform(1, 40)
            if operation == "s3.GetObject":
                return chance * max(self.faults.reading, 0.2)
        return chance * 0.2

    def left_undone(self, count: int) -> int:
        if self.faulty and self.random.random() < self.faults.undone:
            if self.current is not None:
                self.current.disturbed += 1
            return self.random.randint(1, count)
        return 0

    def sees_the_past(self) -> bool:
        return self.random.random() < self.faults.past

    def lineage(self) -> dict[str, int]:
        return self.current.lineage if self.current else {}

    # For a person who replays

    def tell(self, what: str) -> None:
        if self.trace:
            who = self.current.name if self.current else "world"
            self.trace(f"{self.now - BEGINNING:10.2f}  {who:14} {what}")


def shown(about: Any) -> str:
    text = " ".join(map(str, about)) if isinstance(about, tuple) else str(about)
    return text if len(text) <= 160 else text[:159] + "…"
