"""A function may die at any call: its successor makes the same batches, and each record becomes one row."""

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count
from typing import Any

import pytest

from functions.complete import complete
from functions.domain.errors import EndpointRefused
from functions.domain.packing import PackingSettings
from functions.predict import predict
from functions.receive import receive
from functions.retry import retry
from functions.services.dynamodb import Item
from functions.split import inflate
from tests.functions.dying import MOMENTS, Died, dying
from tests.functions.test_flow import fasta
from tests.functions.world import World, world

BODY = b"; a comment\n" + fasta(5) + b">bad\r\nMK1V\r\n\r\n" + fasta(4, seed=2) + b">none\n>last\nMKVLWYAAGG"
SHORT_BODY = b">a\nMKVLAAGGWY\n>bad\nMK1V\n>last\nMKVLWYAAGG"
PACKING = PackingSettings(batch_residues=300, batch_proteins=6, window_records=12)


def batches_of(here: World, identity: str) -> tuple[list[Item], dict[tuple[int, int], str]]:
    """The messages of the batches queue, and the content of each batch; a batch sent twice is the same twice."""
    messages = here.take(here.aws.batches_queue)
    batches: dict[tuple[int, int], str] = {}
    for message in messages:
        text = json.dumps(message | {"upload": ""})
        assert batches.setdefault((message["shard"], message["batch"]), text) == text
        assert message["upload"] == identity
    return messages, batches


def test_an_upload_keeps_its_batches_through_a_deployment_with_other_settings() -> None:
    """Half of a shard's batches are done, and it is delivered once more: by then functions cut otherwise."""
    with world(packing=PackingSettings(batch_proteins=3, window_records=7)) as here:
        here.activate()
        identity = receive(here.upload(fasta(20)), here.aws)
        assert identity
        (shard,) = here.take(here.aws.shards_queue)
        here.split([shard])
        first, batches = batches_of(here, identity)
        for message in first[::2]:
            predict(message, here.aws)
        changed = replace(here.aws.settings, packing=PackingSettings(batch_proteins=2), shard_bytes=100)
        here.aws = replace(here.aws, settings=changed)
        here.split([shard])
        again, same = batches_of(here, identity)
        assert same.items() <= batches.items() and len(again) == len(first) // 2
        for message in [*again, *first]:
            predict(message, here.aws)
        here.complete(identity)
        rows = here.rows(identity)
    assert [row["header"] for row in rows] == [
        line[1:] for line in fasta(20).decode().split("\n") if line[:1] == ">"
    ]


def outlives_every_death(
    here: World,
    when: str,
    every: int,
    records: int,
    begin: Callable[[str], str],
    act: Callable[[World, str], None],
) -> int:
    """Let `act` die at each of its calls, do it again, and see everything through; return its calls."""
    expected: Any = None
    for at in chain((-1,), count(0, every)):  # nobody dies the first time
        identity = begin(f"{when} {at}")
        died = False
        try:
            with dying(here, at, when):
                act(here, identity)
        except Died:
            died = True
            act(here, identity)
        here.split_shards()
        messages, batches = batches_of(here, identity)
        for message in messages + messages:
            predict(message, here.aws)
        item = here.item(identity)
        assert item["status"] == "finishing"
        complete(identity, here.aws)
        item = here.item(identity)
        key = item["results"]["jsonl"]
        rows = here.s3.get_object(Bucket="results", Key=key)["Body"].read()
        shards = range(item["shards"])
        indexed = [row for n in shards for row in here.aws.predictions.page(identity, n, 500, None)[0]]
        outcome = [batches, rows, [row["offset"] for row in indexed], {row["status"] for row in indexed}]
        outcome += [
            item[name] for name in ("status", "records", "predicted", "rejected", "failed", "progress")
        ]
        expected = expected or outcome
        assert outcome == expected, f"{when} {at}"
        assert len(rows.splitlines()) == len(indexed) == item["records"] == records
        if at >= 0 and not died:
            return at
    raise AssertionError


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("when", "every"), MOMENTS)
def test_a_splitter_that_dies_at_any_call_is_replaced_by_one_that_makes_the_same_batches(
    when: str, every: int
) -> None:
    with world(shard_bytes=700, packing=PACKING) as here:
        here.activate()
        shards: dict[str, list[Item]] = {}

        def begin(name: str) -> str:
            identity = receive(here.upload(BODY, key=name), here.aws)
            assert identity
            shards[identity] = here.take(here.aws.shards_queue)
            assert len(shards[identity]) == 2
            return identity

        calls = outlives_every_death(
            here, when, every, 12, begin, lambda w, identity: w.split(shards[identity])
        )
        assert calls > 25


@pytest.mark.parametrize(("when", "every"), MOMENTS)
def test_a_decompression_that_dies_at_any_call_is_done_again(when: str, every: int) -> None:
    with world(shard_bytes=700, packing=PACKING) as here:
        here.activate()

        def begin(name: str) -> str:
            identity = receive(here.upload(gzip.compress(BODY), key=name), here.aws)
            assert identity
            assert here.take(here.aws.shards_queue) == [{"upload": identity, "inflate": True}]
            return identity

        def act(there: World, identity: str) -> None:
            inflate(there.aws.uploads.get(identity), there.aws)

        assert outlives_every_death(here, when, every, 12, begin, act) > 6


@pytest.mark.parametrize(("when", "every"), MOMENTS)
def test_a_retry_that_dies_at_any_call_is_asked_for_again(when: str, every: int) -> None:
    """Beginning the attempt, splitting its shards: one life."""
    with world() as here:
        here.activate()

        def begin(name: str) -> str:
            def trouble(sequences: list[str]) -> None:
                if "MKVLWYAAGG" in sequences:
                    raise EndpointRefused("the model failed with status 500")

            here.model.trouble = trouble
            table = here.database.Table("AnswersTable")  # or the poison would be known from the last time
            for known in table.scan()["Items"]:
                table.delete_item(Key={"pk": known["pk"], "sk": known["sk"]})
            identity = here.run(here.upload(SHORT_BODY, key=name))
            assert here.item(identity)["failed"] == 1
            here.model.trouble = lambda sequences: None
            return identity

        def act(there: World, identity: str) -> None:
            retry(identity, "2", there.aws)
            there.split_shards()

        assert outlives_every_death(here, when, every, 3, begin, act) > 12
