"""The files of one stored object: its body, its sidecar, and the bodies of versions that it displaced.

The sidecar `<body>.meta.json` decides: it names its body by a digest and is replaced last. A failure before
that leaves the object as it was, one that is noticed later is undone, and `recover` brings the body of each
sidecar back into place where the machine died in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterable
from typing import Any

from protloc.cloud.disk import TEMPORARY, Disk, make_folders, remove_quietly, replace, write_aside

SIDECAR = ".meta.json"
BEFORE = ".before" + TEMPORARY
"""Names the body that is being replaced, until its successor counts."""

log = logging.getLogger("protloc.cloud")


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def put(disk: Disk, path: str, body: bytes | None, about: dict[str, Any]) -> None:
    """Store a body with its description; without a body, only the latter is replaced.

    Raises OSError, and the object is then as it was before.
    """
    make_folders(disk, os.path.dirname(path))
    if body is None:
        about = {**about, "sha256": _sidecar(disk, path).get("sha256")}
        replace(disk, path + SIDECAR, json.dumps(about).encode())
        return
    sidecar = json.dumps({**about, "sha256": digest_of(body)}).encode()
    before = path + BEFORE
    fresh = []
    try:
        fresh.append(write_aside(disk, path, body))
        fresh.append(write_aside(disk, path + SIDECAR, sidecar))
        remove_quietly(disk, before)
        if disk.exists(path):
            disk.link(path, before)
            fresh.append(before)
        disk.sync_folder(os.path.dirname(path))
        old = disk.read(path + SIDECAR) if disk.exists(path + SIDECAR) else None
    except OSError:
        for each in fresh:
            remove_quietly(disk, each)
        raise
    try:
        disk.rename(path + TEMPORARY, path)
        disk.rename(path + SIDECAR + TEMPORARY, path + SIDECAR)
        disk.sync_folder(os.path.dirname(path))
    except OSError:
        _undo(disk, path, old)
        raise
    remove_quietly(disk, before)


def _undo(disk: Disk, path: str, sidecar: bytes | None) -> None:
    """Restore the state before a replacement that failed halfway; `recover` does it if the disk is gone."""
    with contextlib.suppress(OSError):
        if sidecar is None:
            remove_quietly(disk, path + SIDECAR)
            remove_quietly(disk, path)
        else:
            if _read(disk, path + SIDECAR) != sidecar:
                replace(disk, path + SIDECAR, sidecar)
            if disk.exists(path + BEFORE):
                disk.rename(path + BEFORE, path)
        disk.sync_folder(os.path.dirname(path))
        for each in (path + TEMPORARY, path + SIDECAR + TEMPORARY):
            remove_quietly(disk, each)


def keep(disk: Disk, path: str, target: str) -> None:
    """Keep the present body under another name as well: it is about to be displaced. Raises OSError."""
    make_folders(disk, os.path.dirname(target))
    if disk.exists(target):
        return
    disk.link(path, target)
    disk.sync_folder(os.path.dirname(target))


def remove(disk: Disk, path: str) -> None:
    """Remove an object: its body first, without which a sidecar is taken for nothing. Raises OSError."""
    if disk.exists(path):
        disk.remove(path)
        remove_quietly(disk, path + SIDECAR)
    elif disk.exists(path + SIDECAR):
        disk.remove(path + SIDECAR)
    else:
        return
    disk.sync_folder(os.path.dirname(path))


def recover(disk: Disk, paths: Iterable[str]) -> list[str]:
    """Repair these bodies after a killed process; return those whose sidecar has no body any more."""
    damaged = []
    for path in paths:
        checksum = _sidecar(disk, path).get("sha256")
        candidates = (path, path + BEFORE, path + TEMPORARY)
        leftovers = [*candidates[1:], path + SIDECAR + TEMPORARY]
        if not any(disk.exists(each) for each in leftovers):
            continue
        if not disk.exists(path + SIDECAR):
            if disk.exists(path + SIDECAR + TEMPORARY):
                leftovers.append(path)  # its sidecar was still to come: it was not acknowledged
        elif checksum:
            whole = next((each for each in candidates if digest_of(_read(disk, each)) == checksum), None)
            if whole is None:
                damaged.append(path)
                continue
            if whole != path:
                log.warning("%s: brought back from %s", path, os.path.basename(whole))
                disk.rename(whole, path)
        for each in leftovers:
            remove_quietly(disk, each)
        disk.sync_folder(os.path.dirname(path))
    return damaged


def interrupted(files: Iterable[str]) -> list[str]:
    """The bodies, among these files, at which something was left unfinished."""
    interrupted_writes = [
        name.removesuffix(BEFORE).removesuffix(TEMPORARY) for name in files if name.endswith(TEMPORARY)
    ]
    return sorted({name.removesuffix(SIDECAR) for name in interrupted_writes})


def _sidecar(disk: Disk, path: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(_read(disk, path + SIDECAR))
    except ValueError:
        return {}
    return about


def _read(disk: Disk, path: str) -> bytes:
    return disk.read(path) if disk.exists(path) else b""
