"""Each limit ends an upload, or one record of it, with an error that has the value expected and the one found."""

import gzip
from collections.abc import Callable

import pytest

from functions.domain.bisection import CANARY
from functions.domain.errors import EndpointRefused
from functions.domain.protein import MAX_HEADER_CHARACTERS
from functions.domain.upload import MAX_SHARDS, Source, plan_shards
from functions.receive import TOO_MANY, receive
from functions.retry import retry
from functions.sweep import move
from tests.functions.test_flow import fasta
from tests.functions.world import World, world

MB = 1_000_000


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_text_that_is_too_long_is_refused_and_leaves_nothing(
    running_world: World, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """Compressed, it is a bomb: 20 MB in 20 kB. A part of the text was on its way to S3."""
    monkeypatch.setattr("functions.domain.text.MAX_TEXT_BYTES", 17 * MB)
    event = running_world.upload(pack(b">a\n" + b"M" * (20 * MB)))
    identity = running_world.run(event)
    item = running_world.item(identity)
    size_words = "20,000,003" if pack is bytes else "more in a compressed file"
    expected = f"expected at most 17,000,000 bytes of text in an upload, found {size_words}; send it in parts"
    assert (item["status"], item["reason"], item["records"]) == ("failed", expected, 0)
    assert "Contents" not in running_world.s3.list_objects_v2(Bucket="results", Prefix="work/")
    assert "Uploads" not in running_world.s3.list_multipart_uploads(Bucket="results")
    assert running_world.model.calls == 0


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_too_many_records_fail_the_upload_before_they_are_all_asked_about(
    pack: Callable[[bytes], bytes],
) -> None:
    with world(shard_bytes=650, max_records=100) as here:
        here.activate()
        identity = receive(here.upload(pack(b">\nMKVLAAGIVG\n" * 2_000)), here.aws)
        assert identity
        here.finish(identity)
        item = here.item(identity)
        assert item["status"] == "failed" and item["results"] == {}
        assert 100 < item["records"] < 200
        assert item["reason"] == (
            f"expected at most 100 records in an upload, found {item['records']} or more; send the file in parts"
        )
        assert item["shards"] == 40 and item["progress"]["batches"] <= 4
        assert "announced" in item


def test_as_many_records_as_may_be_are_answered() -> None:
    with world(shard_bytes=200, max_records=100) as here:
        here.activate()
        identity = here.run(here.upload(b">\nMKVLAAGIVG\n" * 100))
        assert here.item(identity)["predicted"] == len(here.rows(identity)) == 100


def test_a_header_of_a_megabyte_costs_nothing_but_its_end() -> None:
    with world() as here:
        here.activate()
        identity = here.run(here.upload(b">P1 " + b"h" * MB + b"\nMKVLAAGIVG\n" + fasta(1)))
        long, short = here.rows(identity)
    assert (long["accession"], long["status"], short["status"]) == ("P1", "predicted", "predicted")
    assert len(long["header"]) == MAX_HEADER_CHARACTERS and long["header"].endswith("h…")


def test_a_compressed_file_of_many_members_is_read_to_its_end(running_world: World) -> None:
    body = fasta(50)
    packed = b"".join(gzip.compress(body[at : at + 100]) for at in range(0, len(body), 100))
    identity = running_world.run(running_world.upload(packed))
    assert [row["accession"] for row in running_world.rows(identity)] == [f"P{n:05d}" for n in range(50)]


@pytest.mark.parametrize("size", [1, 4 * 1024**2, 5 * 1024**3, 5 * 1024**4])
def test_no_file_has_more_shards_than_may_be(size: int) -> None:
    shards = plan_shards("u", Source("b", "k", "v"), size, 4 * 1024**2)
    assert 1 <= len(shards) <= MAX_SHARDS
    assert [shard.start for shard in shards[1:]] == [shard.end for shard in shards[:-1]]
    assert (shards[0].start, shards[-1].end) == (0, size)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_stack_may_take_less_than_the_most(pack: Callable[[bytes], bytes]) -> None:
    with world(max_upload_mib=1) as here:
        here.activate()
        identity = here.run(here.upload(pack(b">a\n" + b"M" * (2 << 20))))
        item = here.item(identity)
    assert item["status"] == "failed" and "at most 1,048,576 bytes of text" in item["reason"]


def test_uploads_beyond_those_in_work_at_once_wait_and_then_are_answered() -> None:
    with world(max_open_uploads=1) as here:
        here.activate()
        events = [here.upload(fasta(3), key=key) for key in "abc"]
        first, second, third = (receive(event, here.aws) for event in events)
        assert first and second and third
        for waiting in (second, third):
            item = here.item(waiting)
            assert (item["status"], item["reason"], item["model_version"]) == ("receiving", TOO_MANY, "")
        here.finish(first)
        assert here.item(first)["status"] == "complete"
        for event, waiting in zip(events[1:], (second, third), strict=True):
            assert move(here.aws.uploads.get(waiting), here.aws), "sweep has it received again"
            receive(event, here.aws)
            here.finish(waiting)
            assert here.item(waiting)["status"] == "complete"


def test_a_compressed_upload_counts_from_when_it_is_let_in() -> None:
    with world(max_open_uploads=1) as here:
        here.activate()
        first, second = (receive(here.upload(gzip.compress(fasta(3)), key=key), here.aws) for key in "ab")
        assert first and second
        assert here.status(first) == "receiving", "its text is still to be written"
        assert (here.item(second)["reason"], here.item(second)["model_version"]) == (TOO_MANY, "")


def test_an_upload_in_work_goes_on_though_the_limit_is_reached() -> None:
    with world(max_open_uploads=1) as here:
        here.activate()
        event = here.upload(fasta(3))
        identity = receive(event, here.aws)
        assert identity == receive(event, here.aws), "delivered twice"
        here.finish(identity)
        assert here.item(identity)["status"] == "complete"


def refuse_all_but_the_canary(sequences: list[str]) -> None:
    if sequences != [CANARY]:
        raise EndpointRefused("the model failed")


def test_records_of_a_retry_are_not_counted_twice() -> None:
    with world(shard_bytes=200, max_records=100) as here:
        here.activate()
        here.model.trouble = refuse_all_but_the_canary
        body = b"".join(b">%d\nMKVLAAGIVG\n" % n for n in range(100))
        identity = here.run(here.upload(body))
        assert here.item(identity)["failed"] == 100
        here.model.trouble = lambda _sequences: None
        retry(identity, "2", here.aws)
        here.finish(identity)
        item = here.item(identity)
        assert (item["status"], item["predicted"], item["reason"]) == ("complete", 100, "")
