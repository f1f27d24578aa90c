"""Objects are written whole or not at all, once where that is asked, and read in windows."""

import base64
import gzip
import random
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from botocore.exceptions import ClientError

from functions.domain.errors import InputError
from functions.domain.text import WINDOW_BYTES, Inflater
from functions.domain.upload import Source
from functions.services.queues import is_outage
from functions.services.s3 import WRITE_PART_BYTES
from tests.functions.world import World


def test_a_long_object_is_written_in_parts_and_reads_back_as_it_was(empty_world: World) -> None:
    storage = empty_world.aws.storage
    pieces = [random.Random(n).randbytes(WRITE_PART_BYTES // 3) for n in range(8)]
    assert storage.write("long", pieces) == sum(map(len, pieces))
    body = b"".join(pieces)
    source = Source("results", "long", "null")
    assert b"".join(storage.read(source, 0, len(body))) == body
    start, end = WINDOW_BYTES - 3, 2 * WINDOW_BYTES + 5
    assert b"".join(storage.read(source, start, end)) == body[start:end]


@pytest.mark.parametrize("size", [10, 2 * WRITE_PART_BYTES])
def test_an_object_whose_writing_fails_does_not_appear(empty_world: World, size: int) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(size)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        empty_world.aws.storage.write("half", pieces())
    assert "Contents" not in empty_world.s3.list_objects_v2(Bucket="results")


@pytest.mark.parametrize("call", ["UploadPart", "CompleteMultipartUpload"])
def test_an_object_whose_last_call_fails_leaves_no_parts(empty_world: World, call: str) -> None:
    world, operations = empty_world, list[str]()

    def refuse(**_: Any) -> None:
        operations.append(call)
        if call != "UploadPart" or len(operations) == 2:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "please"}}, call)

    events = world.aws.storage.client.meta.events
    events.register(f"before-call.s3.{call}", refuse)
    try:
        with pytest.raises(ClientError, match="SlowDown"):
            world.aws.storage.write("half", [bytes(WRITE_PART_BYTES), b"and a little more"])
    finally:
        events.unregister(f"before-call.s3.{call}", refuse)
    assert "Contents" not in world.s3.list_objects_v2(Bucket="results")
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket="results")
    assert "Uploads" not in empty_world.s3.list_multipart_uploads(Bucket="results")


def test_the_first_of_two_writers_of_a_part_is_believed(empty_world: World) -> None:
    storage = empty_world.aws.storage
    assert storage.put_once("part", b"first") == b"first"
    assert storage.put_once("part", b"second") == b"first"
    assert storage.get("part") == b"first"


@pytest.mark.parametrize("other_wins", [True, False])
def test_a_conflict_of_two_writers_ends_with_what_one_of_them_stored(
    empty_world: World, monkeypatch: pytest.MonkeyPatch, other_wins: bool
) -> None:
    """S3 answers 409 to a write beside another one, which may fail itself."""
    storage, put = empty_world.aws.storage, empty_world.s3.put_object
    conflict = ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
    answers = [conflict, conflict]

    def meets_another(**named: Any) -> Any:
        if answers:
            raise answers.pop()
        if other_wins:
            put(Bucket="results", Key="part", Body=b"another's")
        return put(**named)

    monkeypatch.setattr(storage.client, "put_object", meets_another)
    stored = storage.put_once("part", b"mine")
    assert stored == storage.get("part") == (b"another's" if other_wins else b"mine")


def test_a_conflict_that_does_not_end_is_put_off(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def conflicts(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")

    monkeypatch.setattr(empty_world.aws.storage.client, "put_object", conflicts)
    with pytest.raises(ClientError) as raised:
        empty_world.aws.storage.put_once("part", b"mine")
    assert is_outage(raised.value)


def test_an_object_that_is_gone_is_the_users_to_know(empty_world: World) -> None:
    with pytest.raises(InputError, match="deleted before it was read"):
        empty_world.aws.storage.size(Source("uploads", "never", "null"))


def test_decompression_is_bounded_piece_by_piece_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(50 * WINDOW_BYTES))
    inflater = Inflater()
    assert max(len(piece) for piece in inflater.text([bomb])) <= WINDOW_BYTES
    assert (inflater.size, inflater.damage) == (50 * WINDOW_BYTES, "")
    monkeypatch.setattr("functions.domain.text.MAX_TEXT_BYTES", 3 * WINDOW_BYTES)
    with pytest.raises(InputError, match="expected at most"):
        list(Inflater().text([bomb]))


@pytest.mark.parametrize("cut", [1, 5, 9, 200])
def test_any_cut_of_a_gzip_is_noticed(cut: int) -> None:
    packed = gzip.compress(random.Random(1).randbytes(1000))
    inflater = Inflater()
    text = b"".join(inflater.text([packed[:-cut]]))
    assert random.Random(1).randbytes(1000).startswith(text)
    assert "cut off" in inflater.damage


def test_padding_after_the_last_member_is_no_damage_and_rubbish_is() -> None:
    packed = gzip.compress(b"text")
    padded, followed = Inflater(), Inflater()
    assert b"".join(padded.text([packed, bytes(512)])) == b"text" and not padded.damage
    assert b"".join(followed.text([packed + b"rubbish"])) == b"text" and followed.damage


def test_a_long_object_names_the_checksum_of_each_part_at_its_end(running_world: World) -> None:
    """S3 refuses the end of an upload that was begun with checksums and does not name them."""
    ended: list[Any] = []
    events = running_world.s3.meta.events
    name = "provide-client-params.s3.CompleteMultipartUpload"

    def note(params: Any, **_: Any) -> None:
        ended.extend(params["MultipartUpload"]["Parts"])

    events.register(name, note)
    try:
        running_world.aws.storage.write("results/long", [b"x" * WRITE_PART_BYTES, b"y"])
    finally:
        events.unregister(name, note)
    assert [base64.b64decode(part["ChecksumCRC32"]) for part in ended] == [
        crc32(body).to_bytes(4, "big") for body in (b"x" * WRITE_PART_BYTES, b"y")
    ]
