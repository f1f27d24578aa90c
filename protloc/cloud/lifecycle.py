"""Start, stop and describe the embedded cloud of one home folder.

`up` is idempotent and returns once requests are answered; two starters of one home never both start it; homes
share nothing, so several clouds run side by side. `<home>/cloud.json` remembers process and port: the port
stays across `down` and `up`, so URLs stay valid. Loopback only.

A cloud outlives the process that started it, unless the variable `PROTLOC_CLOUD_OWNER` holds the number of a
process: then it ends when that process does, on `kill -9` too, and without saving.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from protloc.cloud import idleness, locks, ports, private, processes
from protloc.cloud.connection import Cloud, find, health, stack_outputs
from protloc.cloud.engine.generations import Generations
from protloc.cloud.engine.names import check_version
from protloc.cloud.gate import keys
from protloc.cloud.sagemaker import confined
from protloc.cloud.server import NOT_STARTED

# So much that only a cloud that hangs takes longer, on a machine with far too much to do as well.
START_SECONDS = 600.0
STOP_SECONDS = 300.0
LOCK_SECONDS = 120.0
RUNNING_SECONDS = 60.0
"""For the last process of a cloud that ended to be gone, one that still writes the state included."""


class CloudError(Exception):
    """The cloud could not be started or stopped; the message has the remedy."""


class NotKeptError(CloudError):
    """The cloud's state could not be saved; the message names the part that was not kept."""


def up(
    home: Path | str, port: int | None = None, recover: bool = False, idle_seconds: float | None = None
) -> Cloud:
    """Start the cloud of `home` unless it runs; with `recover` from the newest state that is whole.

    With `idle_seconds` it ends itself after so long without a request or work. Raises `CloudError`.
    """
    try:
        home = private.folder(Path(home))
    except private.NotPrivate as problem:
        raise CloudError(str(problem)) from None
    except OSError as problem:
        raise CloudError(f"{home} cannot be made: {problem.strerror}") from None
    with _lock(home, "starting"):
        _refuse_stopped(home)
        try:
            if keys.read(home) is None and processes.pid_of(home) is not None:
                raise CloudError(
                    f"a cloud runs in {home}, and its access key is gone: stop it with `protloc down` first"
                )
            keys.made(home)  # once: not by two starters at the same time
        except private.NotPrivate as problem:
            raise CloudError(str(problem)) from None
        except OSError as problem:
            raise CloudError(f"the access key of {home} cannot be written: {problem.strerror}") from None
        running = find(home)
        if running is not None:
            if port not in (None, running.port):
                raise CloudError(
                    f"the cloud of {home} already runs on port {running.port}; stop it with `protloc down`"
                )
            if idle_seconds is not None:
                idleness.set_limit(home, idle_seconds)
            return running
        check_version()
        try:
            idleness.set_limit(home, idle_seconds)
            return _start(home, port, recover)
        except OSError as problem:
            raise CloudError(f"the cloud of {home} cannot be started: {problem}") from None


def down(home: Path | str, erase: bool = False, only_if_saved: bool = False) -> bool:
    """Stop the cloud of `home`, saving its state; with `erase` delete all it kept. True if it ran.

    Raises `NotKeptError` where the state could not be saved: the cloud is stopped all the same, and goes on
    with `only_if_saved`.
    """
    home = Path(home).resolve()
    if not home.exists():
        return False
    with _lock(home, "starting"):
        pid = processes.pid_of(home)
        if pid is not None:
            if locks.is_stopped(pid):
                os.kill(pid, signal.SIGCONT)
            problem = "" if erase else _saving_problem(home)
            if problem and only_if_saved:
                raise NotKeptError(f"the cloud goes on, as its state cannot be saved: {problem}")
            os.kill(pid, signal.SIGTERM)
            if not processes.gone(pid, STOP_SECONDS):
                os.kill(pid, signal.SIGKILL)
                processes.gone(pid, STOP_SECONDS)
        with _lock(home, "running", RUNNING_SECONDS):
            if erase:
                _erase(home)
            elif pid is not None:
                _require_kept(home, problem)
    return pid is not None


def _saving_problem(home: Path) -> str:
    """The reason why the present state is not saved, if so; an attempt, one each second, is waited for."""
    cloud = find(home)
    first = health(cloud.port, home) if cloud else None
    report = first
    while report and first and report["saved"] < first["changes"]:
        if report["save_failure"] and report["failed_saves"] > first["failed_saves"]:
            return (
                f"{report['save_failure']}; the last state that was saved is of {_moment(report['saved_at'])}"
            )
        time.sleep(0.1)
        report = health(cloud.port, home) if cloud else None
    return ""


def _require_kept(home: Path, problem: str) -> None:
    """Raise `NotKeptError` unless the newest state on disk is the one with which the cloud ended."""
    seal = Generations(home / "state", home / "s3").last_seal()
    if seal is None or not seal.last:
        outcome = f"kept is the state of {_moment(seal.taken)}" if seal else "no state is kept"
        why = problem or f"{home / 'cloud.log'} says why"
        raise NotKeptError(f"the cloud is stopped, and what changed last is not kept ({why}); {outcome}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def status(home: Path | str) -> dict[str, Any]:
    """The status of the cloud of `home`: pid, state, endpoint, api, console_url, home, active_model.

    And `not_saved`, since when and why, while the state cannot be saved. To look does not keep a cloud up
    that ends itself when idle.
    """
    home = Path(home).resolve()
    running = find(home)
    state: dict[str, Any] = {
        "pid": running.pid if running else None,
        "state": "running" if running else "stopped",
        "endpoint_url": running.endpoint_url if running else None,
        "api": None,
        "console_url": None,
        "home": str(home),
        "active_model": None,
        "idle_seconds": None,
        "ends_after_idle_seconds": None,
        "models_have_network": not (measures := confined.measures())["network"],
        "models_have_files": not measures["files"],
    }
    if running is None:
        pid = processes.pid_of(home)
        if pid is not None:
            state.update(state="stopped by a signal" if locks.is_stopped(pid) else "starting", pid=pid)
        return state
    report = health(running.port, home) or {}
    state.update(idle_seconds=report.get("idle_seconds"), ends_after_idle_seconds=idleness.limit(home))
    if report.get("save_failure"):
        state["not_saved"] = f"since {_moment(report['saved_at'])}: {report['save_failure']}"
    with contextlib.suppress(Exception):  # a cloud without the stack has neither
        looking = {"user_agent_extra": idleness.LOOKING}
        outputs = stack_outputs(running, **looking)
        if "ApiId" in outputs:
            state["api"] = running.api_url(outputs["ApiId"], outputs["ApiUrl"].rsplit("/", 1)[-1])
        key = {"pk": {"S": "alias"}, "sk": {"S": "active"}}
        tables = running.client("dynamodb", **looking)
        item = tables.get_item(TableName=outputs["ModelsTable"], Key=key).get("Item", {})
        state["active_model"] = item.get("version", {}).get("S") or None
    return state


def _start(home: Path, wanted: int | None, recover: bool = False) -> Cloud:
    with _lock(home, "running", RUNNING_SECONDS):
        pass  # a writer of the cloud that was killed a moment ago has finished
    bound = _port(home, wanted)
    port = bound.getsockname()[1]
    log_path = home / "cloud.log"
    try:
        opened = private.opened(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except private.NotPrivate as problem:
        raise CloudError(str(problem)) from None
    with opened as log, bound:
        begin = log_path.stat().st_size
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                "from protloc.cloud.server import main; main()",
                str(home),
                str(bound.fileno()),
                *(["--recover"] if recover else []),
            ],
            cwd=home,
            env={**os.environ, "PYTHONPATH": _python_path()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[bound.fileno()],
        )
    try:
        processes.write_note(home, {"pid": process.pid, "port": port})
    except OSError as problem:
        process.kill()
        raise CloudError(f"{home / 'cloud.json'} cannot be written: {problem.strerror}") from None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(home)
        if running is not None:
            return running
        if process.poll() is not None:
            with log_path.open("rb") as written:
                written.seek(begin)
                tail = written.read().decode(errors="replace").strip().splitlines()[-3:]
            if process.returncode == NOT_STARTED and tail:
                raise CloudError(tail[-1].partition(" protloc.cloud ")[2] or tail[-1])
            raise CloudError(f"the cloud ended while starting ({' / '.join(tail)}); see {log_path}")
        time.sleep(0.05)
    process.kill()
    raise CloudError(f"the cloud did not answer within {START_SECONDS:g} s; see {log_path}")


def _port(home: Path, wanted: int | None) -> socket.socket:
    """The port for the cloud of `home`, held: the one that is wanted, the one it had, or any."""
    if wanted:
        bound = ports.hold(wanted)
        if bound is None:
            raise CloudError(
                f"port {wanted} is in use: choose another with --port, or none to have one chosen"
            )
        return bound
    note = processes.read_note(home)
    try:
        if not note.get("port"):
            return ports.hold_any()
        # A process that was killed a moment ago is no longer there to `find`, and may still have its sockets.
        return (
            ports.hold_again(int(note["port"]), lambda: processes.alive(int(note["pid"]))) or ports.hold_any()
        )
    except ports.PortsTakenError as problem:
        raise CloudError(str(problem)) from None


def _python_path() -> str:
    """The project's folder first, so that the server is this very package."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))


def _refuse_stopped(home: Path) -> None:
    """Raise `CloudError` where the cloud is stopped by a signal: it does not answer, and holds its home."""
    pid = processes.pid_of(home)
    if pid is not None and locks.is_stopped(pid):
        raise CloudError(
            f"the cloud of {home}, process {pid}, is stopped by a signal: `kill -CONT {pid}` lets it go on, "
            "`protloc down` ends it"
        )


@contextlib.contextmanager
def _lock(home: Path, name: str, seconds: float | None = None) -> Iterator[None]:
    """Hold `<home>/<name>.lock`; it is freed however the holder ends. Raises `CloudError`."""
    try:
        with locks.held(home / f"{name}.lock", seconds or LOCK_SECONDS):
            yield
    except locks.LockedError as problem:
        raise CloudError(str(problem)) from None


def _erase(home: Path) -> None:
    """Delete the cloud's own files, and nothing else that a person may have put into the folder."""
    for name in ("s3", "state", "tmp", "code", "logs", "sagemaker"):
        shutil.rmtree(home / name, ignore_errors=True)
    for name in ("cloud.json", "cloud.log", "deploy.json", idleness.FILE, keys.FILE):
        (home / name).unlink(missing_ok=True)
