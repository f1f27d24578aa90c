"""The program of a function process of the embedded cloud: AWS's own runtime client around one handler.

Started by `workers` with an environment of its own. It takes its events from the address in
`AWS_LAMBDA_RUNTIME_API`, as in AWS, and never outlives the cloud that started it.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import sys
import threading
import time
import types
from typing import Any

PARENT_CHECK_SECONDS = 0.5
API = "/2018-06-01/runtime"


def end_with_parent(parent: int) -> None:
    """Exit as soon as the process `parent` is gone, however it ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


class Transport(types.ModuleType):
    """Stands in for the compiled `runtime_client` of AWS's package, which is built for Linux only."""

    def __init__(self) -> None:
        super().__init__("runtime_client")
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""

    def initialize_client(self, user_agent: str) -> None:
        address, _, self._token = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
        self._connection = http.client.HTTPConnection(address)

    def next(self) -> tuple[bytes, dict[str, str | int]]:
        body, headers = self._call("GET", f"{API}/invocation/next", None, {})
        deadline = int(headers["Lambda-Runtime-Deadline-Ms"])  # the compiled one gives a number as well
        return body, {**headers, "Lambda-Runtime-Deadline-Ms": deadline}

    def post_invocation_result(
        self, invoke_id: str, result: bytes, content_type: str, invocation_id: str | None
    ) -> None:
        self._call("POST", f"{API}/invocation/{invoke_id}/response", result, {"Content-Type": content_type})

    def post_error(
        self, invoke_id: str, error: str | bytes, xray_fault: str, invocation_id: str | None
    ) -> None:
        body = error.encode() if isinstance(error, str) else error
        self._call("POST", f"{API}/invocation/{invoke_id}/error", body, {"Content-Type": "application/json"})

    def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        assert self._connection is not None
        self._connection.request(method, f"/{self._token}{path}", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"the runtime API answered {method} {path} with {answer.status}")
        return content, dict(answer.getheaders())


def tell_with_token() -> None:
    """Have AWS's client report a failure before the first event too, at an address that holds a path."""
    from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient

    call = BaseLambdaRuntimeClient.call_rapid

    def call_with_token(client: Any, method: str, endpoint: str, *rest: Any, **named: Any) -> None:
        address, _, token = client.lambda_runtime_address.partition("/")
        client.lambda_runtime_address = address
        try:
            call(client, method, f"/{token}{endpoint}", *rest, **named)
        finally:
            client.lambda_runtime_address = f"{address}/{token}"

    BaseLambdaRuntimeClient.call_rapid = call_with_token


def main() -> None:
    end_with_parent(int(sys.argv[1]))
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    if "--plain" in sys.argv or importlib.util.find_spec("runtime_client") is None:
        sys.modules["runtime_client"] = Transport()
    tell_with_token()
    from awslambdaric.__main__ import main as run_handler

    run_handler(["bootstrap", os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
