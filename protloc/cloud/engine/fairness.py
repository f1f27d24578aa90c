"""Queues that share their consumers between the groups of their messages, as SQS's fair queues do.

SQS delivers first messages of no noisy group, and among noisy ones to that with the fewest messages in
flight. A group is noisy above a tenth of those in flight (and 30 messages), or of recent processing time:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html Here
a queue has two to ten consumers, so each group of a backlog is noisy, and the last rule is the only one.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any

from protloc.cloud.engine.names import module


def queues_are_fair() -> None:
    """Deliver a standard queue's messages in the order of `Turns`, where the engine has the oldest first."""
    queues = module("ministack.services.sqs")
    collect = queues._collect_msgs
    turns: defaultdict[str, Turns] = defaultdict(Turns)

    def collect_fairly(q: dict[str, Any], max_n: int, vis_timeout: int) -> Any:
        if not q["is_fifo"]:
            next_ones = turns[q["attributes"]["QueueArn"]].take(q["messages"], max_n, time.time())
            q = {**q, "messages": next_ones}
        return collect(q, max_n, vis_timeout)

    queues._collect_msgs = collect_fairly


class Turns:
    """Remembers when each group of a queue was served last; a message without a group is a group itself."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._turn = 0

    def take(self, messages: Iterable[dict[str, Any]], most: int, now: float) -> list[dict[str, Any]]:
        """Choose up to `most` visible messages.

        Each is the oldest of the group with the fewest messages in flight, and among those of the group that
        was served longest ago: where there are more groups than consumers, every one of them has its turn.
        """
        waiting: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        in_flight: Counter[str] = Counter()
        for message in messages:
            group = message.get("group_id") or message["id"]
            if message["visible_at"] <= now:
                waiting[group].append(message)
            elif message["receipt_handle"]:
                in_flight[group] += 1
        self._served = {group: self._served[group] for group in waiting.keys() & self._served.keys()}
        # The order of `waiting`, which is that of the groups' oldest messages, decides between equals.
        order = [
            (in_flight[group], self._served.get(group, 0), number, group)
            for number, group in enumerate(waiting)
        ]
        heapq.heapify(order)
        chosen: list[dict[str, Any]] = []
        while order and len(chosen) < most:
            flying, _, number, group = order[0]
            chosen.append(waiting[group].popleft())
            self._turn += 1
            self._served[group] = self._turn
            if waiting[group]:
                heapq.heapreplace(order, (flying + 1, self._turn, number, group))
            else:
                heapq.heappop(order)
        return chosen
