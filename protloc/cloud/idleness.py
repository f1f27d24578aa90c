"""Measures for how long a cloud has had nothing to do: no request from outside, no work of its own in flight.

A request is from outside if its owner or a caller that the owner let in signs it, and not one of the cloud's
own functions and jobs. The cloud's schedules are no work: they would keep it up for ever.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FILE = "idle"
"""The file of a home with the seconds after which its running cloud ends itself."""
LOOKING = "protloc-status"
"""Part of the user agent of clients that only look at the cloud, which does not keep it up."""


class Idleness:
    """Counts requests that are being answered. `at_work` tells of work; any thread may ask."""

    def __init__(self, at_work: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._at_work, self._clock = at_work, clock
        self._requests, self._lock = 0, threading.Lock()
        self._busy_until = clock()

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """A request from outside, until it is answered."""
        with self._lock:
            self._requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1
                self._busy_until = self._clock()

    def seconds(self) -> float:
        """The seconds since there was anything to do, as far as was noticed: ask every few seconds."""
        if self._requests or self._at_work():
            self._busy_until = self._clock()
        return self._clock() - self._busy_until


def limit(home: Path) -> float | None:
    """The seconds after which the running cloud of a home ends itself; None: never."""
    try:
        return float((home / FILE).read_text())
    except (OSError, ValueError):
        return None


def set_limit(home: Path, seconds: float | None) -> None:
    if seconds is None:
        (home / FILE).unlink(missing_ok=True)
    else:
        (home / FILE).write_text(f"{seconds:g}\n")
