"""Objects that the jobs of a retraining read and write: `s3://bucket/key`, or a path on this machine.

Needs boto3 for addresses in S3 alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

JSON, TABLE, HTML = "application/json", "text/tab-separated-values", "text/html; charset=utf-8"
# A conditional write answers these where the object exists, or is being written by another at this moment.
_EXISTS = ("PreconditionFailed", "ConditionalRequestConflict")


class StorageError(OSError):
    """An object is not as expected; the message has the value expected, the one found, and the place."""


@cache
def _client() -> Any:
    import boto3  # type: ignore[import-untyped, unused-ignore]  # here only: paths need no AWS library

    return boto3.client("s3")


def _parts(place: str) -> tuple[str, str]:
    bucket, _, key = place.removeprefix("s3://").partition("/")
    return bucket, key


def in_s3(place: str) -> bool:
    """True if a place is an address in S3."""
    return place.startswith("s3://")


def name_of(place: str) -> str:
    """The name of a place in a report: the key in its bucket, or the path."""
    return _parts(place)[1] if in_s3(place) else place


def inside(place: str, *names: str) -> str:
    """The place of `names` under a prefix or folder."""
    return "/".join((place.rstrip("/"), *names))


def beside(place: str, name: str) -> str:
    """The place `name` next to a prefix or folder."""
    text = place.rstrip("/") if in_s3(place) else str(Path(place).absolute())
    return inside(text.rpartition("/")[0], name)


def read(place: str, *, version: str | None = None, etag: str | None = None) -> bytes:
    """Read an object; with `version` or `etag` exactly that one, or StorageError."""
    if not in_s3(place):
        try:
            return Path(place).read_bytes()
        except OSError as error:
            raise StorageError(f"expected a file {place}, found none: {error.strerror}") from error
    bucket, key = _parts(place)
    wanted = {"VersionId": version} if version not in (None, "null") else {}
    with _expected(place):
        answer = _client().get_object(Bucket=bucket, Key=key, **wanted)
    if etag is not None and answer["ETag"].strip('"') != etag.strip('"'):
        raise StorageError(f"expected {place} as it was listed (ETag {etag}), found it changed since")
    content: bytes = answer["Body"].read()
    return content


def fetch(place: str, path: Path) -> Path:
    """An object as a file: `path`, into which it is copied from S3, or where it lies already."""
    if not in_s3(place):
        return Path(place)
    with _expected(place):
        _client().download_file(*_parts(place), str(path))
    return path


@contextmanager
def _expected(place: str) -> Iterator[None]:
    """Name the object in the error of a call that does not find it."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped, unused-ignore]

    try:
        yield
    except ClientError as error:
        reason = error.response["Error"]
        raise StorageError(
            f"expected the object {place}, found {reason['Code']}: {reason['Message']}"
        ) from error


def write(place: str, content: bytes, content_type: str) -> None:
    """Store an object, over any that is there."""
    if not in_s3(place):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_bytes(content)
        return
    bucket, key = _parts(place)
    _client().put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)


def write_once(place: str, content: bytes, content_type: str) -> None:
    """Store an object that never changes; StorageError where another is there, silence where the same is."""
    if _created(place, content, content_type):
        return
    if read(place) != content:
        raise StorageError(f"expected nothing at {place}, or what was to be written; found something else")


def _created(place: str, content: bytes, content_type: str) -> bool:
    if not in_s3(place):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        try:
            with Path(place).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True
    from botocore.exceptions import ClientError

    bucket, key = _parts(place)
    try:
        _client().put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in _EXISTS:
            raise
        return False
    return True
