"""Following an upload that stands still, without a cloud."""

from __future__ import annotations

import time
from typing import Any

import pytest

from protloc.cli.following import STILL_SECONDS, Following
from protloc.cli.progress import PlainProgress
from tests.protloc.cli.test_progress import view


class Client:
    """A stack that shows one view of an upload after another, each at its moment."""

    def __init__(
        self, views: list[tuple[float, dict[str, Any] | None]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.views, self.now = views, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def wait(self, _upload: str, tell: Any, *_: Any) -> None:
        for moment, each in self.views:
            self.now = moment
            tell(each and each | {"predicted": 3, "rejected": 0, "failed": 0})


class Notes(PlainProgress):
    """Keeps what is said beside the progress."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def note(self, text: str) -> None:
        self.written.append(text)

    def working(self, view: dict[str, Any] | None) -> None:
        pass


def notes(views: list[tuple[float, dict[str, Any] | None]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    progress = Notes()
    following = Following(Client(views, monkeypatch), "u" * 26, "lab", 0.0)  # type: ignore[arg-type]
    following.wait(progress, None)
    return progress.written


@pytest.mark.parametrize("stands", [None, view(), view("finishing", shards_split=2, batches_done=4)])
def test_an_upload_that_stands_still_is_reported_once_for_each_while(
    stands: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_minute = [(minute * 60.0, stands) for minute in range(40)]
    (first, second) = notes(every_minute, monkeypatch)
    assert first == second and "Nothing has changed for 15 min. `protloc doctor --stack lab`" in first


def test_an_upload_that_goes_on_however_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [(at * (STILL_SECONDS - 1), view(batches_done=at)) for at in range(5)]
    assert notes(slow, monkeypatch) == []
