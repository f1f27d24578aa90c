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
    """The rates of faults and their end; each but `reading` is a probability a call or a delivery."""

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
    out: tuple[str, float, float] = ("", 0.0, 0.0)
    """A service that fails on every call, from when to when."""
    forbidden: bool = False
    """True if it is well then and refuses the functions: somebody took a right away."""
    conflicts: float = 0.0
    """The probability that a conditional write to S3 meets another one."""


class Invocation:
    """One run of a function, suspended between its calls."""

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        freeze_seconds: float,
        timeout_seconds: float,
        body: Callable[[], None],
    ) -> None:
        self.name = name
        self.freeze_seconds = freeze_seconds
        self.timeout_seconds = timeout_seconds
        self.ends = simulation.now + timeout_seconds
        """When Lambda ends it; a sandbox that is frozen together with its timer ends later."""
        self.skew = simulation.random.uniform(-simulation.skew, simulation.skew)
        """The seconds by which its clock is ahead."""
        self.slowed = 0.0  # seconds that services took longer than they do on a good day
        self.calls_left = math.inf  # until it dies
        self.older = simulation.now < simulation.older_until and simulation.random.random() < 0.5
        """True if it is of the release before."""
        self.started = simulation.now
        self.killed = False
        self.disturbed = 0  # how often something came between it and a service
        self.records = 1
        self.subjects: set[Any] = set()  # the uploads that it is about, where they matter
        self.resumes = False  # whether it goes on with a search that another began
        self.lineage: dict[str, int] = {}  # how often its event has invoked each function
        self.overran = False
        self.model_calls: list[tuple[tuple[str, ...], str]] = []  # sequences, and the outcome
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

    @property
    def ended_well(self) -> bool:
        """True if it came to its end and nothing came between it and a service."""
        return not (self.running or self.killed or self.disturbed or self.overran)

    @property
    def now(self) -> float:
        return self._simulation.now


class Simulation:
    """The clock, the chance and the heap of coming events."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.random = random.Random(seed)
        self.now = BEGINNING
        self.faults = Faults()
        self.current: Invocation | None = None
        self.invocations: list[Invocation] = []
        self.steps = 0
        self.latency = 0.2  # seconds of a call on a good day, at most
        self.skew = 0.0  # seconds that a function's clock is off, at most
        self.index_lag = 2.0
        self.older_until = 0.0
        self.crowded = False
        """True if so many copies of messages are under way that no more are made."""
        self.trace = trace
        self._hub = greenlet.getcurrent()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._names: dict[str, int] = {}

    # Time

    def clock(self) -> float:
        return self.now

    def time(self) -> float:
        """The time by the clock of the function that asks."""
        return self.now + (self.current.skew if self.current else 0.0)

    def sleep(self, seconds: float) -> None:
        """Sleep as `time.sleep` does in an invocation."""
        if self.current is not None:
            self._pause(self.current, seconds)

    def work(self, seconds: float) -> None:
        """Let an invocation wait for a service that takes its time."""
        if self.current is not None:
            self._pause(self.current, seconds)

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

    def invoke(
        self, function: str, freeze_seconds: float, timeout_seconds: float, body: Callable[[], None]
    ) -> Invocation:
        self._names[function] = number = self._names.get(function, 0) + 1
        invocation = Invocation(self, f"{function}#{number}", freeze_seconds, timeout_seconds, body)
        self.invocations.append(invocation)
        self.after(0, invocation.resume)
        return invocation

    def close(self) -> None:
        for invocation in self.invocations:
            invocation.end()

    def _pause(self, invocation: Invocation, seconds: float) -> None:
        """Let others go on; Lambda ends an invocation that takes too long, between any two calls."""
        over = self.now + seconds >= invocation.ends
        self.after(max(invocation.ends - self.now, 0.0) if over else seconds, invocation.resume)
        self._hub.switch()
        if over and not invocation.killed:
            self.tell("ended by its timeout")
            invocation.killed = True
            if invocation.slowed or invocation.disturbed:
                invocation.disturbed += 1
            else:
                invocation.overran = True
        if invocation.killed:
            raise Killed

    # Calls

    @property
    def faulty(self) -> bool:
        return self.now < self.faults.until

    def step(
        self, operation: str, about: Any, apply: Callable[[], T], partly: Callable[[], object] | None = None
    ) -> T:
        invocation = self.current
        if invocation is None:
            return apply()
        if invocation.killed:
            raise Killed
        self._pause(invocation, self._latency(invocation, operation))
        self.steps += 1
        invocation.calls_left -= 1
        fault = self._fault(operation) if invocation.calls_left >= 0 else "died before"
        if fault:
            invocation.disturbed += 1
        if self.trace:
            self.tell(f"{operation} {shown(about)}{fault and f'  ✗ {fault}'}")
        if fault == "error" and partly is not None and self.random.random() < 0.5:
            partly()
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
            case "forbidden":
                raise refusal(operation, "AccessDeniedException", status=403)
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
        service, begins, ends = self.faults.out
        if service and begins <= self.now < ends and operation.startswith(f"{service}."):
            return "forbidden" if self.faults.forbidden else "error"
        if not self.faulty or self.random.random() >= self.faults.calls:
            return ""
        fault = self.random.choice(("died before", "died after", "error", "answer lost", "done twice"))
        if self.crowded and operation == "sqs.SendMessage":
            return fault if fault in ("died before", "error") else ""
        if fault == "done twice" and operation.startswith("sagemaker-runtime"):
            return "error"  # the one client that does not try again by itself
        return fault

    def _latency(self, invocation: Invocation, operation: str) -> float:
        chance = self.random.random()
        if self.faulty:
            if chance < self.faults.frozen:
                return self._frozen(invocation)
            if chance < self.faults.frozen + self.faults.slow:
                seconds = self.random.uniform(1, 40)
                invocation.slowed += seconds
                return seconds
            if operation == "s3.GetObject" and self.faults.reading:
                invocation.slowed += chance * self.faults.reading
                return chance * max(self.faults.reading, self.latency)
        return chance * self.latency

    def _frozen(self, invocation: Invocation) -> float:
        """A sandbox stands still; if its timer does as well, it wakes up long after others took over."""
        invocation.disturbed += 1
        seconds = invocation.freeze_seconds * self.random.uniform(0.3, 2.5)
        if self.random.random() < 0.7:
            invocation.ends += seconds
        if self.trace:
            self.tell(f"… freezes for {seconds:.0f} s")
        return seconds

    def left_undone(self, count: int) -> int:
        if self.faulty and self.random.random() < self.faults.undone:
            if self.current is not None:
                self.current.disturbed += 1
            return self.random.randint(1, count)
        return 0

    def sees_the_past(self) -> bool:
        return self.random.random() < self.faults.past

    def index_seconds(self) -> float:
        return self.index_lag

    def conflicts(self) -> bool:
        if not self.faulty or self.random.random() >= self.faults.conflicts:
            return False
        if self.current:
            self.current.disturbed += 1
        self.tell("  two writers at once")
        return True

    def shuffled(self, values: list[T]) -> list[T]:
        return self.random.sample(values, len(values))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.after(seconds + self.random.choice((0.0, 60.0, 7_200.0)) * self.random.random(), action)

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
