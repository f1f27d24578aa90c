"""State is replaced whole or not at all, and only when something changed."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud.engine import state as snapshot
from protloc.cloud.engine.generations import STATE, Generations, LostStateError
from tests.waiting import until


def generations(folder: Path) -> Generations:
    return Generations(folder, folder)


def read(folder: Path) -> Any:
    return generations(folder).read(objects_exist=False)


def saver(folder: Path, state: dict[str, Any]) -> snapshot.Saver:
    return snapshot.Saver(generations(folder), lambda: state, lambda call: call(), Nothing())


class Nothing:
    """Keeps nothing in a file of its own."""

    def begin(self, generation: int) -> None: ...

    def settle(self, generation: int) -> None: ...


def test_nothing_saved_is_no_state(tmp_path: Path) -> None:
    assert read(tmp_path) is None


def test_what_was_written_is_read(tmp_path: Path) -> None:
    state = {"rows": {("a", 1): {"S": "ü"}}, "bytes": b"\x00", "shared": [["x"]] * 3}
    generations(tmp_path).write(state)
    assert read(tmp_path) == state


def test_a_write_that_fails_leaves_the_old_state(tmp_path: Path) -> None:
    store = generations(tmp_path)
    store.write({"n": 1})
    with pytest.raises((TypeError, AttributeError)):
        store.write({"n": lambda: 2})
    assert read(tmp_path) == {"n": 1}


@pytest.mark.parametrize("content", [b"", b"not a state", b"\x80\x05K\x01."])
def test_a_damaged_file_is_reported_clearly(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pickle").write_bytes(content)
    with pytest.raises(LostStateError, match=r"state\.pickle: expected a saved state"):
        read(tmp_path)


def test_a_file_that_would_run_something_is_not_a_state(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "state.pickle").write_bytes(pickle.dumps({"format": snapshot.FORMAT, "state": Hostile()}))
    with pytest.raises(LostStateError):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_save_is_the_instant_of_the_fork(tmp_path: Path) -> None:
    state = {"rows": list(range(200_000))}
    writer = saver(tmp_path, state)
    writer.changed()
    writer.save()
    state["rows"].clear()
    assert read(tmp_path) == {"rows": list(range(200_000))}
    assert writer.report()["saved"] == writer.report()["changes"] == 1


class Rounds(threading.Event):
    """The end of a saver, which also notes each round and how long the saver would have waited for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return super().wait(0.001)

    def pass_three(self) -> None:
        passes = len(self.waits) + 3
        until(lambda: len(self.waits) >= passes)


def test_a_change_is_saved_with_the_next_round_a_second_later_and_nothing_without_one(tmp_path: Path) -> None:
    path, state = tmp_path / STATE, {"n": 0}
    writer = saver(tmp_path, state)
    rounds = writer._stopped = Rounds()
    writer.start()
    rounds.pass_three()
    assert not path.exists()
    assert set(rounds.waits) == {snapshot.INTERVAL_SECONDS} == {1.0}
    state["n"] = 1
    writer.changed()
    until(lambda: writer.report()["saves"])
    assert read(tmp_path) == {"n": 1}
    rounds.pass_three()
    assert writer.report()["saves"] == 1
    state["n"] = 2
    writer.changed()
    writer.stop()
    assert read(tmp_path) == {"n": 2}


def test_a_child_that_cannot_save_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    writer = saver(folder, {"n": 1})
    writer.changed()
    writer.save()
    report = writer.report()
    assert (report["saved"], report["failed_saves"]) == (0, 1)
    assert "No such file or directory" in report["save_failure"] == writer.failure
    folder.mkdir()
    writer.save()
    assert (read(folder), writer.failure) == ({"n": 1}, "")
