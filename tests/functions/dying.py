"""A function that dies at one of its calls to AWS, just before it or just after."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.functions.world import World

MOMENTS = (
    pytest.param("before-call", 1, marks=pytest.mark.slow),
    pytest.param("after-call", 1, marks=pytest.mark.slow),
    ("after-call", 3),
)
"""When a function dies, and at every how many calls. Before a call is after the one before it."""


class Died(BaseException):
    """Ends a process: no code catches it."""


@contextmanager
def dying(world: World, at: int, when: str) -> Iterator[None]:
    """The process dies at its call number `at`, counted from 0: `when` is before-call or after-call."""
    clients = (world.s3, world.sqs, world.aws.predictions.database.client, world.aws.events)
    calls = {"before-call": 0, "after-call": 0}
    dead = False

    def reach(moment: str) -> None:
        nonlocal dead
        dead = dead or (moment == when and calls[moment] == at)
        if dead:  # for good: nobody is left to clean up
            raise Died
        calls[moment] += 1

    def before(**_: Any) -> None:
        reach("before-call")

    def after(**_: Any) -> None:
        reach("after-call")

    for client in clients:
        client.meta.events.register("before-call", before)
        client.meta.events.register("after-call", after)
    try:
        yield
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", before)
            client.meta.events.unregister("after-call", after)
