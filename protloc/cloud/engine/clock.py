"""Steps of the machine's clock: when it is set, it moves by an hour at once.

The engine hides messages and starts schedules by the wall clock. A step back would keep them waiting for as
long as it is; so future times are moved along with the clock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

STEP_SECONDS = 5.0
"""More than a clock that is slowly corrected moves between two looks."""
LOOK_SECONDS = 1.0

log = logging.getLogger("protloc.cloud")


class Clock:
    """Compares the wall clock with the one that never steps, and tells of each step. Any thread may look."""

    def __init__(
        self,
        stepped: Callable[[float], None],
        wall: Callable[[], float] = lambda: time.time(),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stepped, self._wall, self._steady = stepped, wall, steady
        self._offset = wall() - steady()
        self._looking = threading.Lock()

    def look(self) -> float:
        """Tell of a step since the last look; return its seconds, or 0."""
        with self._looking:
            offset = self._wall() - self._steady()
            step, self._offset = offset - self._offset, offset
            if abs(step) < STEP_SECONDS:
                return 0.0
            log.warning("the clock was set %s by %.0f s", "forward" if step > 0 else "back", abs(step))
            self._stepped(step)
            return step

    def watch(self) -> None:
        """Look every second, in a thread."""

        def run() -> None:
            while True:
                time.sleep(LOOK_SECONDS)
                self.look()

        threading.Thread(target=run, daemon=True, name="clock").start()
