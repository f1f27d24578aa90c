"""Repairs of the engine where it differs from AWS and the stack would notice, one function each.

Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import contextvars
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from protloc.cloud.engine import gateway, machines, stacks
from protloc.cloud.engine.access import AccessLog
from protloc.cloud.engine.names import ACCOUNT, REGION, module

_object_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("object_version", default=None)
_asked_range: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "asked_range", default=None
)


def repair_all(
    changed: Callable[[], None], access: AccessLog, hosted: Callable[[str | None], Mapping[str, str]]
) -> None:
    """Put every repair in place, once per process. `changed` is told of every task of a state machine,
    `access` of the permissions that it needs; `hosted` gives the endpoint of an inference component.
    """
    queue_batches_need_the_single_action()
    alarms_are_deleted_by_name()
    log_streams_are_asked_about()
    scaling_calls_name_their_service()
    object_events_name_the_version()
    versions_can_be_read_in_ranges()
    versions_live_on_disk()
    schedules_say_when()
    loopback_is_secure_transport()
    gateway.repair_all()
    stacks.repair_all()
    machines.repair_all(changed, access, hosted)


def queue_batches_need_the_single_action() -> None:
    """IAM knows no `sqs:SendMessageBatch`: a batch needs the permission of its single call, as on AWS."""
    actions = module("ministack.core.iam_actions")
    extract = actions.extract_iam_action

    def single(*arguments: Any, **named: Any) -> str | None:
        action: str | None = extract(*arguments, **named)
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    actions.extract_iam_action = single


def alarms_are_deleted_by_name() -> None:
    """IAM is asked about the alarm that `cloudwatch:DeleteAlarms` names; of several, about the first."""

    def alarm(resource: str, body: bytes) -> str:
        if resource != "*" or b"AlarmNames" not in body:
            return resource
        return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{json.loads(body)['AlarmNames'][0]}"

    _resources_are_named("monitoring", alarm)


def log_streams_are_asked_about() -> None:
    """IAM is asked about the stream that a call on CloudWatch Logs names, where it is asked about its group.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
    """

    def stream(resource: str, body: bytes) -> str:
        if b"logStreamName" not in body or ":log-group:" not in resource:
            return resource
        return f"{resource}:log-stream:{json.loads(body)['logStreamName']}"

    _resources_are_named("logs", stream)


def _resources_are_named(of: str, name: Callable[[str, bytes], str]) -> None:
    """IAM is asked about the resource that `name` makes of the engine's and of a call's body."""
    actions = module("ministack.core.iam_actions")
    extract = actions.extract_resource_arn

    def named(
        service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any, **more: Any
    ) -> str:
        resource = str(extract(service, method, path, headers, body, *rest, **more))
        if service != of:
            return resource
        try:
            return name(resource, body)
        except (ValueError, KeyError, IndexError):
            return resource

    actions.extract_resource_arn = named


def scaling_calls_name_their_service() -> None:
    """IAM is told the service whose resource a call to Application Auto Scaling is about."""
    actions = module("ministack.core.iam_actions")
    context = actions.request_tag_context

    def with_service(service: str, iam_action: str, body: bytes, query_params: Any) -> dict[str, Any]:
        service_context: dict[str, Any] = context(service, iam_action, body, query_params)
        if service != "application-autoscaling":
            return service_context
        try:
            named = json.loads(body)["ServiceNamespace"]
        except (ValueError, KeyError):
            return service_context
        return {**service_context, "application-autoscaling:service-namespace": named}

    actions.request_tag_context = with_service


def object_events_name_the_version() -> None:
    """EventBridge's "Object Created" carries `detail.object.version-id` for a versioned bucket."""
    storage, bus = module("ministack.services.s3"), module("ministack.services.eventbridge")
    fire, dispatch = storage._fire_s3_event, bus._dispatch_event

    def fire_with_version(*arguments: Any, version_id: str | None = None, **named: Any) -> None:
        token = _object_version.set(version_id)
        try:
            fire(*arguments, version_id=version_id, **named)
        finally:
            _object_version.reset(token)

    def dispatch_with_version(event: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        version = _object_version.get()
        if version and version != "null" and event.get("Source") == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, *arguments, **named)

    storage._fire_s3_event = fire_with_version
    bus._dispatch_event = dispatch_with_version


def schedules_say_when() -> None:
    """A schedule's input may name the time it was set for, as EventBridge Scheduler's own attribute."""
    bus = module("ministack.services.eventbridge")
    invoke = bus._invoke_target

    def invoke_at(target: dict[str, Any], event: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        if event.get("Source") == "aws.scheduler" and "<aws.scheduler." in target.get("Input", ""):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event["Time"]))
            text = target["Input"].replace("<aws.scheduler.scheduled-time>", moment)
            target = {**target, "Input": text}
        return invoke(target, event, *arguments, **named)

    bus._invoke_target = invoke_at


def versions_can_be_read_in_ranges() -> None:
    """A ranged GET of a version answers with the range, read from disk alone, however large the object is."""
    storage = module("ministack.services.s3")
    get, whole = storage._get_object, storage._version_body

    def get_range(bucket: str, key: str, headers: dict[str, str], query_params: Any = None) -> Any:
        if not (headers.get("range") and query_params and query_params.get("versionId")):
            return get(bucket, key, headers, query_params)
        asked: dict[str, Any] = {"range": headers["range"]}
        token = _asked_range.set(asked)
        try:
            status, answer, body = get(bucket, key, headers, query_params)
        finally:
            _asked_range.reset(token)
        if status != 200 or "size" not in asked:
            return status, answer, body
        if asked["found"] is None:
            error = (
                f"<Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message>"
                f"<RangeRequested>{headers['range']}</RangeRequested></Error>"
            )
            content = {"Content-Type": "application/xml", "Content-Range": f"bytes */{asked['size']}"}
            return 416, content, error.encode()
        start, end = asked["found"]
        answer = {
            name: value for name, value in answer.items() if not name.lower().startswith("x-amz-checksum")
        }
        answer["Content-Length"] = str(len(body))
        answer["Content-Range"] = f"bytes {start}-{end}/{asked['size']}"
        return 206, answer, body

    def version_body(bucket: Any, bucket_name: str, key: str, version: dict[str, Any]) -> bytes | None:
        asked = _asked_range.get()
        if asked is None:
            body: bytes | None = whole(bucket, bucket_name, key, version)
            return body
        asked["size"], asked["found"] = version["size"], storage._parse_range(asked["range"], version["size"])
        if asked["found"] is None:
            return b""
        start, end = asked["found"]
        if version.get("data") is not None:
            return bytes(version["data"][start : end + 1])
        current = bucket["objects"].get(key) or {}
        if storage._version_file_exists(bucket_name, key, version["version_id"]):
            path = storage._version_disk_path(bucket_name, key, version["version_id"])
        elif (current.get("version_id") or "null") == version["version_id"]:
            path = storage._object_disk_path(bucket_name, key)
        else:
            return None
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end + 1 - start)

    storage._get_object = get_range
    storage._version_body = version_body


def versions_live_on_disk() -> None:
    """The bytes of an object's versions are dropped from memory once they are on disk."""
    storage = module("ministack.services.s3")
    persist = storage._persist_object

    def persist_and_forget(bucket: str, key: str, obj: Any) -> None:
        persist(bucket, key, obj)
        path = storage._object_disk_path(bucket, key)
        current = obj.get("version_id") if isinstance(obj, dict) else None
        for version in storage._object_versions.get((bucket, key)) or []:
            name = version["version_id"]
            if name == current:
                stored = os.path.isfile(path) and os.path.getsize(path) == version["size"]
            else:
                stored = storage._version_file_exists(bucket, key, name)
            if stored:
                version["data"] = None

    storage._persist_object = persist_and_forget


def loopback_is_secure_transport() -> None:
    """A policy that denies requests without TLS means the network; no request here leaves the machine."""
    application = module("ministack.app")
    pin = application.pin_request_origin
    application.pin_request_origin = lambda source_ip, secure_transport: pin(source_ip, True)
