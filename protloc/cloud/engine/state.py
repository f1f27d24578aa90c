"""The cloud's state, saved while the cloud works: whole, at one instant, and back after `kill -9`.

A fork of the process is its memory at one instant, across all services: a message is never gone from a queue
on disk while the rows its handler wrote are missing. The child writes while the cloud works on
(`generations`). State is saved within about a second of a change, later only when saving
would take more than a tenth of the time. Object bodies are not part of it: they are on disk before
it (`durability`). A save that fails is told in `report`, and tried again every second.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import pickle  # nosec B403
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from protloc.cloud.engine.generations import Generations

FORMAT = 3
READABLE = (2, FORMAT)
"""Before 3 a state held all rows of tables; from it on `rows` has those that are not in its file."""
INTERVAL_SECONDS = 1.0
SHARE_OF_TIME = 0.1
CHECK_SECONDS = 60.0  # also without a known change: one that escaped the change counter is saved by then
CHILD_SECONDS = 120.0
REASON_BYTES = 2000

log = logging.getLogger("protloc.cloud")


class UnreadableStateError(Exception):
    """The state file exists but is not one this version can read."""


class _PlainUnpickler(pickle.Unpickler):
    """Makes containers, times and the engine's own classes; it calls nothing: a state is data, not code."""

    ENGINE = "ministack"
    PLAIN: ClassVar = {
        "builtins": {"bytearray", "complex", "dict", "frozenset", "range", "set", "slice"},
        "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
        "datetime": {"date", "datetime", "timedelta", "timezone"},
        "decimal": {"Decimal"},
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == self.ENGINE or name in self.PLAIN.get(module, ()):
            kind = super().find_class(module, name)
            if isinstance(kind, type):
                return kind
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state")


def decode(data: bytes, path: Path) -> dict[str, Any]:
    """The state in the content of a file, whose checksum was compared. Raises `UnreadableStateError`."""
    try:
        saved = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as problem:
        raise UnreadableStateError(
            f"{path}: expected a saved state, found {type(problem).__name__}"
        ) from problem
    saved_format = saved.get("format") if isinstance(saved, dict) else type(saved).__name__
    if saved_format not in READABLE:
        raise UnreadableStateError(f"{path}: expected a state of format {FORMAT}, found {saved_format}")
    state: dict[str, Any] = saved["state"]
    return state


def encode(state: dict[str, Any], file: Any) -> None:
    """Write a state to anything that has `write`."""
    pickler = pickle.Pickler(file, protocol=5)
    pickler.fast = True  # the state is a tree: looking for objects seen before would take eight times as long
    pickler.dump({"format": FORMAT, "state": state})


class Beside(Protocol):
    """Keeps a part of the state in a file of its own: `rows`."""

    def begin(self, generation: int) -> None: ...

    def settle(self, generation: int) -> None: ...


class Saver:
    """Saves when something changed. `run_at_rest` runs a callable where no request is half done."""

    def __init__(
        self,
        generations: Generations,
        capture: Callable[[], dict[str, Any]],
        run_at_rest: Callable[[Callable[[], int]], int],
        beside: Beside,
    ) -> None:
        self.failure = ""
        """The reason why the last save failed; empty where it did not."""
        self._generations = generations
        self._capture = capture
        self._run_at_rest = run_at_rest
        self._beside = beside
        self._changes = 0
        self._saved = 0
        self._counting = threading.Lock()
        self._saving = threading.Lock()
        self._stopped = threading.Event()
        self._cost_seconds = 0.0
        self._pause_seconds = 0.0
        self._count = 0
        self._failures = 0
        self._saved_at = 0.0
        self._reason = 0  # the pipe on which the child says why it failed
        self._thread = threading.Thread(target=self._loop, daemon=True, name="state-saver")

    def changed(self) -> None:
        """Note that something changed. Cheap: called for every request."""
        with self._counting:
            self._changes += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Save the last state, marked as the one with which everything was kept, and end."""
        self._stopped.set()
        self.save(last=True)

    def save(self, last: bool = False) -> None:
        """Save the present state; returns once it is on disk, or with the reason in `failure`."""
        with self._saving:
            changes = self._changes
            reading, writing = os.pipe()
            try:
                self._reason = writing
                child = self._run_at_rest(lambda: self._fork(last))
                os.close(writing)
                writing = -1
                status, processor_seconds = _wait(child)
                reason = os.read(reading, REASON_BYTES).decode(errors="replace")
            finally:
                os.close(reading)
                if writing >= 0:
                    os.close(writing)
            self._cost_seconds = processor_seconds + self._pause_seconds
            if status == 0:
                if self.failure:
                    log.warning("the state is saved again")
                self._generations.advance()
                self._saved, self.failure, self._saved_at = changes, "", time.time()
                self._count += 1
                self._beside.settle(self._generations.number)
            else:
                self._failures += 1
                self._fail(reason or f"the process that saves ended with {status}")

    def _fail(self, reason: str) -> None:
        if reason != self.failure:
            log.error("the state could not be saved (%s); trying again", reason)
        self.failure = reason

    def report(self) -> dict[str, Any]:
        """The cost of saving: changes noted and saved, times saved, processor seconds and pause of the last
        one; why it fails at present, and when it last did not.
        """
        return {
            "changes": self._changes,
            "saved": self._saved,
            "saves": self._count,
            "save_seconds": round(self._cost_seconds, 4),
            "pause_seconds": round(self._pause_seconds, 4),
            "failed_saves": self._failures,
            "save_failure": self.failure,
            "saved_at": self._saved_at,
        }

    def _fork(self, last: bool) -> int:
        begin = time.monotonic()
        with warnings.catch_warnings():
            # The child runs this thread alone, only pickles and writes, and takes no lock of another thread.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child:
            self._beside.begin(self._generations.number + 2)  # the next is being written
            self._pause_seconds = time.monotonic() - begin
            return child
        status = 1
        try:
            gc.disable()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._generations.write(self._capture(), last)
            status = 0
        except BaseException as problem:
            os.write(self._reason, f"{type(problem).__name__}: {problem}".encode()[:REASON_BYTES])
            if not isinstance(problem, OSError):
                traceback.print_exc()
        finally:
            os._exit(status)

    def _loop(self) -> None:
        checked = time.monotonic()
        while not self._stopped.wait(max(INTERVAL_SECONDS, self._cost_seconds / SHARE_OF_TIME)):
            due = time.monotonic() - checked > CHECK_SECONDS
            if self._changes == self._saved and not due and not self.failure:
                continue
            try:
                self.save()
            except Exception as problem:
                log.exception("saving the state failed; trying again")
                self._failures += 1
                self.failure = f"{type(problem).__name__}: {problem}"
            checked = time.monotonic()


def _wait(child: int) -> tuple[int, float]:
    """Exit status and processor seconds of `child`; one that hangs is ended."""
    deadline = time.monotonic() + CHILD_SECONDS
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
