"""Functions of the stack, run in processes of `lambdas` where the engine would use workers of its own."""

from __future__ import annotations

import contextvars
import hashlib
import json
import logging
import threading
import time
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protloc.cloud.engine.names import REGION, module
from protloc.cloud.lambdas import lineage
from protloc.cloud.lambdas.pool import WorkerPool
from protloc.cloud.lambdas.workers import Function

if TYPE_CHECKING:
    from protloc.cloud.engine import Engine

LOG_BYTES = 16 << 20
LOG_STREAMS = 200

log = logging.getLogger("protloc.cloud")

endings: contextvars.ContextVar[list[str]] = contextvars.ContextVar("endings")
"""Notes for the delivery in this context how workers ended under it."""


class Functions:
    """Runs functions, and writes their logs."""

    def __init__(self, engine: Engine, pool: WorkerPool) -> None:
        self._engine, self._pool = engine, pool
        self._code: dict[str, Path] = {}
        self._code_lock = threading.Lock()
        self._log_lock = threading.Lock()
        self._service = module("ministack.services.lambda_svc")
        self._service._execute_function_warm = self.run
        self._emit = self._service._emit_lambda_logs
        self._service._emit_lambda_logs = self.emit
        # The engine's are a hash of the function's name: anybody can compute them.
        self._service.execution_credentials = self.credentials

    def run(self, func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        """In place of the engine's own workers: run a Python function in a process of `workers`."""
        delivered = isinstance(event, dict) and "Records" in event
        (self._engine.delivering if delivered else self._engine.serving).wait()
        config = func.get("config") or func
        name, version = config["FunctionName"], config.get("Version", "$LATEST")
        traces = lineage.arriving(event)
        invocation = lineage.invocation(config["FunctionArn"], traces)
        definition = self._service._functions.get(name) or func
        dropped = self._service._recursive_loop_drop(name, definition, invocation)
        if dropped is not None:
            refusal = {"errorType": "RecursiveInvocationException", "errorMessage": dropped[2].decode()}
            return {"error": True, "body": refusal, "log": ""}
        try:
            task_root = self._unpack(func["code_zip"])
        except OSError as problem:
            return self._not_started(name, problem)
        function = Function(
            name=name,
            arn=config["FunctionArn"],
            version=version,
            handler=config["Handler"],
            timeout_seconds=int(config.get("Timeout") or 3),
            memory_megabytes=int(config.get("MemorySize") or 128),
            task_root=task_root,
            environment={
                **self.credentials(config),
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', 'python')}",
                **self._service._runtime_env_vars(config),
                "AWS_ENDPOINT_URL": self._engine.endpoint_url,
            },
        )
        begin = time.monotonic()
        payload = json.dumps(event, ensure_ascii=False).encode()
        trace = lineage.handed_on(function.arn, traces)
        try:
            outcome = self._pool.invoke(function, payload, request_id, trace)
        except OSError as problem:
            return self._not_started(name, problem)
        if outcome.ended:
            endings.get([]).append(outcome.ended)
        self._engine.changed()
        milliseconds = int((time.monotonic() - begin) * 1000)
        self._write_log(
            name,
            f"START RequestId: {request_id} Version: {version}\n{outcome.log}"
            f"REPORT RequestId: {request_id} Duration: {milliseconds} ms Memory Size: "
            f"{function.memory_megabytes} MB Max Memory Used: {outcome.peak_megabytes} MB\n",
        )
        result = {"body": outcome.payload, "log": outcome.log}
        return {**result, "error": True} if outcome.error else result

    def emit(self, func: dict[str, Any], *rest: Any, **named: Any) -> None:
        """Write to CloudWatch Logs, unless the function was deleted while it ran.

        Lambda writes as the function's role, which is gone with it; the engine would make its log group anew.
        """
        if (func.get("config") or func).get("FunctionName") in self._service._functions:
            self._emit(func, *rest, **named)

    def credentials(self, config: Mapping[str, Any]) -> dict[str, str]:
        """The variables with which a function acts as its role."""
        credentials = self._engine.role_credentials(
            str(config.get("Role", "")), str(config["FunctionName"])[:64]
        )
        return {name.upper(): value for name, value in credentials.items()}

    def _not_started(self, name: str, problem: OSError) -> dict[str, Any]:
        """The result where there is no process, folder or room for one: nothing of the function's own."""
        log.error("%s could not be started: %s", name, problem)
        endings.get([]).append("killed")
        body = {"errorType": "Runtime.StartError", "errorMessage": str(problem)}
        return {"error": True, "body": body, "log": ""}

    def _write_log(self, name: str, text: str) -> None:
        """Append to <home>/logs/<function>.log, one older file kept; bound the engine's own copy."""
        path = self._engine.home / "logs" / f"{name}.log"
        with self._log_lock:
            try:
                if path.exists() and path.stat().st_size > LOG_BYTES:
                    path.replace(path.with_suffix(".log.1"))
                with path.open("a", encoding="utf-8") as file:
                    file.write(text)
            except OSError as problem:  # an invocation does not fail for its log
                log.warning("%s: %s", path, problem)
            for group in list(module("ministack.services.cloudwatch_logs")._log_groups._data.values()):
                streams = group["streams"]  # the engine makes one an invocation
                for old in list(streams)[: max(0, len(streams) - LOG_STREAMS)]:
                    streams.pop(old, None)

    def _unpack(self, code: bytes) -> Path:
        """The folder holding this code, unpacked once."""
        digest = hashlib.sha256(code).hexdigest()[:32]
        with self._code_lock:
            folder = self._engine.home / "code" / digest
            if digest not in self._code or not (folder / ".complete").exists():  # somebody may clean up
                if not (folder / ".complete").exists():
                    with zipfile.ZipFile(BytesIO(code)) as archive:
                        archive.extractall(folder)
                    (folder / ".complete").touch()
                self._code[digest] = folder
            return self._code[digest]
