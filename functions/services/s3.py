"""Objects in S3: reading ranges of any size with little memory, writing parts once and exports as streams."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from functions.domain.errors import FileGone, InputError, ProtlocError
from functions.domain.organisms import ORGANISM
from functions.domain.text import WINDOW_BYTES
from functions.domain.upload import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

WRITE_PART_BYTES = 8 * 1024 * 1024
"""S3 takes parts from 5 MiB on, 10,000 of them: objects of up to 80 GB."""

CONFLICTS_FORGIVEN = 5
"""After so many answers of S3 that another writer is at it, the delivery is put off."""


class StorageBusy(ProtlocError):
    """S3 left part of a request undone."""


class Stored(NamedTuple):
    """The facts that S3 keeps of an object's version."""

    size: int  # bytes
    organism: str  # as its sender named it


class Storage:
    """The results bucket, and read access to the uploads."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    def size(self, source: Source) -> int:
        """Bytes of an object's version. Raises FileGone where it is gone."""
        return self.stored(source).size

    def stored(self, source: Source) -> Stored:
        """Ask S3 for the facts of an object's version. Raises FileGone where it is gone."""
        version = _version(source)
        try:
            head = self.client.head_object(Bucket=source.bucket, Key=source.key, **version)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchVersion", "405"):
                raise FileGone("the file was deleted before it was read") from None
            raise
        return Stored(head["ContentLength"], head.get("Metadata", {}).get(ORGANISM, ""))

    def is_gone(self, source: Source) -> bool:
        try:
            self.size(source)
        except InputError:
            return True
        return False

    def read(self, source: Source, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes `start` ≤ n < `end` of an object's version, a window at a time."""
        for first in range(start, end, WINDOW_BYTES):
            last = min(first + WINDOW_BYTES, end) - 1
            answer = self.client.get_object(
                Bucket=source.bucket, Key=source.key, Range=f"bytes={first}-{last}", **_version(source)
            )
            yield answer["Body"].read()

    def put_once(self, key: str, body: bytes) -> bytes:
        """Store an immutable object; return the stored one: `body`, or that of an earlier writer.

        409 is S3's answer to two writers at once. The other one may have failed too, so it is tried again, as
        S3 says: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        for attempt in range(CONFLICTS_FORGIVEN + 1):
            try:
                self.client.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "PreconditionFailed":
                    return self.get(key)
                if code != "ConditionalRequestConflict" or attempt == CONFLICTS_FORGIVEN:
                    raise
            else:
                break
        return body

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def get_each(self, keys: Iterable[str], ahead: int) -> Iterator[bytes]:
        """Yield the objects in the order of their keys, asking for up to `ahead` of them at once."""
        if ahead <= 1:
            yield from map(self.get, keys)
            return
        with ThreadPoolExecutor(ahead) as pool:
            coming: deque[Future[bytes]] = deque()
            for key in keys:
                coming.append(pool.submit(self.get, key))
                if len(coming) == ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def write(self, key: str, pieces: Iterable[bytes], content_type: str = "text/plain") -> int:
        """Write an object from pieces of any size, holding one part in memory; return its bytes."""
        with StreamWriter(self, key, content_type) as writer:
            for piece in pieces:
                writer.write(piece)
        return writer.size

    def erase(self, prefix: str) -> None:
        """Delete every version of every object under a prefix, and the delete markers.

        Errors come one by one in an answer that is 200:
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
        """
        while versions := self._some_versions(prefix):
            answer = self.client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": versions, "Quiet": True}
            )
            if errors := answer.get("Errors"):
                raise StorageBusy(f"{len(errors)} objects under {prefix} stay: {errors[0].get('Code')}")

    def _some_versions(self, prefix: str) -> list[Any]:
        """The first of all versions and delete markers under a prefix, as many as one call may delete."""
        page: Any = self.client.list_object_versions(Bucket=self.bucket, Prefix=prefix, MaxKeys=1000)
        return [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for kind in ("Versions", "DeleteMarkers")
            for each in page.get(kind, [])
        ]

    def erase_version(self, source: Source) -> None:
        """Delete one version of an object; nothing happens where it is gone."""
        self.client.delete_object(Bucket=source.bucket, Key=source.key, VersionId=source.version_id)

    def uris(self, keys: Mapping[str, str]) -> dict[str, str]:
        """The s3:// addresses of objects of the bucket, by the names of their keys."""
        return {name: f"s3://{self.bucket}/{key}" for name, key in keys.items()}

    def link(self, key: str, seconds: int) -> str:
        """A URL that reads the object without credentials for that long."""
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )


class StreamWriter:
    """Writes one object piece by piece; it appears whole when the block ends, or not at all on an error."""

    def __init__(self, storage: Storage, key: str, content_type: str) -> None:
        self._client, self._bucket, self._key = storage.client, storage.bucket, key
        self._content_type = content_type
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []
        self.size = 0

    def __enter__(self) -> "StreamWriter":
        return self

    def write(self, piece: bytes) -> None:
        self._buffer += piece
        self.size += len(piece)
        if len(self._buffer) >= WRITE_PART_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._upload_id:
            self._upload_id = self._client.create_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                ContentType=self._content_type,
                ChecksumAlgorithm="CRC32",
            )["UploadId"]
        number = len(self._parts) + 1
        answer = self._client.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=bytes(self._buffer),
            ChecksumAlgorithm="CRC32",
        )
        part: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        if "ChecksumCRC32" in answer:  # S3 wants those it was sent named again at the end
            part["ChecksumCRC32"] = answer["ChecksumCRC32"]
        self._parts.append(part)
        self._buffer.clear()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            self._complete()
        except BaseException:
            self._abort()
            raise

    def _complete(self) -> None:
        if not self._upload_id:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=bytes(self._buffer),
                ContentType=self._content_type,
            )
            return
        if self._buffer:
            self._flush()
        self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._parts},
        )

    def _abort(self) -> None:
        """Have S3 drop the parts; where it does not, the bucket's rule drops them later."""
        if self._upload_id:
            with suppress(ClientError):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
                )


def read_json(client: "S3Client", uri: str) -> Any:
    """The JSON at an s3:// address. Raises ValueError where it is none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())


def _version(source: Source) -> dict[str, Any]:
    return {} if source.version_id == "null" else {"VersionId": source.version_id}
