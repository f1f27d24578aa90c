"""The model server of one inference component: `python serve.py MODEL_DIR`.

Stands in for SageMaker's serving container. It imports `inference` from MODEL_DIR/code, calls its four
functions (`model_fn input_fn predict_fn output_fn`) and answers `GET /ping` and `POST /invocations`. It has
no address: its starter hands each connection over its standard input, a socket, and no other process can. It
prints `ready` once the model is there, and ends when its standard input does. An answer never repeats the
user's data: a request `input_fn` refuses (ValueError) is a 400 with its message, anything else a 500 with the
error's name only.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import socket
import socketserver
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler
from typing import Any

MAX_BODY_BYTES = 6 * 1024 * 1024  # InvokeEndpoint's limit
JSON = "application/json"


class RefusedError(Exception):
    """A request answered with `status` and a message meant for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ModelHandler(BaseHTTPRequestHandler):
    """One connection. The server holds the model and the inference module."""

    protocol_version = "HTTP/1.1"
    server: ModelServer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.reply(200 if self.path == "/ping" else 404, b"{}", JSON)

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if self.path != "/invocations" or length > MAX_BODY_BYTES:
            self.close_connection = True  # the body is not read
            status = 404 if self.path != "/invocations" else 413
            self.reply(
                status, error_body(f"expected POST /invocations of at most {MAX_BODY_BYTES} bytes"), JSON
            )
            return
        body = self.rfile.read(length)
        content_type = self.headers.get("content-type") or JSON
        accept = self.headers.get("accept") or JSON
        accept = JSON if accept == "*/*" else accept
        try:
            answer, kind = self.server.predict(body, content_type, accept)
        except RefusedError as refused:
            self.reply(refused.status, error_body(str(refused)), JSON)
        except Exception as problem:
            where = traceback.extract_tb(problem.__traceback__)[-1]
            print(
                f"prediction failed: {type(problem).__name__} at {where.filename}:{where.lineno}", flush=True
            )
            self.reply(500, error_body(f"the model failed with {type(problem).__name__}"), JSON)
        else:
            self.reply(200, answer, kind)

    def reply(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ModelServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Holds the model; at most `concurrent` predictions run at once, others wait their turn."""

    daemon_threads = True

    def __init__(self, model_dir: str, concurrent: int) -> None:
        sys.path.insert(0, os.path.join(model_dir, "code"))
        self.inference = importlib.import_module("inference")
        self.model = self.inference.model_fn(model_dir)
        self.turn = threading.BoundedSemaphore(concurrent)
        super().__init__("", ModelHandler)

    def close_request(self, request: Any) -> None:
        request.close()

    def predict(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        try:
            data = self.inference.input_fn(body, content_type)
        except ValueError as problem:
            raise RefusedError(400, str(problem)) from problem
        except Exception as problem:
            status = getattr(problem, "status_code", 500)
            if isinstance(status, int) and 400 <= status < 500:
                raise RefusedError(status, str(problem)) from problem
            raise
        with self.turn:
            prediction = self.inference.predict_fn(data, self.model)
        answer = self.inference.output_fn(prediction, accept)
        payload, kind = answer if isinstance(answer, tuple) else (answer, accept)
        return (payload.encode() if isinstance(payload, str) else bytes(payload)), kind


def error_body(message: str) -> bytes:
    return json.dumps({"error": message}).encode()


def receive(connections: queue.SimpleQueue[socket.socket]) -> None:
    """Take the connections that come, while a model loads too; exit when the starter is gone."""
    starter = socket.socket(fileno=sys.stdin.fileno())
    while True:
        message, descriptors, _, _ = socket.recv_fds(starter, 1, 1)
        if not message:
            os._exit(0)
        for descriptor in descriptors:
            connections.put(socket.socket(fileno=descriptor))


def main() -> None:
    connections: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
    threading.Thread(target=receive, args=(connections,), daemon=True).start()
    server = ModelServer(sys.argv[1], int(os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS") or 1))
    print("ready", flush=True)
    while True:
        server.process_request(connections.get(), ("starter", 0))


if __name__ == "__main__":
    main()
