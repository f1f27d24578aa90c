"""Locks between the commands of a home: freed however their holder ends, and waited for within a limit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

PAUSE_SECONDS = 0.05
TELL_SECONDS = 5.0
"""After this long a person sees the holder of the lock."""
STOPPED_SECONDS = 2.0
"""A holder that is stopped this long will not go on by itself."""


class LockedError(Exception):
    """A lock could not be had; the message names its holder."""


@contextlib.contextmanager
def held(path: Path, seconds: float, tell: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock file `path`, which is waited for so long at most. Raises `LockedError`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        if path.is_symlink():
            raise LockedError(f"expected a file at {path}, found a link; delete it") from None
        try:  # of a file system that became read-only: it can be held
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            raise LockedError(f"{path} cannot be written: {problem.strerror}") from None
    try:
        begin, has_told, stopped_since = time.monotonic(), False, 0.0
        while not _taken(descriptor):
            now, holder = time.monotonic(), holder_of(path)
            stopped = holder is not None and is_stopped(holder)
            stopped_since = (stopped_since or now) if stopped else 0.0
            if stopped and now - stopped_since > STOPPED_SECONDS:
                raise LockedError(
                    f"{path} is held by {named(holder)}, which is stopped by a signal: "
                    f"`kill -CONT {holder}` lets it go on"
                )
            if now - begin > seconds:
                raise LockedError(f"{path} is held by {named(holder)} for longer than {seconds:g} s")
            if not has_told and now - begin > TELL_SECONDS:
                tell(f"waiting for {named(holder)}, which holds {path}")
                has_told = True
            time.sleep(PAUSE_SECONDS)
        with contextlib.suppress(OSError):  # no room: the system may know the holder all the same
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_of(path: Path) -> int | None:
    """The process that holds a lock: as Linux tells (proc_locks(5)), else as the holder wrote it."""
    try:
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if len(words) == 8 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
                return int(words[4])
    except (OSError, ValueError):
        pass
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def is_stopped(pid: int) -> bool:
    """True if a process was stopped by a signal."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def named(pid: int | None) -> str:
    """A process as a person may know it."""
    if pid is None:
        return "an unknown process"
    try:
        command = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return f"process {pid}"
    return f"process {pid} ({command[:100]})"
