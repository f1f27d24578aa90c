"""Where the handlers find the world they are in, in place of AWS, the clock and the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from unittest.mock import patch

from functions import complete, predict, receive, retry, split, storage, sweep, tables
from functions.services import Services
from tests.simulation.scheduler import BEGINNING
from tests.simulation.world import World

HANDLERS: tuple[ModuleType, ...] = (receive, split, predict, complete, retry, sweep)


class Stage:
    """Where the handlers find the world they are in."""

    def __init__(self) -> None:
        self.world: World | None = None

    def services(self) -> Services:
        assert self.world is not None
        return self.world.services

    def time(self) -> float:
        return self.world.simulation.now if self.world else BEGINNING

    def sleep(self, seconds: float) -> None:
        assert self.world is not None
        self.world.simulation.sleep(seconds)


@contextmanager
def staged() -> Iterator[Stage]:
    """Put the handlers on a stage: its services, its clock, and no logs."""
    stage = Stage()
    with ExitStack() as patches:
        patches.enter_context(patch.object(tables, "time", stage))
        for handler in HANDLERS:
            patches.enter_context(patch.object(handler, "services", stage.services))
            patches.enter_context(patch.object(handler.metrics, "add_metric", lambda *_: None))
            level = handler.logger.level
            handler.logger.setLevel(logging.CRITICAL)
            patches.callback(handler.logger.setLevel, level)
        for name in ("WINDOW_BYTES", "WRITE_PART_BYTES"):
            patches.enter_context(patch.object(storage, name, getattr(storage, name)))
        yield stage
