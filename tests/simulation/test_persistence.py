"""Nothing acknowledged is lost, whichever system call fails; and the simulation notices where that is not so."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from protloc.cloud import disk
from protloc.cloud.disk import objects
from protloc.cloud.engine import generations
from tests.simulation.persistence import SimulatedDisk, cases, play, recovered

MAX_CASES = 20_000


def test_no_failing_call_and_no_death_loses_what_was_acknowledged() -> None:
    count, problems = 0, []
    for fault, loss in cases():
        count += 1
        problems += [(fault, loss, each) for each in play(fault, loss)]
    print(f"\n{count:,} cases")
    assert problems == []
    assert 1_000 < count < MAX_CASES


def _unsynced(device: Any, path: str, data: bytes) -> str:
    file = device.create(path + disk.TEMPORARY)
    file.write(data)
    file.close()
    return path + disk.TEMPORARY


def _in_place(device: Any, path: str, data: bytes) -> None:
    file = device.create(path)
    file.write(data)
    file.sync()
    file.close()
    device.sync_folder(path.rpartition("/")[0])


def _nameless(device: Any, path: str, data: bytes) -> None:
    device.rename(disk.write_aside(device, path, data), path)


def _swallowed(call: Callable[..., None]) -> Callable[..., None]:
    def put(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            call(*arguments)

    return put


def _noted_first(self: Any, state: Any, last: bool = False) -> None:
    disk.replace(self._disk, self._noted, str(self._number + 1).encode())
    _write(self, state, last)


_write = generations.Generations.write


def _without_syncs(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(SimulatedDisk, name, lambda *_: None)


PLANTED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a body is renamed before it is synced": lambda patch: patch.setattr(objects, "write_aside", _unsynced),
    "a sidecar is written in place": lambda patch: patch.setattr(objects, "replace", _in_place),
    "the number of the state is written in place": lambda p: p.setattr(generations, "replace", _in_place),
    "a folder is never synced": _without_syncs("sync_folder"),
    "a sidecar's folder is not synced": lambda patch: patch.setattr(objects, "replace", _nameless),
    "a write that fails is taken for done": lambda p: p.setattr(objects, "put", _swallowed(objects.put)),
    "what failed halfway is not undone": lambda patch: patch.setattr(objects, "_undo", lambda *_: None),
    "a displaced body is not kept": lambda patch: patch.setattr(objects, "keep", lambda *_: None),
    "the number is noted before its state": lambda p: p.setattr(
        generations.Generations, "write", _noted_first
    ),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[mistake](monkeypatch)
    caught = next((n for n, (fault, loss) in enumerate(cases(), 1) if play(fault, loss)), None)
    print(f"\n{mistake}: case {caught}")
    assert caught is not None


def test_a_start_that_puts_nothing_in_order_is_caught() -> None:
    def nothing(_: SimulatedDisk) -> None:
        pass

    assert any(play(fault, loss, nothing) for fault, loss in cases())
    assert not any(play(fault, loss, recovered) for fault, loss in list(cases())[:200])
