"""A file that is no FASTA ends as a failed upload with its reason, in one line without control characters."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

import functions.query
from functions.domain.fasta import read_records
from functions.domain.packing import PackingSettings, pack
from functions.domain.protein import read_protein
from functions.domain.upload import Shard, Source, Upload
from functions.services.queues import _dump
from functions.split import batch_message
from tests.functions.test_events import Context, golden
from tests.functions.world import World
from tests.hostile.conftest import drive, heard, hostile_world
from tests.hostile.corpus import FILE_NAMES, FILES

MAX_ANSWER_BYTES = 6 * 1024 * 1024
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

MAX_MESSAGE_BYTES = 1024 * 1024
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with hostile_world() as made:
        yield made


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_fasta_is_refused_by_its_name(world: World, name: str) -> None:
    body, reason = FILES[name]
    with heard() as log:
        identity = drive(world, world.upload(body, key="a.fasta"))
    item = world.item(identity)
    assert (item["status"], item["records"]) == ("failed", 0)
    assert reason in item["reason"] and item["reason"].isprintable()
    assert log.getvalue().replace("\n", "").isprintable()


def test_only_a_mark_is_a_record_without_residues(world: World) -> None:
    identity = drive(world, world.upload(b">"))
    (row,) = world.rows(identity)
    assert (row["accession"], row["status"]) == ("", "rejected")
    assert row["reason"] == "line 1: the record holds no residues"


@pytest.mark.parametrize("key", FILE_NAMES)
def test_a_file_may_have_any_name(world: World, key: str) -> None:
    with heard() as log:
        identity = drive(world, world.upload(b">P1\nMKVLAAGIVG\n", key=key))
    assert world.status(identity) == "complete"
    assert key not in log.getvalue() and log.getvalue().replace("\n", "").isprintable()


@pytest.mark.parametrize("letter", ["🧬", "\x01", '"', "é", "x"])
def test_no_header_makes_a_message_that_the_queue_would_not_take(letter: str) -> None:
    text = b"".join(
        b">%b\nMKVLAAGIVG\n" % (letter * length).encode() for length in (*range(1, 1000, 7), *[100] * 2000)
    )
    upload = Upload("u" * 26, Source("uploads", "a", "null"), len(text), "test-1", "2026", 0, True)
    shard = Shard(upload.upload_id, 0, upload.source, 0, len(text))
    batches = list(pack(map(read_protein, read_records([text])), PackingSettings()))
    assert sum(len(batch.proteins) for batch in batches) == 2143
    for batch in batches:
        assert len(_dump(batch_message(batch, shard, upload))) < MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "letter", ["🧬", "\x01", *(pytest.param(each, marks=pytest.mark.slow) for each in '"蛋')]
)
def test_no_header_makes_a_page_that_a_function_may_not_answer(world: World, letter: str) -> None:
    header = (letter * 1000).encode()
    identity = drive(
        world, world.upload(b"".join(b">%b\n%b\n" % (header, b"MKVLAAGIVG") for _ in range(600)))
    )
    assert len(world.rows(identity)) == 600
    for path in (f"/uploads/{identity}/predictions", f"/proteins/{quote(letter * 100)}"):
        event = golden("api-get-upload") | {"path": path, "queryStringParameters": {"size": "500"}}
        answer = functions.query.handler(event, Context())
        assert answer["statusCode"] == 200 and json.loads(answer["body"])["predictions"]
        assert len(json.dumps(answer)) < MAX_ANSWER_BYTES
