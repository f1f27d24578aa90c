"""A function process: it runs one invocation at a time.

A worker is a Python process running AWS's runtime client (`runtime`). The thread that invokes a function
serves the Lambda Runtime API to its worker itself: no thread or server exists per worker, an idle one costs
its memory only. Guaranteed: a process sees the environment given for its function and nothing of the host's;
a late answer of an ended invocation is never taken for a newer one.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protloc.cloud.lambdas.runtime_http import Connection

RUNTIME = Path(__file__).with_name("runtime.py")
INIT_SECONDS = 300.0  # AWS gives 10; a busy laptop that starts many at once needs more
STOP_SECONDS = 2.0
MAX_REQUEST_BYTES = 8 << 20  # an answer of 6 MB, and its envelope
API = "/2018-06-01/runtime"


@dataclass(frozen=True)
class Function:
    """One version of a function, ready to run: `task_root` holds its unpacked code."""

    name: str
    arn: str
    version: str
    handler: str
    timeout_seconds: int
    memory_megabytes: int
    task_root: Path
    environment: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class Outcome:
    """The result of an invocation: the handler's answer, or the error payload AWS would report."""

    payload: Any
    error: bool
    log: str
    peak_megabytes: int
    ended: str = ""
    """The end of the process under the invocation: `killed` from outside, `exited` by itself, or empty."""


class WorkerGone(Exception):
    """The process of a worker ended or stopped answering."""


KILLING = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
"""The signals that a process does not send itself by a fault of its own."""


def clean_environment(function: Function, api: str, temporary: Path) -> dict[str, str]:
    """The environment of a function process: Lambda's own variables plus the function's, nothing of the
    host's.
    """
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_megabytes),
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"embedded/{temporary.name}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(function.task_root),
        "LAMBDA_RUNTIME_DIR": str(RUNTIME.parent),
        **function.environment,
        "_HANDLER": function.handler,
        "AWS_LAMBDA_RUNTIME_API": api,
    }


class Worker:
    """One function process. Used by one thread at a time."""

    def __init__(self, function: Function, temporary: Path) -> None:
        self.function = function
        self.idle_since = time.monotonic()
        self._temporary = temporary
        temporary.mkdir(parents=True, exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._waiting: Connection | None = None  # the connection that asked for the next event
        self._log: list[bytes] = []
        # In the address, so that AWS's compiled client sends it: nobody else may take or answer an event.
        self._path = f"/{secrets.token_urlsafe(32)}{API}"
        api = f"127.0.0.1:{self._listener.getsockname()[1]}{self._path.removesuffix(API)}"
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(RUNTIME), str(os.getpid())],
            cwd=function.task_root,
            env=clean_environment(function, api, temporary),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._selector.register(self._listener, selectors.EVENT_READ, "listener")
        self._selector.register(self._output, selectors.EVENT_READ, "output")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def invoke(self, event: bytes, request_id: str, trace: str = "") -> Outcome:
        """Run one event. The worker is unfit for another one if its process ended (`alive`)."""
        limit = time.monotonic() + INIT_SECONDS
        try:
            while self._waiting is None:
                finished = self._serve(limit, request_id="")
                if finished is not None:
                    self.stop()
                    return self._outcome(finished)
        except (WorkerGone, TimeoutError) as problem:
            return self._exited(request_id, problem)
        timeout = self.function.timeout_seconds
        deadline = time.monotonic() + timeout
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.function.arn,
            "Lambda-Runtime-Trace-Id": trace,
        }
        connection, self._waiting = self._waiting, None
        try:
            connection.answer("200 OK", event, headers)
            while True:
                finished = self._serve(deadline, request_id)
                if finished is not None:
                    return self._outcome(finished)
        except TimeoutError:
            self.stop()
            return self._failure("Sandbox.Timedout", f"Task timed out after {timeout}.00 seconds")
        except (WorkerGone, OSError) as problem:
            return self._exited(request_id, problem)

    def stop(self) -> None:
        """End the process and release its resources. May be called twice."""
        if self.alive:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._drain()
        for key in list(self._selector.get_map().values()) if self._selector.get_map() else []:
            if isinstance(key.data, Connection):
                key.data.socket.close()
        self._selector.close()
        self._listener.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _serve(self, deadline: float, request_id: str) -> tuple[bool, bytes] | None:
        """Wait for the worker's next step; (succeeded, payload) once the current phase has its result."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the function did not start in time")
        for key, _ in self._selector.select(min(remaining, 1.0)):
            if key.data == "listener":
                connection, _ = self._listener.accept()
                self._selector.register(connection, selectors.EVENT_READ, Connection(connection))
            elif key.data == "output":
                self._drain()
            else:
                finished = self._read(key.data, request_id)
                if finished is not None:
                    return finished
        if not self.alive and self._waiting is None:
            self._drain()
            raise WorkerGone(f"Runtime exited with error: exit status {self._process.returncode}")
        return None

    def _read(self, connection: Connection, request_id: str) -> tuple[bool, bytes] | None:
        try:
            data = connection.socket.recv(1 << 20)
        except ConnectionError:
            data = b""
        connection.received += data
        try:
            request = connection.request() if data else None
        except ValueError:  # no request of a runtime client
            data = b""
        if not data or (request is None and len(connection.received) > MAX_REQUEST_BYTES):
            self._forget(connection)
            return None
        if request is None:
            return None
        method, path, body = request
        if not hmac.compare_digest(path[: len(self._path)].encode(), self._path.encode()):
            connection.answer("403 Forbidden", b'{"errorMessage":"Forbidden","errorType":"AccessDenied"}')
            self._forget(connection)
            return None
        path = path.removeprefix(self._path)
        if method == "GET" and path == "/invocation/next":
            self._waiting = connection
            return None
        if path == "/init/error":
            connection.answer("202 Accepted")
            return False, body
        succeeded = {f"/invocation/{request_id}/response": True, f"/invocation/{request_id}/error": False}
        if method == "POST" and path in succeeded:
            connection.answer("202 Accepted")
            return succeeded[path], body
        connection.answer(
            "400 Bad Request", b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'
        )
        return None

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _drain(self) -> None:
        while not self._process.stdout or not self._process.stdout.closed:
            try:
                data = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                if self._selector.get_map() and self._output in self._selector.get_map():
                    self._selector.unregister(self._output)
                return
            self._log.append(data)

    def _ended(self) -> str:
        """The end of the process; one whose connection broke has a moment to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        code = self._process.returncode
        if code is None:
            return ""
        return "killed" if -code in KILLING else "exited"

    def _outcome(self, finished: tuple[bool, bytes], ended: str = "") -> Outcome:
        self._drain()
        log, self._log = b"".join(self._log), []
        succeeded, body = finished
        try:
            payload = json.loads(body) if body else None
        except ValueError:
            payload = body.decode("utf-8", "replace")
        return Outcome(payload, not succeeded, log.decode("utf-8", "replace"), self._peak_megabytes(), ended)

    def _failure(self, kind: str, message: str, ended: str = "") -> Outcome:
        body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
        return self._outcome((False, body), ended)

    def _exited(self, request_id: str, problem: Exception) -> Outcome:
        """The outcome of an invocation whose process ended before it answered."""
        ended = self._ended()
        self.stop()
        return self._failure("Runtime.ExitError", f"RequestId: {request_id} Error: {problem}", ended)

    def _peak_megabytes(self) -> int:
        """The most memory the process ever held, where the system tells (Linux), else 0."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
        return int(line.split()[1]) // 1024
