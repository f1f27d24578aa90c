"""No command waits without an end: it names the obstacle, and finds a cloud whose note is gone or wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from protloc.cli.main import main
from protloc.cloud import connection, lifecycle, locks
from protloc.cloud.connection import Cloud
from tests.waiting import until

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = lifecycle.up(tmp_path / "home")
    yield cloud
    lifecycle.down(cloud.home, erase=True)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock file `lock`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "starting.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def stopped(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)


@pytest.mark.parametrize("command", [["up"], ["down"]], ids=" ".join)
def test_a_lock_that_is_held_on_and_on_is_an_error_that_names_its_holder(
    tmp_path: Path, holder: subprocess.Popen[bytes], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LOCK_SECONDS", 1.0)
    ended = CliRunner().invoke(main, [*command, "--home", str(tmp_path)])
    assert ended.exit_code == 3
    assert f"starting.lock is held by process {holder.pid} (" in ended.output


def test_a_lock_whose_holder_is_stopped_is_not_waited_for(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    stopped(holder.pid)
    with (
        pytest.raises(locks.LockedError, match=f"kill -CONT {holder.pid}"),
        locks.held(tmp_path / "starting.lock", 3600.0),
    ):
        pass


def test_a_lock_is_waited_for_and_a_person_told(
    tmp_path: Path, holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TELL_SECONDS", 0.0)
    notes: list[str] = []

    def tell(text: str) -> None:
        notes.append(text)
        holder.kill()

    with locks.held(tmp_path / "starting.lock", 3600.0, tell):
        assert locks.holder_of(tmp_path / "starting.lock") == os.getpid()
    assert notes[0].startswith(f"waiting for process {holder.pid} (")


def test_a_home_that_cannot_be_written_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in (["up"], ["down"]):
        ended = CliRunner().invoke(main, [*command, "--home", str(tmp_path / "file" / "home")])
        assert (ended.exit_code, "cannot be made" in ended.output) in {(3, True), (0, False)}
        assert ended.exception is None or isinstance(ended.exception, SystemExit)


def test_a_stopped_cloud_is_reported_as_such_and_ended(own_cloud: Cloud) -> None:
    stopped(own_cloud.pid)
    status = lifecycle.status(own_cloud.home)
    assert (status["state"], status["pid"]) == ("stopped by a signal", own_cloud.pid)
    assert connection.find(own_cloud.home) is None
    with pytest.raises(lifecycle.CloudError, match=f"kill -CONT {own_cloud.pid}"):
        lifecycle.up(own_cloud.home)
    assert lifecycle.down(own_cloud.home)
    assert not psutil.pid_exists(own_cloud.pid)


NOTES = {
    "gone": None,
    "empty": "",
    "torn": '{"pid": 12',
    "a list": "[1, 2]",
    "of words": '{"pid": "x", "port": "y"}',
    "out of range": '{"pid": -1, "port": 99999}',
    "of truth": '{"pid": true, "port": true}',
    "of another process": '{"pid": 1, "port": 1}',
}


QUICK = ("gone", "torn", "of another process")


@pytest.mark.parametrize(
    "note", [note if note in QUICK else pytest.param(note, marks=pytest.mark.slow) for note in NOTES]
)
def test_a_cloud_is_found_whatever_became_of_its_note(own_cloud: Cloud, note: str) -> None:
    path, content = own_cloud.home / "cloud.json", NOTES[note]
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert lifecycle.status(own_cloud.home)["pid"] == own_cloud.pid
    assert lifecycle.up(own_cloud.home) == own_cloud
    path.unlink()
    assert lifecycle.down(own_cloud.home)
    assert not psutil.pid_exists(own_cloud.pid)


def test_an_ended_cloud_that_its_parent_never_asks_about_is_gone(tmp_path: Path) -> None:
    program = (
        "import sys; from protloc.cloud import lifecycle; "
        "print(lifecycle.up(sys.argv[1]).pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lifecycle.down(tmp_path, erase=True)
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        parent.kill()


def test_a_home_whose_name_begins_like_another_s_is_not_that_one(own_cloud: Cloud) -> None:
    shorter = own_cloud.home.with_name("hom")
    shorter.mkdir()
    (shorter / "cloud.json").write_text((own_cloud.home / "cloud.json").read_text())
    assert lifecycle.status(shorter)["state"] == "stopped"
    assert not lifecycle.down(shorter)
    assert connection.find(own_cloud.home) == own_cloud


def test_a_cloud_that_is_stopped_while_it_is_asked_is_not_waited_for(
    own_cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes between the look at the process and the question."""
    moments = []
    look = locks.is_stopped

    def running_at_first(pid: int) -> bool:
        moments.append(pid)
        return len(moments) > 1 and look(pid)

    stopped(own_cloud.pid)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 36_000.0)
    monkeypatch.setattr(locks, "is_stopped", running_at_first)
    assert connection.find(own_cloud.home) is None
