"""The function processes that there are: each is used again while it stays healthy, and ended when idle.

At most `limit` invocations run at once, `limit_each` of one function; further ones wait.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from protloc.cloud.lambdas.workers import Function, Outcome, Worker

IDLE_SECONDS = 120.0


class WorkerPool:
    """The workers of all functions."""

    def __init__(self, folder: Path, limit: int, limit_each: int) -> None:
        self._folder = folder
        self._slots = threading.BoundedSemaphore(limit)
        self._limit_each = limit_each
        self._own_slots: dict[str, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()
        self._idle: dict[Function, list[Worker]] = {}
        self._busy: set[Worker] = set()
        self._started = 0
        threading.Thread(target=self._reap, daemon=True, name="worker-reaper").start()

    def invoke(self, function: Function, event: bytes, request_id: str, trace: str = "") -> Outcome:
        """Run one event in an idle worker of the function, or in a new one; waits where too many run already.

        AWS would start as many as asked for; here they would only share the same few cores.
        """
        with self._lock:
            own = self._own_slots.setdefault(function.arn, threading.BoundedSemaphore(self._limit_each))
        with own, self._slots:
            worker = self._lease(function)
            try:
                return worker.invoke(event, request_id, trace)
            finally:
                self._return(worker)

    def stop(self) -> None:
        """End every process, busy ones too."""
        with self._lock:
            workers = [*self._busy, *(worker for idle in self._idle.values() for worker in idle)]
            self._idle.clear()
        for worker in workers:
            worker.stop()

    def _lease(self, function: Function) -> Worker:
        with self._lock:
            # Of another version of its code or settings: of no more use.
            old = [
                worker
                for other in list(self._idle)
                if other.arn == function.arn and other != function
                for worker in self._idle.pop(other)
            ]
            idle = self._idle.get(function, [])
            worker = None
            while idle and worker is None:
                worker = idle.pop()
                if not worker.alive:
                    old.append(worker)
                    worker = None
            self._started += 1
            number = self._started
        for surplus in old:
            surplus.stop()
        if worker is None:
            worker = Worker(function, self._folder / f"{function.name}-{number}")
        with self._lock:
            self._busy.add(worker)
        return worker

    def _return(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.alive:
                worker.idle_since = time.monotonic()
                self._idle.setdefault(worker.function, []).append(worker)
                return
        worker.stop()

    def _reap(self) -> None:
        """End workers that were idle for a while; the rest of a burst does not hold memory for long."""
        while True:
            time.sleep(IDLE_SECONDS / 8)
            limit = time.monotonic() - IDLE_SECONDS
            with self._lock:
                old = [
                    worker
                    for workers in self._idle.values()
                    for worker in workers
                    if worker.idle_since < limit
                ]
                self._idle = {
                    function: younger
                    for function, workers in self._idle.items()
                    if (younger := [worker for worker in workers if worker not in old])
                }
            for worker in old:
                worker.stop()
