"""Files that are on disk whole before anybody is told so.

Everything the cloud keeps goes through these few calls, one per system call; a test can put a failing disk in
their place. A file is written under a name of its own, synced, and renamed to the final one; a name is
lasting once its folder was synced. See fsync(2) and rename(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import Protocol

TEMPORARY = ".tmp"
"""The end of the name of a file that counts for nothing yet."""


class Writing(Protocol):
    """A file being written."""

    def write(self, data: bytes, /) -> object: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """A file system, a method for each system call. All raise OSError."""

    def create(self, path: str) -> Writing: ...

    def rename(self, path: str, target: str) -> None: ...

    def link(self, path: str, target: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def sync_folder(self, path: str) -> None: ...

    def make_folder(self, path: str) -> None: ...

    def read(self, path: str) -> bytes: ...

    def exists(self, path: str) -> bool: ...


class _File:
    def __init__(self, path: str) -> None:
        # Unbuffered: a write that fails is told at once, and closing has nothing left to write.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class System:
    """The disk of this machine."""

    def create(self, path: str) -> Writing:
        return _File(path)

    def rename(self, path: str, target: str) -> None:
        os.replace(path, target)

    def link(self, path: str, target: str) -> None:
        try:
            os.link(path, target)
        except OSError as problem:
            # A file system without hard links, as those of memory cards.
            if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                raise
            shutil.copyfile(path, target + TEMPORARY)
            with open(target + TEMPORARY, "rb") as file:
                os.fsync(file.fileno())
            os.replace(target + TEMPORARY, target)

    def remove(self, path: str) -> None:
        os.remove(path)

    def sync_folder(self, path: str) -> None:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError as problem:
            if problem.errno != errno.EINVAL:  # a file system whose folders can't be synced
                raise
        finally:
            os.close(folder)

    def make_folder(self, path: str) -> None:
        os.mkdir(path, 0o700)

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)


SYSTEM = System()


def make_folders(disk: Disk, path: str) -> None:
    """Make a folder and those above it, for good."""
    if disk.exists(path):
        return
    above = os.path.dirname(path)
    make_folders(disk, above)
    with contextlib.suppress(FileExistsError):
        disk.make_folder(path)
    disk.sync_folder(above)


def write_aside(disk: Disk, path: str, data: bytes) -> str:
    """Write the whole of the future `path` beside it; return where. Nothing is left of it on a failure."""
    aside = path + TEMPORARY
    try:
        file = disk.create(aside)
        try:
            file.write(data)
            file.sync()
        finally:
            file.close()
    except OSError:
        remove_quietly(disk, aside)
        raise
    return aside


def replace(disk: Disk, path: str, data: bytes) -> None:
    """Make `data` the content of `path`, entirely and for good, or not at all."""
    aside = write_aside(disk, path, data)
    try:
        disk.rename(aside, path)
    except OSError:
        remove_quietly(disk, aside)
        raise
    disk.sync_folder(os.path.dirname(path))


def remove_quietly(disk: Disk, path: str) -> None:
    """Remove a file that no record names; it may be gone already, or stay."""
    with contextlib.suppress(OSError):
        disk.remove(path)
