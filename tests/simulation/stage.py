"""The world of the handlers, in place of AWS, the clock and the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from functions import erase, sweep
from functions.domain import text, upload
from functions.services import Services
from functions.services import dynamodb as tables
from functions.services import s3 as storage
from tests.simulation.lambdas import HANDLERS
from tests.simulation.scheduler import BEGINNING
from tests.simulation.world import World

_LIMITS: tuple[tuple[Any, str], ...] = (
    (storage, "WINDOW_BYTES"),
    (text, "WINDOW_BYTES"),
    (storage, "WRITE_PART_BYTES"),
    (upload, "MAX_SHARDS"),
    (sweep, "DEAD_LETTERS_A_RUN"),
    (sweep, "LOST_PAGES_A_RUN"),
    (erase, "SETTLED_SECONDS"),
)
"""Constants that a schedule makes smaller, so that a small file goes beyond them."""


_AS_THEY_ARE = {name: getattr(owner, name) for owner, name in _LIMITS}


class Stage:
    """Holds the world of the handlers."""

    def __init__(self) -> None:
        self.world: World | None = None

    def services(self, function: str) -> Services:
        assert self.world is not None
        return self.world.services_now(function)

    def time(self) -> float:
        return self.world.simulation.time() if self.world else BEGINNING

    def limit(self, limits: dict[str, int]) -> None:
        """Make constants smaller, or as large as they are."""
        for owner, name in _LIMITS:
            setattr(owner, name, limits.get(name, _AS_THEY_ARE[name]))

    def sleep(self, seconds: float) -> None:
        assert self.world is not None
        self.world.simulation.sleep(seconds)


class OneAfterTheOther:
    """A pool that does its work at once, because an invocation is one thread here."""

    def __init__(self, _workers: int) -> None:
        pass

    def __enter__(self) -> OneAfterTheOther:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def staged() -> Iterator[Stage]:
    """Put the handlers on a stage: its services, its clock, and no logs."""
    stage = Stage()
    with ExitStack() as patches:
        patches.enter_context(patch.object(tables, "time", stage))
        patches.enter_context(patch.object(storage, "ThreadPoolExecutor", OneAfterTheOther))
        for name, handler in HANDLERS.items():
            patches.enter_context(patch.object(handler, "services", partial(stage.services, name)))
            if hasattr(handler, "metrics"):
                patches.enter_context(patch.object(handler.metrics, "flush_metrics", lambda **_: None))
                provider = handler.metrics.provider
                patches.enter_context(patch.object(provider, "flush_metrics", lambda **_: None))
                patches.enter_context(patch.object(handler.metrics, "add_metric", lambda *_: None))
            if hasattr(handler, "processor"):
                patches.enter_context(patch.object(handler, "processor", handler.processor))
            level = handler.logger.level
            handler.logger.setLevel(logging.CRITICAL)
            patches.callback(handler.logger.setLevel, level)
        for owner, name in _LIMITS:
            patches.enter_context(patch.object(owner, name, getattr(owner, name)))
        yield stage
