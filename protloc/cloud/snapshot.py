"""The cloud's state on disk: whole, at one instant, and back after `kill -9`.

A fork of the process is its memory at one instant, across all services: a message is never gone from a queue
on disk while the rows its handler wrote are missing. The child writes while the cloud works on; the file that
counts is replaced by one rename. State is saved within about a second of a change, later only when saving
would take more than a tenth of the time. Object bodies are not part of it: the engine writes them through.
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
from typing import Any, ClassVar

FORMAT = 2
INTERVAL_SECONDS = 1.0
SHARE_OF_TIME = 0.1
CHECK_SECONDS = 60.0  # also without a known change: whatever escaped the change counter is saved by then
CHILD_SECONDS = 120.0

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
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state")


def read(path: Path) -> dict[str, Any] | None:
    """The saved state, or None when nothing was saved yet."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        saved = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as problem:
        raise UnreadableStateError(
            f"{path}: expected a saved state, found {type(problem).__name__}"
        ) from problem
    found = saved.get("format") if isinstance(saved, dict) else type(saved).__name__
    if found != FORMAT:
        raise UnreadableStateError(f"{path}: expected a state of format {FORMAT}, found {found}")
    state: dict[str, Any] = saved["state"]
    return state


def write(path: Path, state: dict[str, Any]) -> None:
    """Replace the saved state by `state`, entirely or not at all."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        pickler = pickle.Pickler(file, protocol=5)
        pickler.fast = (
            True  # the state is a tree: looking for objects seen before would take eight times as long
        )
        pickler.dump({"format": FORMAT, "state": state})
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


class Saver:
    """Saves when something changed. `run_at_rest` runs a callable where no request is half done."""

    def __init__(
        self,
        path: Path,
        capture: Callable[[], dict[str, Any]],
        run_at_rest: Callable[[Callable[[], int]], int],
    ) -> None:
        self._path = path
        self._capture = capture
        self._run_at_rest = run_at_rest
        self._changes = 0
        self._saved = 0
        self._counting = threading.Lock()
        self._saving = threading.Lock()
        self._stopped = threading.Event()
        self._cost_seconds = 0.0
        self._pause_seconds = 0.0
        self._count = 0
        self._thread = threading.Thread(target=self._loop, daemon=True, name="state-saver")

    def changed(self) -> None:
        """Note that something changed. Cheap: called for every request."""
        with self._counting:
            self._changes += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Save what is not saved yet and end."""
        self._stopped.set()
        if self._changes != self._saved:
            self.save()

    def save(self) -> None:
        """Save the present state; returns once it is on disk."""
        with self._saving:
            changes = self._changes
            status, processor_seconds = _wait(self._run_at_rest(self._fork))
            self._cost_seconds = processor_seconds + self._pause_seconds
            if status == 0:
                self._saved = changes
                self._count += 1
            else:
                log.error("the state could not be saved to %s; trying again", self._path)

    def report(self) -> dict[str, float]:
        """What saving costs: changes noted and saved, times saved, processor seconds and pause of the last
        one.
        """
        return {
            "changes": self._changes,
            "saved": self._saved,
            "saves": self._count,
            "save_seconds": round(self._cost_seconds, 4),
            "pause_seconds": round(self._pause_seconds, 4),
        }

    def _fork(self) -> int:
        begin = time.monotonic()
        with warnings.catch_warnings():
            # The child runs this thread alone, only pickles and writes, and takes no lock of another thread.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child:
            self._pause_seconds = time.monotonic() - begin
            return child
        status = 1
        try:
            gc.disable()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            write(self._path, self._capture())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _loop(self) -> None:
        checked = time.monotonic()
        while not self._stopped.wait(max(INTERVAL_SECONDS, self._cost_seconds / SHARE_OF_TIME)):
            due = time.monotonic() - checked > CHECK_SECONDS
            if self._changes == self._saved and not due:
                continue
            try:
                self.save()
            except Exception:
                log.exception("saving the state failed; trying again")
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
