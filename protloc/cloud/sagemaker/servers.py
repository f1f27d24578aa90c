"""Model servers as processes: each `serve` behind a socket that only the cloud process holds.

The servers hang on the cloud process by their standard input, a socket over which it hands them connections:
they end with it, `kill -9` included, and answer no one else. Each is `confined` to its model.
"""

from __future__ import annotations

import http.client
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

SERVE = Path(__file__).with_name("serve.py")
CONFINED = Path(__file__).with_name("confined.py")
# Folders that model servers and training jobs may use besides their own, for models that need them.
FOLDERS_VARIABLE = "PROTLOC_MODEL_FOLDERS"
INVOCATION_SECONDS = 60.0  # the container's limit on AWS
# Limits a person may set for the whole cloud; its processes see nothing else of its environment.
THREADS = ("OMP_NUM_THREADS",)
KEPT_CONNECTIONS = 16


class NotRunning(Exception):
    """No copy answers at present."""


class EndedAnswering(Exception):
    """The model server ended, or broke off, while it had the request."""


class StartFailed(Exception):
    """A copy ended, or was not ready in time, before it answered a ping for the first time."""


def base_environment(home: Path) -> dict[str, str]:
    """The environment of a model or job: nothing of the user's but the limits of threads."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
        **{name: os.environ[name] for name in THREADS if name in os.environ},
    }


def further_folders() -> list[str]:
    """The folders that models and jobs may use besides their own."""
    return [folder for folder in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if folder]


class _Connection(http.client.HTTPConnection):
    """A connection to a server that has no address; it cannot be made again."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("model", timeout=INVOCATION_SECONDS)
        connected.settimeout(INVOCATION_SECONDS)
        self.sock = connected

    def connect(self) -> None:
        raise ConnectionError("the connection is closed")


class ModelServer:
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
                    "SM_MODEL_DIR": str(model),
                    "OMP_WAIT_POLICY": "passive",  # threads that wait leave the core to the functions
                    **({} if alone else {"OMP_NUM_THREADS": "1"}),
                    **base_environment(scratch),
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
