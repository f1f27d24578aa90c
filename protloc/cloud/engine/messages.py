"""Messages whose worker is gone."""

from __future__ import annotations

import time
from typing import Any

KILLS_FORGIVEN = 50
KILLS_AT_ONCE = 10


def give_back(message: dict[str, Any], forgiven: bool) -> None:
    """Make a message visible whose worker is gone.

    A delivery that is forgiven is not counted, so many times: what kills its worker each time, as one that
    takes all memory does, ends as a dead letter after all. After some it comes back a little later each time.
    """
    kills = message["kills"] = message.get("kills", 0) + 1
    if forgiven and kills <= KILLS_FORGIVEN:
        message["receive_count"] = max(0, message["receive_count"] - 1)
    message["receipt_handle"] = None
    message["visible_at"] = time.time() + (0 if kills <= KILLS_AT_ONCE else min(kills, 60))
