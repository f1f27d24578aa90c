"""Progress of an upload, told on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, NamedTuple, Self

from protloc.cli.shared import Loudness
from protloc.safe import safe

WINDOW_SECONDS = 60.0
PLAIN_SECONDS = 5.0

View = dict[str, Any]


class Stage(NamedTuple):
    """The progress of an upload: a phase, and how much of its work is done."""

    phase: str
    done: float
    total: float  # 0 while it is unknown
    detail: str


class Estimate:
    """Seconds left, from how fast work was done of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def seconds_left(self, now: float, done: float, total: float) -> float | None:
        """None while too little is known to say."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW_SECONDS:
            self._seen.popleft()
        began, before = self._seen[0]
        if now - began < 1 or done <= before or not total:
            return None
        return max(0.0, (total - done) * (now - began) / (done - before))


def stage(view: View | None) -> Stage:
    """Derive the stage of an upload from its counts.

    Residues are the measure: they, not records, take the time. While shards are still being split, their
    residues are guessed from those that are.
    """
    if view is None:
        return Stage("waiting to be picked up", 0, 0, "")
    progress = view["progress"]
    shards, split = progress["shards"], progress["shards_split"]
    if view["status"] == "receiving" or not shards:
        return Stage("receiving", 0, 0, safe(view.get("reason") or ""))
    records_found, residues_found = progress["records_found"], progress["residues_found"]
    if not split:
        return Stage("splitting", 0, 0, "reading the records")
    total = residues_found * shards / split
    about = "" if split == shards else "about "
    records = round(records_found * shards / split)
    detail = f"{view['records']:,} of {about}{records:,} records, {short(view['residues'])} residues"
    if split == shards and progress["batches_done"] >= progress["batches"]:
        return Stage("finishing", total, total, detail)
    return Stage("predicting", min(view["residues"], total), total, detail)


def short(number: float) -> str:
    """A count in at most four characters and a unit.

    >>> short(950), short(68_700), short(2_900_000)
    ('950', '68.7 k', '2.9 M')
    """
    if number < 10_000:
        return f"{number:,.0f}"
    return f"{number / 1e3:.1f} k" if number < 1e6 else f"{number / 1e6:.1f} M"


def duration(seconds: float) -> str:
    """A time as a person says it.

    >>> duration(3.21), duration(75), duration(4020), duration(7200)
    ('3.2 s', '1 min 15 s', '1 h 7 min', '2 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    parts = ((minutes, "min"), (rest, "s")) if minutes < 60 else ((minutes // 60, "h"), (minutes % 60, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


class PlainProgress:
    """A line when something begins, then one every few seconds."""

    def __init__(self) -> None:
        self._estimate = Estimate()
        self._phase = ""
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def sending(self, done: int, total: int | None) -> None:
        share = f" of {short(total)}" if total else ""
        self.show(Stage("sending", done, total or 0, f"{short(done)}{share} bytes"))

    def working(self, view: View | None) -> None:
        self.show(stage(view))

    def show(self, now: Stage) -> None:
        if now.phase != self._phase:
            self._estimate = Estimate()
        moment = time.monotonic()
        seconds_left = self._estimate.seconds_left(moment, now.done, now.total)
        if now.phase == self._phase and moment - self._told < PLAIN_SECONDS:
            return
        self._phase, self._told = now.phase, moment
        parts = [now.detail] if now.detail else []
        if seconds_left is not None:
            parts.append(f"about {duration(seconds_left)} left")
        self.note(": ".join([now.phase, ", ".join(parts)] if parts else [now.phase]))


class BarProgress(PlainProgress):
    """One line that moves, on a terminal."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}", markup=False),
            console=Console(stderr=True, highlight=False, markup=False),
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, detail="")
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self._bar.console.print(text, soft_wrap=True)

    def show(self, now: Stage) -> None:
        if now.phase != self._phase:
            self._estimate, self._phase = Estimate(), now.phase
        seconds_left = self._estimate.seconds_left(time.monotonic(), now.done, now.total)
        detail = ", ".join(
            filter(None, [now.detail, f"about {duration(seconds_left)} left" if seconds_left else ""])
        )
        self._bar.update(
            self._task,
            description=now.phase,
            completed=now.done,
            total=now.total or None,
            detail=detail,
        )


class NoProgress(PlainProgress):
    """Says nothing, as --quiet asks."""

    def note(self, text: str) -> None:
        pass


def make_progress() -> PlainProgress:
    """The kind of progress that stderr can show."""
    if Loudness.quiet:
        return NoProgress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
