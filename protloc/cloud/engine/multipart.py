"""Keeps the parts of a multipart upload on disk until they become an object; the engine has them in memory.

The parts of one upload lie one after another in one file without a name, so that nothing is left of them
after any end. The engine is lent them when it puts the object together. Shares the engine's private names
with `engine`.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from protloc.cloud.engine.durability import NotKept
from protloc.cloud.engine.names import Response, module


class _Spool:
    """The file of one multipart upload."""

    def __init__(self, folder: str) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._places: dict[int, tuple[int, int]] = {}  # where each part begins and ends

    def take(self, parts: dict[int, dict[str, Any]]) -> None:
        """Write the parts that are new; OSError leaves the upload without them."""
        for number in [number for number, part in parts.items() if part["body"]]:
            part = parts[number]
            begin = self._file.seek(0, os.SEEK_END)
            rest = memoryview(part["body"])
            try:
                while rest:
                    rest = rest[self._file.write(rest) or 0 :]
            except OSError:
                del parts[number]
                raise
            self._places[number] = begin, begin + len(part["body"])
            part["body"] = b""

    @contextmanager
    def lent(self, parts: dict[int, dict[str, Any]]) -> Iterator[None]:
        """Within, the parts have their bodies, as views of the file."""
        places = {number: place for number, place in self._places.items() if number in parts}
        if not any(end > begin for begin, end in places.values()):
            yield
            return
        with (
            mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as whole,
        ):
            views = {number: whole[begin:end] for number, (begin, end) in places.items()}
            for number, view in views.items():
                parts[number]["body"] = view
            try:
                yield
            finally:
                for number, view in views.items():
                    parts[number]["body"] = b""
                    view.release()

    def close(self) -> None:
        self._file.close()


def parts_are_kept_on_disk() -> None:
    """Have the parts of multipart uploads written to disk, or their request refused."""
    storage = module("ministack.services.s3")
    spools: dict[str, _Spool] = {}
    complete, abort = storage._complete_multipart_upload, storage._abort_multipart_upload

    def spooled(upload_part: Callable[..., Response]) -> Callable[..., Response]:
        def upload(bucket: str, key: str, *rest: Any) -> Response:
            answer = upload_part(bucket, key, *rest)
            identity = storage._qp(rest[-2], "uploadId")
            record = storage._multipart_uploads.get(identity)
            if answer[0] == 200 and record is not None:
                try:
                    if identity not in spools:
                        spools[identity] = _Spool(storage.DATA_DIR)
                    spools[identity].take(record["parts"])
                except OSError as problem:
                    record["parts"] = {n: part for n, part in record["parts"].items() if not part["body"]}
                    raise NotKept(bucket, key, problem) from problem
            return answer

        return upload

    def forget(identity: str) -> None:
        if identity in spools and identity not in storage._multipart_uploads:
            spools.pop(identity).close()

    def put_together(
        bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Response:
        identity = storage._qp(query, "uploadId")
        spool, record = spools.get(identity), storage._multipart_uploads.get(identity)
        if spool is None or record is None:
            return complete(bucket, key, body, query, headers)  # type: ignore[no-any-return]
        with spool.lent(record["parts"]):
            answer: Response = complete(bucket, key, body, query, headers)
        forget(identity)
        return answer

    def aborted(bucket: str, key: str, query: dict[str, Any]) -> Response:
        answer: Response = abort(bucket, key, query)
        forget(storage._qp(query, "uploadId"))
        return answer

    storage._upload_part = spooled(storage._upload_part)
    storage._upload_part_copy = spooled(storage._upload_part_copy)
    storage._complete_multipart_upload = put_together
    storage._abort_multipart_upload = aborted
