"""The process of a home's cloud: found by the note that it left, or among all processes."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import psutil

from protloc.cloud import disk


def read_note(home: Path) -> dict[str, Any]:
    """Read `cloud.json`; empty where it is missing or damaged."""
    try:
        note = json.loads((home / "cloud.json").read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(note, dict):
        return {}
    limits = {"pid": 1 << 30, "port": 65535}
    return {
        name: note[name]
        for name, most in limits.items()
        if isinstance(note.get(name), int) and not isinstance(note[name], bool) and 0 < note[name] <= most
    }


def write_note(home: Path, note: dict[str, Any]) -> None:
    disk.replace(disk.SYSTEM, str(home / "cloud.json"), json.dumps(note).encode())


def pid_of(home: Path) -> int | None:
    """The process of this home's cloud, whether its note is there or not."""
    return living(read_note(home).get("pid"), home) or search(home)


def search(home: Path) -> int | None:
    """The same among all processes. A child that saves has the same command, but leads no session."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == pid and living(pid, home):
                return int(pid)
    return None


def listening_port(pid: int) -> int | None:
    """The port of a cloud's socket, whose number is the last word of its command but for options."""
    with contextlib.suppress(psutil.Error, ValueError, StopIteration):
        process = psutil.Process(pid)
        number = int(next(word for word in reversed(process.cmdline()) if not word.startswith("-")))
        for connection in process.net_connections("tcp"):
            if connection.fd == number and connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
    return None


def living(pid: int | None, home: Path) -> int | None:
    """`pid` if it is the cloud's process of this home, not another one that got its number."""
    if pid is None or not alive(pid):
        return None
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        return None
    return pid if any("protloc.cloud.server" in word for word in command) and str(home) in command else None


def alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # our own child, when up and down run in one process
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)  # ended, and its parent did not ask
    return False


def gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False
