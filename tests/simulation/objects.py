"""S3 in memory, shaped like boto3's client: versions, ranges, conditional writes and multipart uploads."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.simulation.surroundings import Calm, Surroundings, refusal

Listener = Callable[[str, str, "Version"], None]


@dataclass(frozen=True)
class Version:
    """One version of an object; a delete marker has no body."""

    version_id: str
    body: bytes | None
    modified: float
    metadata: dict[str, str] = field(default_factory=dict)


class ObjectStore:
    """Buckets with versioning."""

    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self.buckets: dict[str, dict[str, list[Version]]] = {}
        self.listeners: list[Listener] = []
        self._surroundings = surroundings or Calm()
        self.refused: set[str] = set()
        """Prefixes of keys that nothing can be written to."""
        self.readings_left: dict[tuple[str, str], int] = {}
        """The number of reads of a version, by its key and name, before it is deleted."""
        self._uploads: dict[str, dict[int, bytes]] = {}
        self.begun: list[Callable[[str], None]] = []
        """Told of a multipart upload, by its name."""
        self._named = 0

    def _require_writable(self, operation: str, key: str) -> None:
        if any(key.startswith(prefix) for prefix in self.refused):
            raise refusal(operation, "AccessDenied", status=403)

    def _count_reading(self, bucket: str, key: str, version: str) -> None:
        readings = self.readings_left.get((key, version))
        if readings is not None:
            self.readings_left[key, version] = readings - 1
            if readings == 0:
                self._remove(bucket, key, version)

    # Calls of the functions

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str = "",  # noqa: N803
        IfNoneMatch: str = "",  # noqa: N803
        Metadata: dict[str, str] | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            self._require_writable("s3.PutObject", Key)
            # Two conditional writes at once: the other one may stand by then, or have failed as well.
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            if IfNoneMatch and self._surroundings.conflicts():
                raise refusal("s3.PutObject", "ConditionalRequestConflict", status=409)
            if IfNoneMatch and self.latest(Bucket, Key) is not None:
                raise refusal("s3.PutObject", "PreconditionFailed", status=412)
            version = self._add(Bucket, Key, bytes(Body), Metadata)
            return {"VersionId": version.version_id, "ETag": _tag(Body)}

        return self._surroundings.step("s3.PutObject", (Bucket, Key, len(Body)), apply)

    def get_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Range: str = "",  # noqa: N803
        VersionId: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            self._count_reading(Bucket, Key, VersionId)
            body = self._find("s3.GetObject", Bucket, Key, VersionId)
            if Range:
                first, last = map(int, Range.removeprefix("bytes=").split("-"))
                if first >= len(body):
                    raise refusal("s3.GetObject", "InvalidRange", status=416)
                body = body[first : last + 1]
            return {"Body": io.BytesIO(body), "ContentLength": len(body)}

        return self._surroundings.step("s3.GetObject", (Bucket, Key, Range), apply)

    def head_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:  # noqa: N803
        def apply() -> dict[str, Any]:
            body = self._find("s3.HeadObject", Bucket, Key, VersionId)
            versions = [v for v in self.buckets[Bucket][Key] if VersionId in ("", v.version_id)]
            return {"ContentLength": len(body), "Metadata": versions[-1].metadata}

        return self._surroundings.step("s3.HeadObject", (Bucket, Key), apply)

    def create_multipart_upload(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        ContentType: str = "",  # noqa: N803
        ChecksumAlgorithm: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            self._require_writable("s3.CreateMultipartUpload", Key)
            self._named += 1
            identity = f"multipart-{self._named}"
            self._uploads[identity] = {}
            for listener in self.begun:
                listener(identity)
            return {"UploadId": identity}

        return self._surroundings.step("s3.CreateMultipartUpload", (Bucket, Key), apply)

    def upload_part(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        UploadId: str,  # noqa: N803
        PartNumber: int,  # noqa: N803
        Body: bytes,  # noqa: N803
        ChecksumAlgorithm: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            self._parts("s3.UploadPart", UploadId)[PartNumber] = bytes(Body)
            return {"ETag": _tag(Body)}

        return self._surroundings.step("s3.UploadPart", (Bucket, Key, PartNumber), apply)

    def complete_multipart_upload(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        UploadId: str,  # noqa: N803
        MultipartUpload: dict[str, Any],  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            parts = self._parts("s3.CompleteMultipartUpload", UploadId)
            body = b""
            for part in MultipartUpload["Parts"]:
                piece = parts.get(part["PartNumber"])
                if piece is None or _tag(piece) != part["ETag"]:
                    raise refusal("s3.CompleteMultipartUpload", "InvalidPart")
                body += piece
            del self._uploads[UploadId]
            return {"VersionId": self._add(Bucket, Key, body).version_id}

        return self._surroundings.step("s3.CompleteMultipartUpload", (Bucket, Key), apply)

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:  # noqa: N803
        def apply() -> dict[str, Any]:
            self._parts("s3.AbortMultipartUpload", UploadId)
            del self._uploads[UploadId]
            return {}

        return self._surroundings.step("s3.AbortMultipartUpload", (Bucket, Key), apply)

    def list_object_versions(
        self,
        *,
        Bucket: str,  # noqa: N803
        MaxKeys: int,  # noqa: N803
        Prefix: str = "",  # noqa: N803
        KeyMarker: str = "",  # noqa: N803
        VersionIdMarker: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        """Two versions a page: S3 may give fewer than it was asked for. The newest of a key come first.

        Delete markers are listed under a prefix only, by which nothing is searched in pages.
        """
        listed = [
            {
                "Key": key,
                "VersionId": version.version_id,
                "Size": len(version.body or b""),
                "LastModified": datetime.fromtimestamp(version.modified, UTC),
                "marks": version.body is None,
            }
            for key, versions in sorted(self.buckets[Bucket].items())
            if key.startswith(Prefix)
            for version in reversed(versions)
            if version.body is not None or Prefix
        ]
        kept = [version.version_id for version in reversed(self.buckets[Bucket].get(KeyMarker, []))]
        before = kept[: kept.index(VersionIdMarker) + 1] if VersionIdMarker in kept else kept
        rest = [
            each
            for each in listed
            if each["Key"] > KeyMarker or (each["Key"] == KeyMarker and each["VersionId"] not in before)
        ]
        shown = rest[: min(MaxKeys, 2)]
        page: dict[str, Any] = {"IsTruncated": len(rest) > 2}
        for name, marks in (("Versions", False), ("DeleteMarkers", True)):
            if of_kind := [each for each in shown if each["marks"] == marks]:
                page[name] = of_kind
        if page["IsTruncated"]:
            last = shown[-1]
            page |= {"NextKeyMarker": last["Key"], "NextVersionIdMarker": last["VersionId"]}
        return self._surroundings.step(
            "s3.ListObjectVersions", (Bucket, KeyMarker, VersionIdMarker), lambda: page
        )

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:  # noqa: N803
        """Remove a version for good, or put a delete marker over all of them."""

        def apply() -> dict[str, Any]:
            if VersionId:
                self._remove(Bucket, Key, VersionId)
            else:
                self._add(Bucket, Key, None)
            return {}

        return self._surroundings.step("s3.DeleteObject", (Bucket, Key, VersionId), apply)

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        """Remove versions; some may stay, of which the answer says so although it is 200."""

        def apply() -> dict[str, Any]:
            objects = self._surroundings.shuffled(Delete["Objects"])
            done = len(objects) - self._surroundings.left_undone(len(objects))
            for each in objects[:done]:
                self._remove(Bucket, each["Key"], each["VersionId"])
            failed = [{"Key": each["Key"], "Code": "InternalError"} for each in objects[done:]]
            return {"Errors": failed} if failed else {}

        return self._surroundings.step("s3.DeleteObjects", (Bucket, len(Delete["Objects"])), apply)

    @property
    def unfinished(self) -> list[str]:
        """The multipart uploads of which parts are kept, for which somebody pays."""
        return [identity for identity, parts in self._uploads.items() if parts]

    # Actions of users, and the state of objects

    def _remove(self, bucket: str, key: str, version_id: str) -> None:
        versions = self.buckets[bucket].get(key, [])
        versions[:] = [version for version in versions if version.version_id != version_id]

    def holds(self, bucket: str, key: str, version: str) -> bool:
        return any(each.version_id == version for each in self.buckets[bucket].get(key, ()))

    def latest(self, bucket: str, key: str) -> bytes | None:
        versions = self.buckets[bucket].get(key)
        return versions[-1].body if versions else None

    def _add(
        self, bucket: str, key: str, body: bytes | None, metadata: dict[str, str] | None = None
    ) -> Version:
        self._named += 1
        version = Version(f"v{self._named}", body, self._surroundings.clock(), metadata or {})
        self.buckets[bucket].setdefault(key, []).append(version)
        for listener in self.listeners:
            listener(bucket, key, version)
        return version

    def _find(self, operation: str, bucket: str, key: str, version_id: str) -> bytes:
        if not version_id:
            body = self.latest(bucket, key)
            if body is None:
                code = "404" if operation == "s3.HeadObject" else "NoSuchKey"
                raise refusal(operation, code, status=404)
            return body
        for version in self.buckets[bucket].get(key, []):
            if version.version_id == version_id:
                if version.body is None:
                    raise refusal(operation, "MethodNotAllowed", status=405)
                return version.body
        code = "404" if operation == "s3.HeadObject" else "NoSuchVersion"
        raise refusal(operation, code, status=404)

    def _parts(self, operation: str, identity: str) -> dict[int, bytes]:
        if identity not in self._uploads:
            raise refusal(operation, "NoSuchUpload", status=404)
        return self._uploads[identity]


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
