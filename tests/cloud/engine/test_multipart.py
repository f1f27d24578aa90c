"""A multipart upload takes disk, not memory, until it becomes an object."""

from __future__ import annotations

import random
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.cloud.conftest import Stack
from tests.cloud.engine.test_durability import full_disk

MIB = 1024 * 1024


class Multipart:
    """A multipart upload that is under way."""

    def __init__(self, stack: Stack, key: str) -> None:
        self.client = stack.cloud.client("s3", retries={"total_max_attempts": 1})
        self.named = {"Bucket": stack.outputs["Bucket"], "Key": key}
        self.named |= {"UploadId": self.client.create_multipart_upload(**self.named)["UploadId"]}
        self.parts: dict[int, str] = {}

    def put(self, number: int, body: bytes) -> None:
        answer = self.client.upload_part(**self.named, PartNumber=number, Body=body)
        self.parts[number] = answer["ETag"]

    def complete(self) -> Any:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(self.parts.items())]
        return self.client.complete_multipart_upload(**self.named, MultipartUpload={"Parts": parts})

    def read(self) -> bytes:
        place = {name: self.named[name] for name in ("Bucket", "Key")}
        return bytes(self.client.get_object(**place)["Body"].read())


def test_parts_lie_on_disk_and_become_the_object_they_are_parts_of(stack: Stack) -> None:
    process, draw = psutil.Process(stack.cloud.pid), random.Random(1)
    uploads = [Multipart(stack, f"parts/{name}") for name in "ab"]
    uploads[0].put(1, first := draw.randbytes(5 * MIB))
    before = process.memory_info().rss  # including the memory shared with a child that saves the state
    bodies = [draw.randbytes(8 * MIB) for _ in range(16)]
    for number, body in enumerate(bodies, start=1):
        uploads[number % 2].put(number, body)
    assert process.memory_info().rss - before < 64 * MIB, "128 MiB came"
    for upload in uploads:
        upload.complete()
    assert uploads[0].read() == first + b"".join(bodies[1::2])
    assert uploads[1].read() == b"".join(bodies[::2])


def test_a_part_that_is_sent_again_counts_as_it_came_last(stack: Stack) -> None:
    upload = Multipart(stack, "parts/again")
    upload.put(1, b"x" * 5 * MIB)
    upload.put(1, b"y" * 5 * MIB)
    upload.put(2, b"")
    upload.complete()
    assert upload.read() == b"y" * 5 * MIB


def test_a_completion_that_is_refused_may_be_tried_again(stack: Stack) -> None:
    upload = Multipart(stack, "parts/refused")
    upload.put(1, b"x" * 5 * MIB)
    tag, upload.parts[1] = upload.parts[1], '"another"'
    with pytest.raises(ClientError, match="InvalidPart"):
        upload.complete()
    upload.parts[1] = tag
    upload.put(2, b"the end")
    upload.complete()
    assert upload.read() == b"x" * 5 * MIB + b"the end"


def test_a_part_that_is_not_on_disk_is_refused(own_stack: Stack) -> None:
    upload = Multipart(own_stack, "parts/full")
    upload.put(1, b"x" * 5 * MIB)
    with full_disk(own_stack.cloud):
        with pytest.raises(ClientError) as refused:
            upload.put(2, b"y" * 5 * MIB)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    # Refused until the state is saved again, should a save have met the full disk as well.
    upload.client = own_stack.cloud.client("s3", retries={"total_max_attempts": 12})
    upload.put(2, b"z")
    upload.complete()
    assert upload.read() == b"x" * 5 * MIB + b"z"


def test_an_upload_that_is_aborted_is_gone(stack: Stack) -> None:
    upload = Multipart(stack, "parts/aborted")
    upload.put(1, b"x" * 5 * MIB)
    upload.client.abort_multipart_upload(**upload.named)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        upload.complete()
