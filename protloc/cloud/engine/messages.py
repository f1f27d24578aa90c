"""Messages that functions read: whether there are any, and those whose worker is gone."""

from __future__ import annotations

import time
from typing import Any

from protloc.cloud.engine.names import module

KILLS_FORGIVEN = 50
KILLS_AT_ONCE = 10


def give_back(message: dict[str, Any], forgiven: bool) -> None:
    """Make a message visible whose worker is gone.

    A forgiven delivery is not counted. Their number has a limit, so a message that kills its worker each
    time, as by taking all memory, still ends as a dead letter. After some it comes back a little later each
    time.
    """
    kills = message["kills"] = message.get("kills", 0) + 1
    if forgiven and kills <= KILLS_FORGIVEN:
        message["receive_count"] = max(0, message["receive_count"] - 1)
    message["receipt_handle"] = None
    message["visible_at"] = time.time() + (0 if kills <= KILLS_AT_ONCE else min(kills, 60))


def any_left() -> bool:
    """True if a message lies in a queue that a function reads, or is in its hands."""
    mappings = module("ministack.services.lambda_svc")._iter_all_esms()
    read = {mapping.get("EventSourceArn") for _, _, mapping in mappings}
    queues = list(module("ministack.services.sqs")._queues._data.values())
    return any(queue["messages"] and queue["attributes"]["QueueArn"] in read for queue in queues)
