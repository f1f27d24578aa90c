"""Folders and files that belong to one person: made so under any umask, and refused where they are not.

A home holds uploads, the access key, and code that runs as its owner: no other user may read or write it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import IO

UMASK = 0o077


class NotPrivate(Exception):
    """A folder or file that another user may change; the message has the remedy."""


def folder(path: Path) -> Path:
    """The folder, resolved, for its owner alone; it is made where there is none. Raises `NotPrivate`."""
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        raise NotPrivate(f"{path} is a link that somebody else made; choose another home")
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        require_own(path)
    path.chmod(0o700)
    return path


def require_own(path: Path) -> None:
    """Raise `NotPrivate` unless a folder belongs to this user, and no other user may write to it."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotPrivate(f"expected a folder at {path}, found a file")
    if status.st_uid != os.geteuid():
        raise NotPrivate(f"{path} belongs to another user; choose another home")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivate(
            f"others may write to {path}, so what is in it may be theirs: look at it, then `chmod 700 {path}`"
        )


def opened(path: Path, flags: int = os.O_WRONLY | os.O_CREAT) -> IO[str]:
    """Open a file of this user's, private to this user. No link is followed. Raises `NotPrivate`."""
    mode = "r" if flags & os.O_ACCMODE == os.O_RDONLY else "a" if flags & os.O_APPEND else "w"
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        if path.is_symlink():
            raise NotPrivate(f"expected a file at {path}, found a link; delete it") from problem
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise NotPrivate(f"{path} is not a file of this user's; delete it")
    if status.st_mode & 0o077:
        if mode == "r":
            os.close(descriptor)
            raise NotPrivate(f"others may read or write {path}, so it is no secret any more: delete it")
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, mode)


def write(path: Path, text: str) -> None:
    """Write a file for this user alone, all at once."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
