"""A queue of the embedded cloud serves the uploads in it by turns, as SQS's fair queues do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from protloc.cloud.connection import Cloud
from protloc.cloud.engine.fairness import Turns


def message(number: int, group: str | None) -> dict[str, Any]:
    return {"id": f"m{number}", "group_id": group, "visible_at": 0.0, "receipt_handle": None}


class Consumers:
    """So many consumers that each work on one message of a queue, the one that began first ends first."""

    def __init__(self, groups: str, consumers: int) -> None:
        self.messages = [message(number, group) for number, group in enumerate(groups)]
        self.turns, self.consumers = Turns(), consumers
        self.working: list[dict[str, Any]] = []

    def step(self) -> str:
        """End one message if all consumers are at work, take the next; return its group."""
        if len(self.working) == self.consumers:
            self.messages.remove(self.working.pop(0))
        (message,) = self.turns.take(self.messages, 1, now=1.0)
        message |= {"visible_at": 100.0, "receipt_handle": "held"}
        self.working.append(message)
        return str(message["group_id"])

    def steps(self, number: int) -> str:
        return "".join(self.step() for _ in range(number))


@pytest.mark.parametrize("consumers", [1, 2, 10])
def test_a_small_upload_is_next_however_many_messages_of_a_large_one_wait(consumers: int) -> None:
    queue = Consumers("a" * 100, consumers)
    queue.steps(20)
    queue.messages += [message(100, "b")]
    assert queue.step() == "b"


@pytest.mark.parametrize("consumers", [1, 2, 3, 10])
def test_large_uploads_have_the_same_share_and_each_its_turn(consumers: int) -> None:
    """Also where they are more than the consumers, and a third one would never be the one with fewest."""
    queue = Consumers("a" * 100 + "b" * 100 + "c" * 100, consumers)
    assert Counter(queue.steps(60)) == {"a": 20, "b": 20, "c": 20}


def test_within_an_upload_the_oldest_message_is_first() -> None:
    messages = [message(number, "a") for number in range(5)]
    assert Turns().take(messages, 3, now=1.0) == messages[:3]


def test_a_message_without_a_group_is_a_group_of_its_own() -> None:
    messages = [message(number, None) for number in range(5)]
    assert Turns().take(messages, 10, now=1.0) == messages


def test_what_waits_for_a_moment_is_neither_taken_nor_in_flight() -> None:
    """As a batch that is sent again with a delay: nobody works on it."""
    delayed = [message(number, "a") | {"visible_at": 50.0} for number in range(3)]
    messages = [*delayed, message(3, "a"), message(4, "b")]
    assert Turns().take(messages, 1, now=1.0) == [messages[3]]


def test_no_group_is_remembered_longer_than_it_has_messages() -> None:
    turns = Turns()
    for number in range(1_000):
        turns.take([message(number, f"upload-{number}")], 1, now=1.0)
    assert len(vars(turns)["_served"]) <= 2


def test_a_deployed_queue_shares_itself_out(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="shared")["QueueUrl"]
    for group in "aaaaaaab":
        sqs.send_message(QueueUrl=url, MessageBody=group, MessageGroupId=group)
    bodies = [sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] for _ in range(3)]
    sqs.delete_queue(QueueUrl=url)
    assert bodies == ["a", "b", "a"]
