"""Keeps every object that S3 acknowledges on disk, and refuses and undoes objects that are not there whole.

The engine writes an object's files last, after its memory, its event and its version were made, and goes on
where that fails. Here a request that cannot be written is answered with 500 as S3 answers when it cannot, its
keys are read back from disk, and its events are never sent. Shares the engine's private names with `engine`.
"""

from __future__ import annotations

import contextlib
import contextvars
import html
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from operator import call
from typing import Any

from protloc.cloud.disk import SYSTEM, objects
from protloc.cloud.engine.names import Response, module

log = logging.getLogger("protloc.cloud")


class NotKept(Exception):
    """An object could not be written to disk, or read from it."""

    def __init__(self, bucket: str, key: str, problem: OSError) -> None:
        super().__init__(f"{bucket}/{key}: {problem.strerror or problem}")
        self.bucket, self.key = bucket, key


@dataclass
class _Request:
    """Waits for the files of one request to be on disk."""

    events: list[Callable[[], None]] = field(default_factory=list)
    removals: list[Callable[[], None]] = field(default_factory=list)


_request: contextvars.ContextVar[_Request | None] = contextvars.ContextVar("s3_request", default=None)


def objects_are_kept_whole(changed: Callable[[], None]) -> None:
    """Have every object written, displaced and removed for good, or its request refused."""
    storage, application = module("ministack.services.s3"), module("ministack.app")
    _write_through(storage)
    _read_whole(storage)
    _hold_events(storage)
    handle = application.SERVICE_HANDLERS["s3"]

    async def kept(*arguments: Any, **named: Any) -> Response:
        request = _Request()
        token = _request.set(request)
        try:
            answer: Response = await _answered(handle, arguments, named)
        except NotKept as problem:
            log.error("S3: %s", problem)
            _read_back(storage, problem.bucket, problem.key)
            changed()
            return _internal_error(problem)
        finally:
            _request.reset(token)
        for late in (*request.removals, *request.events):
            late()
        return answer

    application.SERVICE_HANDLERS["s3"] = kept


async def _answered(handle: Callable[..., Awaitable[Response]], arguments: Any, named: Any) -> Response:
    return await handle(*arguments, **named)


def _internal_error(problem: NotKept) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
    message = html.escape(f"We encountered an internal error. Please try again. ({problem})", quote=False)
    body = f"<Error><Code>InternalError</Code><Message>{message}</Message></Error>"
    return 500, {"Content-Type": "application/xml"}, body.encode()


@contextlib.contextmanager
def _of(bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise NotKept(bucket, key, problem) from problem


def _write_through(storage: Any) -> None:
    def persist(bucket: str, key: str, obj: Any) -> None:
        path = storage._object_disk_path(bucket, key)
        about = {
            **storage._object_meta_from_record(obj),
            **storage._key_history_meta(bucket, key),
            "key": key,
        }
        with _of(bucket, key):
            objects.put(SYSTEM, path, obj.get("body"), about)
            obj["body"] = None
            objects.remove(SYSTEM, _other_path(storage, bucket, key, path))

    def persist_marker(bucket: str, key: str, marker: dict[str, Any]) -> None:
        about = {
            "is_delete_marker": True,
            "version_id": marker.get("version_id"),
            "last_modified": marker.get("last_modified", ""),
            **storage._key_history_meta(bucket, key),
            "key": key,
        }
        with _of(bucket, key):
            objects.put(SYSTEM, storage._object_disk_path(bucket, key), None, about)

    def persist_displaced(bucket: str, key: str, prior: dict[str, Any] | None, versioning: str) -> None:
        if versioning == "Suspended":
            remove_version(bucket, key, "null")
        if prior is None:
            return
        version = prior.get("version_id") or "null"
        if versioning == "Suspended" and version == "null":
            return
        with _of(bucket, key):
            target = storage._version_disk_path(bucket, key, version)
            objects.keep(SYSTEM, storage._object_disk_path(bucket, key), target)

    def remove_version(bucket: str, key: str, version: str) -> None:
        """Remove a version's body, once the disk does not name it any more."""
        path = storage._version_disk_path(bucket, key, version)

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)

        request = _request.get()
        if path is not None:
            (request.removals.append if request else call)(remove)

    def remove_object(bucket: str, key: str) -> None:
        path = storage._object_disk_path(bucket, key)
        with _of(bucket, key):
            objects.remove(SYSTEM, path)
            objects.remove(SYSTEM, _other_path(storage, bucket, key, path))

    storage._persist_object = persist
    storage._persist_delete_marker = persist_marker
    storage._persist_displaced_version = persist_displaced
    storage._delete_version_file = remove_version
    storage._delete_persisted_object = remove_object


def _other_path(storage: Any, bucket: str, key: str, path: str) -> str:
    """The other place that a key may have been stored at."""
    base = os.path.join(storage.DATA_DIR, storage.get_account_id(), bucket)
    return storage._other_key_disk_path(base, key, path) or path + ".none"


def _read_whole(storage: Any) -> None:
    """A body that cannot be read, or is of another length, is an error; the engine gives an empty one."""

    def read_body(bucket: str, key: str, obj: dict[str, Any]) -> bytes:
        body = obj.get("body")
        if body is not None:
            return bytes(body)
        with _of(bucket, key):
            data = SYSTEM.read(storage._object_disk_path(bucket, key))
            if len(data) != obj.get("size", len(data)):
                raise OSError(f"expected {obj['size']} bytes on disk, found {len(data)}")
        return data

    storage._read_body = read_body


def _hold_events(storage: Any) -> None:
    """An object's event is sent once the object is on disk."""
    fire = storage._fire_s3_event_async

    def fire_later(*arguments: Any, **named: Any) -> None:
        request = _request.get()
        if request is None:
            fire(*arguments, **named)
        else:
            request.events.append(lambda: fire(*arguments, **named))

    storage._fire_s3_event_async = fire_later


def _read_back(storage: Any, bucket: str, key: str) -> None:
    """Have a key's place in memory made again from the disk."""
    account = storage.get_account_id()
    folder = os.path.join(storage.DATA_DIR, account, bucket)
    contents = storage._buckets.get(bucket)
    if contents is None:
        return
    contents["objects"].pop(key, None)
    storage._object_versions.pop((bucket, key), None)
    every = storage._persisted_key_files
    path = storage._object_disk_path(bucket, key)

    def only_this(_: str, sidecars: bool) -> Iterator[tuple[str, str]]:
        place = path + objects.SIDECAR if sidecars else path
        if os.path.isfile(place):
            yield place, key

    storage._persisted_key_files = only_this
    try:
        storage._load_persisted_bucket(account, bucket, folder)
    finally:
        storage._persisted_key_files = every
