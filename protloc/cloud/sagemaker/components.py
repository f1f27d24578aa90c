"""Inference components as processes: model servers (`serve`), started again when they end unasked.

A copy of a small model is one server a core, each with one thread, as SageMaker's toolkit has one worker a
core: its products are too short to be divided. A copy of a large one is one server with a thread a core.

The servers hang on the cloud process by their standard input, a socket over which it hands them connections:
they end with it, `kill -9` included, and answer no one else. Each is `confined` to its model. After a restart
the unpacked model is still there and only the processes are started anew.
"""

from __future__ import annotations

import http.client
import logging
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from model.serving.artifact import extracted

SERVE = Path(__file__).with_name("serve.py")
CONFINED = Path(__file__).with_name("confined.py")
# Folders that model servers and training jobs may use besides their own, for who has models that need them.
FOLDERS_VARIABLE = "PROTLOC_MODEL_FOLDERS"
INVOCATION_SECONDS = 60.0  # the container's limit on AWS
# What a person may limit for the cloud as a whole: processes it starts see nothing else of its environment.
THREADS = ("OMP_NUM_THREADS",)
SMALL_BYTES = 64 << 20  # of weights; more of them are not held in memory once a core
MAX_SERVERS = 8  # of one copy of a small model: each takes some 400 MB, most of it PyTorch
SERVERS_VARIABLE = "PROTLOC_MODEL_SERVERS"
RESTART_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
KEPT_CONNECTIONS = 16

log = logging.getLogger("protloc.cloud")


class NotRunning(Exception):
    """No copy answers at present."""


class EndedAnswering(Exception):
    """The model server ended, or broke off, while it had the request."""


class StartFailed(Exception):
    """A copy ended, or was not ready in time, before it answered a ping for the first time."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a model archive; `folder` appears complete or not at all."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    extracted(archive, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def threads() -> dict[str, str]:
    """The variables that limit the threads of the cloud's own environment, to be handed on."""
    return {name: os.environ[name] for name in THREADS if name in os.environ}


def further_folders() -> list[str]:
    """The folders that models and jobs may use besides their own."""
    return [folder for folder in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if folder]


def servers_of(model: Path) -> int:
    """The number of servers of a copy of the model in this folder: one a core where it is small.

    Fewer where the environment says so, for who has little memory.
    """
    weights = [path.stat().st_size for path in model.glob("*.safetensors")]
    if not weights or sum(weights) > SMALL_BYTES:
        return 1
    most = int(os.environ.get(SERVERS_VARIABLE) or MAX_SERVERS)
    return max(1, min(len(os.sched_getaffinity(0)), most))


class _Connection(http.client.HTTPConnection):
    """A connection to a server that has no address; it cannot be made again."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("model", timeout=INVOCATION_SECONDS)
        connected.settimeout(INVOCATION_SECONDS)
        self.sock = connected

    def connect(self) -> None:
        raise ConnectionError("the connection is closed")


class Copy:
    """One model server; where it is not `alone` on the machine's cores, it has one thread."""

    def __init__(
        self, model: Path, environment: Mapping[str, str], log_path: Path, *, alone: bool = True
    ) -> None:
        self._log_path = log_path
        self.turn = threading.BoundedSemaphore(int(environment.get("SAGEMAKER_MODEL_SERVER_WORKERS") or 1))
        self._connections: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(KEPT_CONNECTIONS)
        scratch = model.with_suffix(".scratch")
        scratch.mkdir(mode=0o700, exist_ok=True)
        usable = [str(scratch), *further_folders()]
        self._starter, standard_input = socket.socketpair()
        python = [sys.executable, "-P"]
        with log_path.open("ab") as errors, standard_input:
            self.process = subprocess.Popen(
                [*python, str(CONFINED), str(model), *usable, "--", *python, str(SERVE), str(model)],
                cwd=model,
                env={
                    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
                    "LANG": "C.UTF-8",
                    "HOME": str(scratch),
                    "TMPDIR": str(scratch),
                    "PYTHONUNBUFFERED": "1",
                    "SM_MODEL_DIR": str(model),
                    "OMP_WAIT_POLICY": "passive",  # threads that wait leave the core to the functions
                    **({} if alone else {"OMP_NUM_THREADS": "1"}),
                    **threads(),
                    **environment,
                },
                stdin=standard_input.fileno(),
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float) -> None:
        """Return once it answers a ping; raises `StartFailed`."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        ready = False
        try:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                if ready := line == b"ready\n":
                    break
                self._note(line)
        finally:
            timer.cancel()
        if not ready:
            raise StartFailed(f"the model server ended with {self.process.wait()}: {self.log_tail()}")
        threading.Thread(target=self._follow, daemon=True, name="model-log").start()
        status, _, _ = self.request("GET", "/ping", b"", {})
        if status != 200:
            raise StartFailed(f"the model server answered a ping with {status}")

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """(status, content type, body). Raises `NotRunning`, `EndedAnswering`, or TimeoutError after AWS's
        limit.
        """
        try:
            return self._exchange(self._kept(), method, path, body, headers)
        except queue.Empty:
            return self._exchange(self._fresh(), method, path, body, headers)
        except EndedAnswering:
            try:
                connection = self._fresh()
            except NotRunning as problem:
                raise EndedAnswering("the model server ended while it answered") from problem
            return self._exchange(
                connection, method, path, body, headers
            )  # only the kept connection was stale

    def log_tail(self) -> str:
        try:
            return self._log_path.read_text(errors="replace")[-600:].strip()
        except OSError:
            return ""

    def stop(self) -> None:
        self._starter.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
    ) -> tuple[int, str, bytes]:
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except TimeoutError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            raise EndedAnswering("the model server ended while it answered") from problem
        try:
            self._connections.put_nowait(connection)
        except queue.Full:
            connection.close()
        return answer.status, answer.getheader("content-type") or "application/json", content

    def _kept(self) -> http.client.HTTPConnection:
        return self._connections.get_nowait()

    def _fresh(self) -> http.client.HTTPConnection:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._starter, [b"c"], [theirs.fileno()])
            except OSError as problem:
                ours.close()
                raise NotRunning(str(problem)) from problem
        return _Connection(ours)

    def _note(self, line: bytes) -> None:
        with self._log_path.open("ab") as file:
            file.write(line)

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._note(line)


class Component:
    """The copies of one inference component, kept at the wanted number."""

    def __init__(
        self,
        model: Path,
        environment: Mapping[str, str],
        log_path: Path,
        start_seconds: float,
        failed: Callable[[str], None],
        ready: Callable[[], None],
    ) -> None:
        self._model, self._environment, self._log_path = model, dict(environment), log_path
        self._start_seconds, self._failed, self._ready = start_seconds, failed, ready
        self._lock = threading.Lock()
        self._each = servers_of(model)
        self._wanted = 0  # servers
        self._keepers = 0
        self._copies: list[Copy] = []  # the servers of all copies
        self._turn = 0

    @property
    def running(self) -> int:
        """The copies of which a server answers."""
        return -(-len(self._copies) // self._each)

    def scale(self, copies: int) -> None:
        """Have this many copies from now on."""
        copies *= self._each
        with self._lock:
            self._wanted = copies
            surplus, self._copies = self._copies[copies:], self._copies[:copies]
            missing, self._keepers = copies - self._keepers, max(copies, self._keepers)
        for copy in surplus:
            copy.stop()
        for _ in range(missing):
            threading.Thread(target=self._keep, daemon=True, name="model-keeper").start()

    def invoke(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Ask one copy. Requests wait here, not in the server: one that ends it takes no other with it."""
        with self._lock:
            if not self._copies:
                raise NotRunning
            self._turn += 1
            at = self._turn % len(self._copies)
            in_turn = self._copies[at:] + self._copies[:at]
        idle = next((copy for copy in in_turn if copy.turn.acquire(blocking=False)), None)
        copy = idle or in_turn[0]
        if not idle and not copy.turn.acquire(timeout=INVOCATION_SECONDS):
            raise TimeoutError
        try:
            if copy not in self._copies:
                raise NotRunning
            return copy.request("POST", "/invocations", body, headers)
        finally:
            copy.turn.release()

    def _keep(self) -> None:
        """Start one copy again and again for as long as it is wanted."""
        attempt, served = 0, False
        while True:
            with self._lock:
                if self._keepers > self._wanted:
                    self._keepers -= 1
                    return
            begin = time.monotonic()
            copy = Copy(self._model, self._environment, self._log_path, alone=self._each == 1)
            try:
                copy.wait_ready(self._start_seconds)
            except (StartFailed, NotRunning, EndedAnswering, TimeoutError) as problem:
                copy.stop()
                if not served:
                    with self._lock:
                        self._keepers -= 1
                    self._failed(str(problem))
                    return
            else:
                served = True
                with self._lock:
                    keep = len(self._copies) < self._wanted
                    if keep:
                        self._copies.append(copy)
                if not keep:
                    copy.stop()
                    continue
                self._ready()
                copy.process.wait()
                with self._lock:
                    is_surplus = copy not in self._copies
                    self._copies = [other for other in self._copies if other is not copy]
                if is_surplus:
                    continue
                log.warning(
                    "a model server ended unasked with %s; starting it again", copy.process.returncode
                )
            attempt = 0 if time.monotonic() - begin > 60 else attempt + 1
            time.sleep(RESTART_SECONDS[min(attempt, len(RESTART_SECONDS) - 1)])
