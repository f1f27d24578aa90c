"""A batch waits little while an endpoint wakes, and longer in an outage, which would multiply its work."""

from __future__ import annotations

from itertools import accumulate

from functions.predict import MAX_WAIT_SECONDS, wait_seconds


def waits_within(seconds: int) -> list[int]:
    """The moments, so soon after a batch was put off first, at which it is tried again."""
    return [
        moment for moment in accumulate(wait_seconds(waits) for waits in range(1, 100)) if moment <= seconds
    ]


def test_an_endpoint_that_wakes_within_ten_minutes_is_found_within_one() -> None:
    moments = waits_within(600)
    gaps = [later - earlier for earlier, later in zip([0, *moments], moments, strict=False)]
    assert max(gaps) <= 60 and 600 - moments[-1] <= 60


def test_an_outage_of_a_day_makes_few_copies_of_a_batch() -> None:
    assert len(waits_within(86_400)) < 86_400 / MAX_WAIT_SECONDS + 12
