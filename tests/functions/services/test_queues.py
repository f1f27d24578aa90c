"""The messages of one upload form a group, by which SQS shares a queue between uploads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.predict import predict
from functions.receive import receive
from functions.services.queues import _dump
from tests.functions.world import World, unavailable

FASTA = b"".join(b">p%d\nMKVLAAGIVGLLLAQWERTY%s\n" % (n, b"A" * n) for n in range(100))


@pytest.fixture
def sent(running_world: World) -> Iterator[list[tuple[str, str, str | None]]]:
    """Every message the functions send: its queue, its upload, its group."""
    messages: list[tuple[str, str, str | None]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        upload = json.loads(params["MessageBody"]).get("upload", "")
        messages.append((params["QueueUrl"].rsplit("/", 1)[-1], upload, params.get("MessageGroupId")))

    hook = "provide-client-params.sqs.SendMessage"
    running_world.sqs.meta.events.register(hook, note)
    yield messages
    running_world.sqs.meta.events.unregister(hook, note)


def test_every_message_of_an_upload_is_in_the_uploads_group(
    running_world: World, sent: list[tuple[str, str, str | None]]
) -> None:
    uploads = [running_world.run(running_world.upload(FASTA, key)) for key in ("a.fasta", "b.fasta")]
    expected = {(queue, upload, upload) for queue in ("shards", "batches") for upload in uploads}
    assert set(sent) == expected


def test_a_batch_that_waits_stays_in_its_uploads_group(
    running_world: World, sent: list[tuple[str, str, str | None]]
) -> None:
    world = running_world
    world.model.trouble = unavailable
    identity = receive(world.upload(FASTA), world.aws)
    world.split_shards()
    (message, *_) = world.take(world.aws.batches_queue)
    predict(message, world.aws)
    assert sent[-1] == ("batches", identity, identity)


def test_an_event_belongs_to_no_upload_yet(
    running_world: World, sent: list[tuple[str, str, str | None]]
) -> None:
    """SQS takes a message without a group as a tenant of its own."""
    running_world.aws.uploads_queue.send(running_world.upload(FASTA))
    assert sent == [("uploads", "", None)]


@given(st.dictionaries(st.text(), st.text() | st.integers(0, 2**53) | st.lists(st.text()), max_size=4))
def test_a_message_is_ascii_whatever_it_holds(message: dict[str, Any]) -> None:
    """SQS refuses some characters, as U+FFFE; JSON has an escape for every one."""
    body = _dump(message)
    assert body.isascii() and json.loads(body) == message


def test_a_plain_message_is_written_by_orjson_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.services.queues.json.dumps", None)
    assert (
        _dump({"upload": "u", "proteins": [{"header": "a"}]}) == '{"upload":"u","proteins":[{"header":"a"}]}'
    )
