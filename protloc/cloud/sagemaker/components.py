"""Inference components as processes: model servers (`serve`), started again when they end unasked.

A copy of a small model is one server a core, each with one thread, as SageMaker's toolkit has one worker a
core: its products are too short to be divided. A copy of a large one is one server with a thread a core.

A server that ends unasked is started again. After a restart of the cloud the unpacked model is still there,
and only the processes are new.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from model.serving.artifact import extracted
from protloc.cloud.sagemaker.servers import (
    INVOCATION_SECONDS,
    EndedAnswering,
    ModelServer,
    NotRunning,
    StartFailed,
)

SMALL_BYTES = 64 << 20  # of weights; more of them are not held in memory once a core
MAX_SERVERS = 8  # of one copy of a small model: each takes some 400 MB, most of it PyTorch
SERVERS_VARIABLE = "PROTLOC_MODEL_SERVERS"
RESTART_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

log = logging.getLogger("protloc.cloud")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a model archive; `folder` appears complete or not at all."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    extracted(archive, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def servers_of(model: Path) -> int:
    """The number of servers of a copy of the model in this folder: one a core where it is small.

    Fewer where the environment says so, for a machine with little memory.
    """
    weights = [path.stat().st_size for path in model.glob("*.safetensors")]
    if not weights or sum(weights) > SMALL_BYTES:
        return 1
    most = int(os.environ.get(SERVERS_VARIABLE) or MAX_SERVERS)
    return max(1, min(len(os.sched_getaffinity(0)), most))


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
        self._servers: list[ModelServer] = []  # of all copies
        self._turn = 0

    @property
    def running(self) -> int:
        """The copies of which a server answers."""
        return -(-len(self._servers) // self._each)

    def scale(self, copies: int) -> None:
        """Have this many copies from now on."""
        copies *= self._each
        with self._lock:
            self._wanted = copies
            surplus, self._servers = self._servers[copies:], self._servers[:copies]
            missing, self._keepers = copies - self._keepers, max(copies, self._keepers)
        for server in surplus:
            server.stop()
        for _ in range(missing):
            threading.Thread(target=self._keep, daemon=True, name="model-keeper").start()

    def invoke(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Ask one server. Requests wait here, not in the process: one that ends it takes no other with it."""
        with self._lock:
            if not self._servers:
                raise NotRunning
            self._turn += 1
            at = self._turn % len(self._servers)
            in_turn = self._servers[at:] + self._servers[:at]
        idle = next((server for server in in_turn if server.turn.acquire(blocking=False)), None)
        server = idle or in_turn[0]
        if not idle and not server.turn.acquire(timeout=INVOCATION_SECONDS):
            raise TimeoutError
        try:
            if server not in self._servers:
                raise NotRunning
            return server.request("POST", "/invocations", body, headers)
        finally:
            server.turn.release()

    def _keep(self) -> None:
        """Start one server again and again for as long as it is wanted."""
        attempt, served = 0, False
        while True:
            with self._lock:
                if self._keepers > self._wanted:
                    self._keepers -= 1
                    return
            begin = time.monotonic()
            server = ModelServer(self._model, self._environment, self._log_path, alone=self._each == 1)
            try:
                server.wait_ready(self._start_seconds)
            except (StartFailed, NotRunning, EndedAnswering, TimeoutError) as problem:
                server.stop()
                if not served:
                    with self._lock:
                        self._keepers -= 1
                    self._failed(str(problem))
                    return
            else:
                served = True
                with self._lock:
                    keep = len(self._servers) < self._wanted
                    if keep:
                        self._servers.append(server)
                if not keep:
                    server.stop()
                    continue
                self._ready()
                server.process.wait()
                with self._lock:
                    is_surplus = server not in self._servers
                    self._servers = [other for other in self._servers if other is not server]
                if is_surplus:
                    continue
                log.warning(
                    "a model server ended unasked with %s; starting it again", server.process.returncode
                )
            attempt = 0 if time.monotonic() - begin > 60 else attempt + 1
            time.sleep(RESTART_SECONDS[min(attempt, len(RESTART_SECONDS) - 1)])
