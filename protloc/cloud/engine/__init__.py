"""The engine under the embedded cloud: MiniStack, started, extended and kept in one piece.

Only this room knows MiniStack's private names. `TOUCHED` lists them all, and
`tests/cloud/engine/test_engine_contract.py` fails, naming the version, when a release moves one.
Everything else in this package speaks in plain terms: services, functions, state.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import hashlib
import hmac
import html
import importlib
import importlib.metadata
import json
import logging
import os
import secrets
import shutil
import threading
import time
import uuid
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

from protloc.cloud.contracts.routes import Wire
from protloc.cloud.gate.claims import Refused
from protloc.cloud.lambdas import lineage
from protloc.cloud.lambdas.workers import Function, WorkerPool

VERSION = "1.5.33"
REGION = "us-east-1"
ACCOUNT = "000000000000"
LOG_BYTES = 16 << 20
LOG_STREAMS = 200

# Every private name of the engine this package touches: module → name → parameters (None: not a function).
TOUCHED: dict[str, dict[str, tuple[str, ...] | None]] = {
    "ministack.app": {
        "app": ("scope", "receive", "send"),
        "pin_request_origin": ("source_ip", "secure_transport"),
        "SERVICE_HANDLERS": None,
        "SERVICE_REGISTRY": None,
        "_loaded_modules": None,
        "_build_persistence_save_dict": (),
        "_get_module": ("name",),
    },
    "ministack.core.router": {
        "SERVICE_PATTERNS": None,
        "extract_access_key_id": ("headers", "query_params"),
        "detect_service": ("method", "path", "headers", "query_params"),
    },
    "ministack.core.iam_actions": {
        "SERVICE_TO_IAM_NAMESPACE": None,
        "_BOTOCORE_SERVICE_MAP": None,
        "extract_iam_action": ("service", "method", "path", "headers", "body", "query_params"),
        "request_tag_context": ("service", "iam_action", "body", "params"),
        "access_denied_response": (
            "service",
            "action",
            "principal_arn",
            "request_id",
            "error_code",
            "message",
            "headers",
            "resource_arn",
            "explicit_deny",
            "resource_policy_arn",
        ),
        "extract_resource_arn": (
            "service",
            "method",
            "path",
            "headers",
            "body",
            "query_params",
            "region",
            "account_id",
        ),
    },
    "ministack.core.iam_evaluator": {
        "EvalContext": None,
        "evaluate": ("ctx", "policies", "limits"),
        "_gather_role_policies": ("role_name", "account_id"),
        "enforce": (
            "access_key_id",
            "iam_action",
            "service",
            "region",
            "resource_arn",
            "service_context",
        ),
        "resolve_caller_identity": ("access_key_id",),
        "is_root_access_key": ("access_key_id",),
        "resolve_credential": ("access_key_id", "account_id", "session_token"),
        "CredentialResolutionError": None,
        "evaluate_resource_policy": ("doc", "ctx", "service", "named_only", "direct_only"),
    },
    "ministack.core.responses": {"AccountRegionScopedDict": None, "_request_account_id": None},
    "ministack.services.sts": {"register_session": ("access_key", "session"), "_sessions": None},
    "ministack.services.sqs": {
        "queue_policy_for_arn": ("queue_arn",),
        "_queues": None,
        "_queue_name_to_url": None,
        "_HANDLERS": None,
        "_act_send_message": ("data", "qurl"),
        "_act_delete_message": ("data", "qurl"),
        "_act_delete_message_batch": ("data", "qurl"),
        "_expire_retained": ("q",),
        "_collect_msgs": ("q", "max_n", "vis_timeout"),
        "_dlq_sweep": ("q",),
        "_receive_messages_for_esm": ("queue_url", "max_number"),
        "_delete_messages_for_esm": ("queue_url", "receipt_handles"),
    },
    "ministack.services.sns": {
        "topic_policy_for_arn": ("topic_arn",),
        "_deliver_to_sqs": (
            "endpoint",
            "envelope",
            "raw",
            "raw_message",
            "message_group_id",
            "message_dedup_id",
            "message_attributes",
            "topic_arn",
        ),
    },
    "ministack.services.s3": {
        "_fire_s3_event": (
            "bucket_name",
            "key",
            "event_name",
            "size",
            "etag",
            "deletion_type",
            "restore_event_data",
            "version_id",
            "sequencer",
            "object_extra",
            "record_extra",
        ),
        "_persist_object": ("bucket", "key", "obj"),
        "_persist_delete_marker": ("bucket_name", "key", "marker"),
        "_persist_displaced_version": ("bucket_name", "key", "prior_obj", "versioning"),
        "_delete_version_file": ("bucket_name", "key", "version_id"),
        "_delete_persisted_object": ("bucket_name", "key"),
        "_read_body": ("bucket_name", "key", "obj"),
        "_other_key_disk_path": ("base", "key", "fpath"),
        "_object_meta_from_record": ("obj",),
        "_key_history_meta": ("bucket_name", "key"),
        "_persisted_key_files": ("bucket_path", "sidecars"),
        "_load_persisted_bucket": ("account_id", "bucket_name", "bucket_path"),
        "_buckets": None,
        "_object_versions": None,
        "_bucket_notifications": None,
        "_bucket_policies": None,
        "_fire_s3_event_async": (
            "bucket_name",
            "key",
            "event_name",
            "size",
            "etag",
            "deletion_type",
            "version_id",
            "object_extra",
            "record_extra",
        ),
        "_get_object": ("bucket_name", "key", "headers", "query_params"),
        "_version_body": ("bucket", "bucket_name", "key", "v"),
        "_parse_range": ("range_header", "total"),
        "_version_file_exists": ("bucket_name", "key", "version_id", "account_id"),
        "_version_disk_path": ("bucket", "key", "version_id", "account_id"),
        "_object_disk_path": ("bucket", "key", "account_id"),
        "_deliver_event_to_sqs": ("arn", "event_payload", "bucket_region", "bucket_name"),
    },
    "ministack.services.eventbridge": {
        "_dispatch_event": ("event", "view"),
        "_dispatch_to_sqs": ("spec", "payload", "sqs_parameters"),
        "_invoke_target": ("target", "event", "rule", "view"),
    },
    "ministack.services.dynamodb": {
        "_tables": None,
        "_stream_records": None,
        "_stream_trimmed": None,
        "_stream_seq_counter": None,
        "stream_start_position": ("table_name", "account_id", "region"),
        "stream_end_position": ("table_name", "account_id", "region"),
        "stream_records_since": ("table_name", "position", "limit", "account_id", "region"),
    },
    "ministack.services.scheduler": {"_schedule_last_fired": None},
    "ministack.services.cloudwatch_logs": {"_log_groups": None},
    "ministack.services.lambda_svc": {
        "_execute_function_warm": ("func", "event", "request_id"),
        "_runtime_env_vars": ("config",),
        "_run_sqs_batch": ("esm", "func_rec", "event", "batch", "queue_url", "queue_name"),
        "_poll_dynamodb_streams": (),
        "_prune_orphan_code_blobs": ("referenced",),
        "_execute_function": ("func", "event"),
        "_functions": None,
        "get_state": (),
        "_esm_wake": None,
        "_esm_backoff_until": None,
        "_esms": None,
        "_iter_all_esms": (),
        "_get_func_record_for_qualifier": ("name", "qualifier"),
        "_apply_filter_criteria": ("records", "esm"),
        "_dynamodb_stream_positions": None,
        "_dynamodb_stream_positions_lock": None,
        "_send_ddb_stream_failure_record": ("esm", "func_rec", "batch", "stream_arn", "result", "condition"),
        "execution_credentials": ("config",),
        "_recursive_loop_drop": ("name", "func", "depth"),
    },
    "ministack.services.stepfunctions": {
        "_execute_task": ("state_def", "raw_input", "execution", "ctx"),
        "_invoke_resource": ("resource", "input_data"),
        "_invoke_with_callback": ("resource", "input_data", "token", "state_def"),
        "_invoke_resource_with_timeout": ("resource", "input_data", "timeout"),
        "_run_execution": ("exec_arn",),
        "_fail_execution": ("execution", "error", "cause"),
        "_add_event": ("execution", "event_type", "details"),
        "_emit_execution_status_event": ("execution",),
        "_executions": None,
        "now_iso": (),
        "_apply_state_assign": ("state_def", "raw_input", "ctx", "result", "error_output"),
        "_apply_input_path": ("state_def", "data", "ctx"),
        "_apply_jsonata_output": ("state_def", "raw_input", "ctx", "result", "error_output", "default"),
        "_state_query_language": ("state_def", "ctx"),
        "_dispatch_aws_sdk_json": ("service_info", "service_name", "action", "input_data"),
        "_api_name_to_sfn_key": ("name",),
        "_ExecutionError": None,
        "_SERVICE_DISPATCH": None,
        "_AWS_SDK_SERVICE_MAP": None,
        "_AWS_SDK_ERROR_PREFIX": None,
        "_AWS_SDK_ERROR_CODE_OVERRIDES": None,
        "_state_machines": None,
    },
    "ministack.services.cloudformation.provisioners": {
        "_RESOURCE_HANDLERS": None,
        "_sfn_definition": ("props",),
        "_delete_predecessor": ("delete_fn", "args", "kwargs"),
    },
    "ministack.services.cloudformation.changesets": {"_IMPORT_LOOKUPS": None},
    "ministack.services.cloudformation": {"_stacks": None},
}

log = logging.getLogger("protloc.cloud")

Headers = dict[str, str]
Response = tuple[int, Headers, bytes]


class EngineVersionError(Exception):
    """The installed engine is not the one the embedded cloud was built on."""


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


def check_version() -> None:
    """Refuse to run on an engine whose private names were not checked."""
    try:
        installed = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        installed = "none"
    if installed != VERSION:
        raise EngineVersionError(
            f"the embedded cloud needs ministack {VERSION}, found {installed}: "
            f"run `pip install ministack=={VERSION}`"
        )


def environment(home: Path, port: int) -> dict[str, str]:
    """The variables the engine reads at its import: loopback only, every file under `home`, no Docker."""
    return {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home / "s3"),
        "PERSIST_STATE": "0",  # `snapshot` does it
        "STATE_DIR": str(home / "state"),
        "TMPDIR": str(home / "tmp"),
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ACCOUNT_CONCURRENCY": "0",  # `workers` makes calls wait instead of refusing them
        "DOCKER_HOST": f"unix://{home / 'tmp' / 'no-docker.sock'}",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # A state machine's waits, and its pauses before it asks again, are made for AWS, where a server takes
        # minutes to start and a throttled service one to recover. Here both take seconds.
        "SFN_WAIT_SCALE": "0.2",
        "LOG_LEVEL": "WARNING",
    }


def module(name: str) -> Any:
    """An engine module by its full name."""
    return importlib.import_module(name)


endings: contextvars.ContextVar[list[str]] = contextvars.ContextVar("endings")
"""Notes for the delivery in this context how workers ended under it."""


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
        """Why the state cannot be saved at present, if so: nothing more is taken until it can."""
        self.refusal: Callable[[str, str, Headers, bytes, Any], Response | None] = lambda *request: None
        """The answer to a caller of our own services that lacks a permission besides the call's own."""
        self.serving = threading.Event()
        self.delivering = threading.Event()
        """From when on functions are given what lies in queues and streams."""
        self._pool = pool
        self._loop: asyncio.AbstractEventLoop | None = None
        self._services: dict[str, Service] = {}
        self._code: dict[str, Path] = {}
        self._code_lock = threading.Lock()
        self._log_lock = threading.Lock()
        self._app = module("ministack.app")
        self._lambda = module("ministack.services.lambda_svc")
        for name in TOUCHED:
            # Registered as loaded, so that the engine counts their state as its own.
            short = name.removeprefix("ministack.services.")
            if short != name and "." not in short:
                self._app._get_module(short)
        self._lambda._execute_function_warm = self._run_function
        # The engine's are a hash of the function's name: anybody can compute them.
        self._lambda.execution_credentials = self._function_credentials

    # ── serving ─────────────────────────────────────────────

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application behind `gate`: the engine's, with a note of every change."""
        if scope["type"] == "http" and scope["path"].startswith("/_aws/execute-api/"):
            # A REST API of AWS hands on the path as it was sent; decoded, a name with a slash would be two.
            scope = scope | {"path": scope["raw_path"].decode("ascii")}
        self._loop = asyncio.get_running_loop()
        problem = self.unsaved() if scope["type"] == "http" and needs_room(scope) else ""
        if problem:
            await _answer_unavailable(scope, send, f"the embedded cloud cannot save its state: {problem}")
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

    def secret_of(self, access_key: str, token: str) -> str:
        """The secret of a role's session or of a user's key. Raises `Refused`."""
        evaluator = module("ministack.core.iam_evaluator")
        unknown = Refused("InvalidClientTokenId", "The security token included in the request is invalid.")
        if evaluator.is_root_access_key(access_key):
            raise unknown
        found = evaluator.resolve_credential(access_key, ACCOUNT, token)
        if isinstance(found, evaluator.CredentialResolutionError):
            raise Refused(found.code, found.message) if found.code == "ExpiredTokenException" else unknown
        return str(found.secret_access_key)

    def refused(
        self, method: str, path: str, query: str, headers: Headers, refusal: Refused
    ) -> tuple[int, Headers, bytes]:
        """The answer, in its own protocol, of the service that a refused request asked."""
        actions, router = module("ministack.core.iam_actions"), module("ministack.core.router")
        asked = parse_qs(query, keep_blank_values=True)
        if not headers.get("authorization") and "X-Amz-Credential" in asked:
            credential = asked["X-Amz-Credential"][0]
            service = router.detect_service(
                method, path, {"authorization": f"Credential={credential}"}, asked
            )
        else:
            service = router.detect_service(method, path, headers, asked)
        status, answered, body = actions.access_denied_response(
            service, "", "", str(uuid.uuid4()), error_code=refusal.code, message=str(refusal), headers=headers
        )
        return refusal.status or status, answered, body

    def delivers(self) -> bool:
        """True if functions are given what lies in queues and streams."""
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
        self._services[service.name] = service

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
        """Delete what an update replaced: once the update has succeeded, and unless its policy keeps it."""
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

    # ── functions ───────────────────────────────────────────

    def _run_function(self, func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        """In place of the engine's own workers: run a Python function in a process of `workers`."""
        delivered = isinstance(event, dict) and "Records" in event
        (self.delivering if delivered else self.serving).wait()
        config = func.get("config") or func
        name, version = config["FunctionName"], config.get("Version", "$LATEST")
        traces = lineage.arriving(event)
        invocation = lineage.invocation(config["FunctionArn"], traces)
        known = self._lambda._functions.get(name) or func
        dropped = self._lambda._recursive_loop_drop(name, known, invocation)
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
                **self._function_credentials(config),
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', 'python')}",
                **self._lambda._runtime_env_vars(config),
                "AWS_ENDPOINT_URL": self.endpoint_url,
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
        self.changed()
        milliseconds = int((time.monotonic() - begin) * 1000)
        self._write_log(
            name,
            f"START RequestId: {request_id} Version: {version}\n{outcome.log}"
            f"REPORT RequestId: {request_id} Duration: {milliseconds} ms Memory Size: "
            f"{function.memory_megabytes} MB Max Memory Used: {outcome.peak_megabytes} MB\n",
        )
        result = {"body": outcome.payload, "log": outcome.log}
        return {**result, "error": True} if outcome.error else result

    def _function_credentials(self, config: Mapping[str, Any]) -> dict[str, str]:
        """The variables with which a function acts as its role."""
        found = self.role_credentials(str(config.get("Role", "")), str(config["FunctionName"])[:64])
        return {name.upper(): value for name, value in found.items()}

    def _not_started(self, name: str, problem: OSError) -> dict[str, Any]:
        """The result where there is no process, folder or room for one: nothing of the function's own."""
        log.error("%s could not be started: %s", name, problem)
        endings.get([]).append("killed")
        body = {"errorType": "Runtime.StartError", "errorMessage": str(problem)}
        return {"error": True, "body": body, "log": ""}

    def _write_log(self, name: str, text: str) -> None:
        """Append to <home>/logs/<function>.log, one older file kept; bound what the engine remembers."""
        path = self.home / "logs" / f"{name}.log"
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
            folder = self.home / "code" / digest
            if digest not in self._code or not (folder / ".complete").exists():  # somebody may clean up
                if not (folder / ".complete").exists():
                    with zipfile.ZipFile(BytesIO(code)) as archive:
                        archive.extractall(folder)
                    (folder / ".complete").touch()
                self._code[digest] = folder
            return self._code[digest]

    # ── state ───────────────────────────────────────────────

    def capture(self) -> dict[str, Any]:
        """All state. Only for a process that ends afterwards: it shares, and stops copying, live objects."""
        copy.deepcopy = _shared  # type: ignore[assignment]
        self._lambda._prune_orphan_code_blobs = lambda referenced: None
        logs = module("ministack.services.cloudwatch_logs")
        for group in logs._log_groups._data.values():
            group["streams"] = {}  # the lines are in <home>/logs
        state = {
            key: get()
            for key, get in self._app._build_persistence_save_dict().items()
            if key not in self._services
        }
        tables = module("ministack.services.dynamodb")
        streams = {
            "records": tables._stream_records,
            "trimmed": tables._stream_trimmed,
            "sequence": tables._stream_seq_counter,
        }
        own = {name: service.state() for name, service in self._services.items()}
        return {"engine": VERSION, "taken": time.time(), "services": state, "streams": streams, "own": own}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back captured state: whatever was running when it was captured is not running now."""
        if state["engine"] != VERSION:
            log.warning("the saved state is of engine %s, this is %s", state["engine"], VERSION)
        tables = module("ministack.services.dynamodb")
        for key, saved in state["services"].items():
            if saved:
                name = "lambda_svc" if key == "lambda" else key
                self._app._get_module(name).load_persisted_state(saved)
        sessions = module("ministack.services.sts")._sessions
        for key in [key for key, session in sessions.items() if "Expiration" not in session]:
            del sessions[key]  # of processes that are gone
        tables._stream_records.update(state["streams"]["records"])
        tables._stream_trimmed.update(state["streams"]["trimmed"])
        tables._stream_seq_counter = state["streams"]["sequence"]
        now, taken = time.time(), float(state["taken"])
        queues = module("ministack.services.sqs")
        for scoped, queue in list(queues._queues._data.items()):
            # The engine finds a queue by its address, which holds the port; it may be another one now.
            del queues._queues._data[scoped]
            account, region, _ = scoped
            queue["url"] = f"{self.endpoint_url}/{account}/{queue['name']}"
            queues._queues._data[account, region, queue["url"]] = queue
            queues._queue_name_to_url._data[account, region, queue["name"]] = queue["url"]
            for message in queue["messages"]:
                if message["receipt_handle"] is not None and message["visible_at"] > taken:
                    give_back(message, forgiven=True)
                message["visible_at"] = min(
                    message["visible_at"], now + max(0, message["visible_at"] - taken)
                )
        for stack in module("ministack.services.cloudformation")._stacks._data.values():
            if stack.get("StackStatus", "").endswith("_IN_PROGRESS"):
                stack["StackStatus"] = stack["StackStatus"].split("_")[0] + "_FAILED"
                stack["StackStatusReason"] = "the embedded cloud stopped while this ran"
        for name, saved in state["own"].items():
            if name in self._services:
                self._services[name].restore(saved)
        self._drop_old_code()

    def _drop_old_code(self) -> None:
        """Delete the code no function has any more, packed and unpacked."""
        self._lambda.get_state()
        used = {
            hashlib.sha256(function["code_zip"]).hexdigest()[:32]
            for function in self._lambda._functions._data.values()
            if function.get("code_zip")
        }
        for folder in (self.home / "code").iterdir():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)


def _shared(value: Any, memo: Any = None) -> Any:
    return value


class _ServiceModule:
    """The interface that the engine expects of a service's module."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.get_state = service.state
        self.load_persisted_state = service.restore

    def reset(self) -> None:
        self._service.restore({})


READING = ("Get", "Describe", "List", "Query", "Scan", "BatchGet", "Head", "Lookup", "Filter")


def changes_state(scope: Mapping[str, Any]) -> bool:
    """True if a request may have changed something; one too many only costs a save."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    for name, value in scope["headers"]:
        if name.lower() == b"x-amz-target":
            return not value.decode("latin-1").rpartition(".")[2].startswith(READING)
    return not scope["path"].endswith("/invocations")


KILLS_FORGIVEN = 50
KILLS_AT_ONCE = 10


def give_back(message: dict[str, Any], forgiven: bool) -> None:
    """Make a message visible that nobody works on any more.

    A delivery that is forgiven is not counted, so many times: what kills its worker each time, as one that
    takes all memory does, ends as a dead letter after all. After some it comes back a little later each time.
    """
    kills = message["kills"] = message.get("kills", 0) + 1
    if forgiven and kills <= KILLS_FORGIVEN:
        message["receive_count"] = max(0, message["receive_count"] - 1)
    message["receipt_handle"] = None
    message["visible_at"] = time.time() + (0 if kills <= KILLS_AT_ONCE else min(kills, 60))


def needs_room(scope: Mapping[str, Any]) -> bool:
    """True if a request would change something; a deletion makes room, and is taken when there is none."""
    return changes_state(scope) and scope["method"] != "DELETE"


async def _answer_unavailable(scope: Mapping[str, Any], send: Any, message: str) -> None:
    """Answer 503 so that every SDK tries again: in JSON to those that speak it, else in XML."""
    code, headers = "ServiceUnavailable", {name.lower(): value for name, value in scope["headers"]}
    if b"x-amz-target" in headers or scope["path"].startswith("/_aws/"):
        body, kind = json.dumps({"__type": code, "message": message}), b"application/x-amz-json-1.0"
    else:
        error = f"<Error><Code>{code}</Code><Message>{html.escape(message, quote=False)}</Message></Error>"
        form = headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded")
        body, kind = f"<ErrorResponse>{error}</ErrorResponse>" if form else error, b"application/xml"
    data = body.encode()
    sent = [(b"content-type", kind), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": sent})
    await send({"type": "http.response.body", "body": data})
