"""Waiting in tests: for the event itself, never for an amount of time.

No test may depend on how long something takes. The limit is there for one reason, that a hang ends; it is long
enough for a machine with far too much to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

LIMIT_SECONDS = 600.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.01, 0.25


def until(condition: Callable[[], Value], reason: str | Callable[[], object] = "") -> Value:
    """Wait until `condition` gives a true value, and return that value.

    A hang fails with the last value and `reason`: the awaited event, or a call that shows the state.
    """
    end, pause = time.monotonic() + LIMIT_SECONDS, FIRST_PAUSE_SECONDS
    while not (value := condition()):
        if time.monotonic() > end:
            explanation = reason if isinstance(reason, str) else reason()
            raise AssertionError(
                f"nothing came in {LIMIT_SECONDS:g} s: {explanation}; the last value was {value!r}"
            )
        time.sleep(pause)
        pause = min(pause * 1.3, LAST_PAUSE_SECONDS)
    return value


class Gate:
    """Holds work in another process until the test opens it.

    The work calls the function of `source`, which reports that it has come, and waits for the file that
    `open` creates.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reached = path.with_name(f"{path.name}.reached")
        self._reached.mkdir()

    source = '''
def pass_gate(path):
    """Say that this process has come to the gate, and wait until the test opens it."""
    import os, time
    open(os.path.join(path + ".reached", str(os.getpid())), "w").close()
    while not os.path.exists(path):
        time.sleep(0.01)
'''

    @property
    def reached(self) -> set[int]:
        """The numbers of the processes that have come to the gate so far."""
        return {int(entry.name) for entry in self._reached.iterdir()}

    def open(self) -> None:
        self.path.touch()

    def close(self) -> None:
        """Hold again any work from now on; none has come yet."""
        self.path.unlink()
        for entry in self._reached.iterdir():
            entry.unlink()
