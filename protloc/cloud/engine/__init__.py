"""The engine under the embedded cloud: MiniStack, started, extended and kept in one piece.

Only this room knows MiniStack's private names; `names.TOUCHED` lists them all.
Everything else in this package speaks in plain terms: services, functions, state.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

from protloc.cloud.contracts.routes import Wire
from protloc.cloud.engine import gateway
from protloc.cloud.engine.functions import Functions
from protloc.cloud.engine.names import ACCOUNT, TOUCHED, Headers, Response, check_version, module
from protloc.cloud.engine.requests import answer_unavailable, changes_state, needs_room
from protloc.cloud.gate.claims import Refused
from protloc.cloud.lambdas import lineage
from protloc.cloud.lambdas.pool import WorkerPool

log = logging.getLogger("protloc.cloud")


class Service(Protocol):
    """A service of our own: handles requests, and hands its state to the snapshot and takes it back."""

    name: str
    target_prefix: str
    signing_name: str

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response: ...

    def authorisation(
        self, path: str, action: str, headers: Mapping[str, str], request: Mapping[str, Any]
    ) -> str:
        """The ARN a request is about."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class Engine:
    """The engine inside this process. Make one per process, after `environment` is in place."""

    def __init__(self, home: Path, port: int, pool: WorkerPool) -> None:
        check_version()
        self.home = home
        self._session_secret = secrets.token_bytes(32)
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self.changed: Callable[[], None] = lambda: None
        self.report: Callable[[], dict[str, Any]] = dict
        self.unsaved: Callable[[], str] = str
        """The reason why the state cannot be saved at present, if so: nothing more is taken until it can."""
        self.refusal: Callable[[str, str, Headers, bytes, Any], Response | None] = lambda *request: None
        """The answer to a caller of our own services that lacks a permission besides the call's own."""
        self.serving = threading.Event()
        self.delivering = threading.Event()
        """The time from which functions get messages and records."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.services: dict[str, Service] = {}
        self._app = module("ministack.app")
        for name in TOUCHED:
            # Registered as loaded, so that the engine counts their state as its own.
            short = name.removeprefix("ministack.services.")
            if short != name and "." not in short:
                self._app._get_module(short)
        self.functions = Functions(self, pool)

    # ── serving ─────────────────────────────────────────────

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application behind `gate`: the engine's, with a note of every change."""
        if scope["type"] == "http" and scope["path"].startswith("/_aws/execute-api/"):
            # A REST API of AWS hands on the path as it was sent; decoded, a name with a slash would be two.
            scope = scope | {"path": scope["raw_path"].decode("ascii")}
        self._loop = asyncio.get_running_loop()
        problem = self.unsaved() if scope["type"] == "http" and needs_room(scope) else ""
        if problem:
            await answer_unavailable(scope, send, f"the embedded cloud cannot save its state: {problem}")
            return
        application: Callable[[Any, Any, Any], Awaitable[None]] = self._app.app
        sent = dict(scope.get("headers", ()))
        token = lineage.of_request.set(sent.get(b"x-amzn-trace-id", b"").decode("latin-1"))
        try:
            await application(scope, receive, send)
        finally:
            lineage.of_request.reset(token)
            if scope["type"] == "http" and changes_state(scope):
                self.changed()

    def health(self) -> dict[str, Any]:
        """The state of the cloud, for its owner."""
        return {
            "home": str(self.home),
            "pid": os.getpid(),
            "serving": self.serving.is_set(),
            "delivering": self.delivering.is_set(),
            **self.report(),
        }

    def is_own(self, access_key: str) -> bool:
        """True if the key is of a session made by `role_credentials`, for a function or a job."""
        session = module("ministack.services.sts")._sessions.get(access_key)
        return session is not None and "Expiration" not in session

    def secret_of(self, access_key: str, token: str) -> str:
        """The secret of a role's session or of a user's key. Raises `Refused`."""
        evaluator = module("ministack.core.iam_evaluator")
        unknown = Refused("InvalidClientTokenId", "The security token included in the request is invalid.")
        if evaluator.is_root_access_key(access_key):
            raise unknown
        credential = evaluator.resolve_credential(access_key, ACCOUNT, token)
        if isinstance(credential, evaluator.CredentialResolutionError):
            raise (
                Refused(credential.code, credential.message)
                if credential.code == "ExpiredTokenException"
                else unknown
            )
        return str(credential.secret_access_key)

    def refused_by_api(self, path: str, refusal: Refused) -> Response | None:
        """The answer of the API at a path to a refused request; None where there is none."""
        return gateway.refusal_of(path, refusal)

    def refused(
        self, method: str, path: str, query: str, headers: Headers, refusal: Refused
    ) -> tuple[int, Headers, bytes]:
        """The answer, in its own protocol, of the service that a refused request asked."""
        actions, router = module("ministack.core.iam_actions"), module("ministack.core.router")
        parameters = parse_qs(query, keep_blank_values=True)
        if not headers.get("authorization") and "X-Amz-Credential" in parameters:
            credential = parameters["X-Amz-Credential"][0]
            service = router.detect_service(
                method, path, {"authorization": f"Credential={credential}"}, parameters
            )
        else:
            service = router.detect_service(method, path, headers, parameters)
        status, answered, body = actions.access_denied_response(
            service, "", "", str(uuid.uuid4()), error_code=refusal.code, message=str(refusal), headers=headers
        )
        return refusal.status or status, answered, body

    def delivers(self) -> bool:
        """True if functions get the messages of queues and the records of streams."""
        return self.delivering.is_set() and not self.unsaved()

    def run_at_rest(self, call: Callable[[], int]) -> int:
        """Run `call` on the event loop, between requests."""
        if self._loop is None:
            return call()
        done: Future[int] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as problem:
                done.set_exception(problem)

        self._loop.call_soon_threadsafe(run)
        return done.result()

    # ── services ────────────────────────────────────────────

    def add_service(
        self, service: Service, sdk_name: str, error_prefix: str, runtime: str | None = None
    ) -> None:
        """Serve `service` over HTTP, with IAM enforced, and to state machines as `aws-sdk:<sdk_name>`."""
        self.services[service.name] = service

        async def handle(method: str, path: str, headers: Headers, body: bytes, query: Any) -> Response:
            refused = self.refusal(service.signing_name, path, headers, body, query)
            if refused is not None:
                return refused
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, context.run, service.handle, method, path, headers, body)

        holder = _ServiceModule(service)
        self._app.SERVICE_HANDLERS[service.name] = handle
        self._app.SERVICE_REGISTRY[service.name] = {"module": service.name}
        self._app._loaded_modules[service.name] = holder
        module("ministack.core.router").SERVICE_PATTERNS[service.signing_name] = {
            "target_prefixes": [service.target_prefix + "."],
            "host_patterns": [rf"\b{service.signing_name}\."],
        }
        actions = module("ministack.core.iam_actions")
        actions.SERVICE_TO_IAM_NAMESPACE[service.name] = service.signing_name
        if runtime:
            actions._BOTOCORE_SERVICE_MAP[service.name] = [runtime]
        states = module("ministack.services.stepfunctions")
        states._AWS_SDK_SERVICE_MAP[sdk_name] = {
            "target_prefix": service.target_prefix,
            "protocol": "json",
            "service_key": service.name,
        }
        states._AWS_SDK_ERROR_PREFIX[sdk_name] = error_prefix
        known = actions.extract_resource_arn

        def resource(
            asked: str, method: str, path: str, headers: Headers, body: bytes, *rest: Any, **named: Any
        ) -> str:
            if asked != service.name:
                return str(known(asked, method, path, headers, body, *rest, **named))
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            try:
                request = json.loads(body) if action and body else {}
            except ValueError:
                request = {}
            return service.authorisation(path, action, headers, request)

        actions.extract_resource_arn = resource

    def check_requests(self, refusal: Callable[[str, Wire], Response | None]) -> None:
        """Ask `refusal` about every request to a service before the service gets it, tasks' requests too."""

        def checked(service: str, handler: Callable[..., Awaitable[Response]]) -> Callable[..., Any]:
            async def handle(
                method: str, path: str, headers: Headers, body: bytes, query: dict[str, list[str]]
            ) -> Response:
                refused = refusal(service, Wire(method, path, query, headers, body))
                return refused or await handler(method, path, headers, body, query)

            return handle

        handlers = self._app.SERVICE_HANDLERS
        handlers.update({service: checked(service, handler) for service, handler in handlers.items()})

    def role_credentials(self, role_arn: str, session: str) -> dict[str, str]:
        """Credentials with which a service acts as `role_arn`, as boto3's client takes them.

        The same for the same role and session as long as this process lives; nobody can compute them.
        """
        name = f"{role_arn}:{session}"

        def derived(part: str) -> str:
            return hmac.new(self._session_secret, f"{part}:{name}".encode(), hashlib.sha256).hexdigest()

        role = role_arn.rsplit("/", 1)[-1]
        credentials = {
            "aws_access_key_id": f"ASIA{derived('key')[:16].upper()}",
            "aws_secret_access_key": derived("secret"),
            "aws_session_token": derived("token"),
        }
        module("ministack.services.sts").register_session(
            credentials["aws_access_key_id"],
            {
                "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session[:64]}",
                "UserId": f"{role}:{session[:64]}",
                "SecretAccessKey": credentials["aws_secret_access_key"],
                "SessionToken": credentials["aws_session_token"],
            },
        )
        return credentials

    def add_resource_type(self, name: str, create: Any, update: Any, delete: Any) -> None:
        """Teach CloudFormation a type. `create(logical_id, properties, stack)` and `update(physical_id, old,
        new, stack)` give (physical id, attributes); `delete(physical_id, properties)`.
        """
        module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS[name] = {
            "create": create,
            "update": update,
            "delete": delete,
        }

    def delete_replaced(self, delete: Callable[..., None], *arguments: Any) -> None:
        """Delete a replaced resource once the update has succeeded, unless its policy keeps it."""
        provisioners = module("ministack.services.cloudformation.provisioners")
        provisioners._delete_predecessor(delete, *arguments)

    def check_resource_type(self, name: str, check: Callable[[dict[str, Any]], None]) -> None:
        """Have `check` look at the properties of a type of the engine's before they are used."""
        handler = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS[name]
        create, update = handler["create"], handler.get("update")

        def create_checked(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
            check(properties)
            return create(logical_id, properties, stack)

        def update_checked(physical_id: str, old: Any, new: dict[str, Any], *rest: Any) -> Any:
            check(new)
            return update(physical_id, old, new, *rest)

        handler["create"] = create_checked
        if update:
            handler["update"] = update_checked


class _ServiceModule:
    """The interface that the engine expects of a service's module."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.get_state = service.state
        self.load_persisted_state = service.restore

    def reset(self) -> None:
        self._service.restore({})
