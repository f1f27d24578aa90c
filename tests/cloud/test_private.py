"""A home and its files are its owner's alone, under any umask and over any earlier files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protloc.cloud import connection, lifecycle, private
from protloc.cloud.gate import keys
from protloc.cloud.lifecycle import CloudError
from protloc.embedded import ready
from protloc.errors import Unreachable

START = "import os, sys; os.umask(0); from protloc.cloud import lifecycle; lifecycle.up(sys.argv[1])"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that forbids nobody anything."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_nothing_in_a_home_is_for_others_whatever_the_umask(tmp_path: Path) -> None:
    home = tmp_path / "clouds" / "home"
    subprocess.run([sys.executable, "-c", START, str(home)], check=True)
    try:
        cloud = connection.find(home)
        assert cloud is not None
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="bucket-1")
        s3.put_object(Bucket="bucket-1", Key="a/b", Body=b"x")
    finally:
        lifecycle.down(home)
    open_to_others = {path: oct(mode(path)) for path in home.rglob("*") if mode(path) & 0o077}
    assert (mode(home), open_to_others) == (0o700, {})
    assert mode(home / "credentials") == mode(home / "cloud.log") == 0o600
    assert (home / "state" / "state.pickle").exists() and list((home / "s3").rglob("*"))


@pytest.mark.usefixtures("umask")
def test_a_home_that_was_open_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    assert private.folder(home) == home and mode(home) == 0o700


@pytest.mark.parametrize("rights", [0o777, 0o770, 0o722, 0o1777])
def test_a_home_that_others_can_write_to_is_refused(tmp_path: Path, rights: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(rights)
    with pytest.raises(CloudError, match="others may write to"):
        lifecycle.up(home)
    with pytest.raises(Unreachable, match="chmod 700"):
        ready(home, lambda _: None)
    assert not list(home.iterdir())


def test_a_home_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(CloudError, match="belongs to another user"):
        lifecycle.up(home)
    assert not list(home.iterdir())


def test_a_home_behind_a_link_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "home").symlink_to(tmp_path / "mine")
    assert private.folder(tmp_path / "home") == tmp_path / "mine"
    lstat = Path.lstat

    def of_another(path: Path) -> os.stat_result:
        fields = list(lstat(path))
        fields[stat.ST_UID] = os.geteuid() + 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "lstat", of_another)
    with pytest.raises(private.NotPrivate, match="somebody else made"):
        private.folder(tmp_path / "home")


@pytest.mark.parametrize("name", ["credentials", "cloud.log", "starting.lock", "running.lock", "ready.lock"])
def test_no_link_is_followed_where_a_file_is_made(tmp_path: Path, name: str) -> None:
    home, target = private.folder(tmp_path / "home"), tmp_path / "target"
    target.write_text("precious")
    (home / name).symlink_to(target)
    with pytest.raises((CloudError, Unreachable), match="found a link"):
        ready(home, lambda _: None)
    assert target.read_text() == "precious"


def test_the_file_of_a_running_cloud_replaces_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "cloud.json").symlink_to(target)
    private.write(tmp_path / "cloud.json", "{}")
    assert target.read_text() == "precious" and not (tmp_path / "cloud.json").is_symlink()


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o606])
def test_a_key_that_others_may_have_read_is_not_used(tmp_path: Path, rights: int) -> None:
    home = private.folder(tmp_path / "home")
    keys.made(home)
    (home / "credentials").chmod(rights)
    with pytest.raises(CloudError, match="no secret any more"):
        lifecycle.up(home)


def test_each_home_has_a_key_of_its_own_which_stays(tmp_path: Path) -> None:
    homes = [private.folder(tmp_path / name) for name in ("a", "b")]
    first, second = map(keys.made, homes)
    assert first.access_key != second.access_key and first.secret_key != second.secret_key
    assert keys.made(homes[0]) == keys.read(homes[0]) == first
    assert len(first.secret_key) >= 40


def test_a_broken_key_file_is_reported(tmp_path: Path) -> None:
    home = private.folder(tmp_path / "home")
    private.write(home / "credentials", "[default]\nnothing = 1\n")
    with pytest.raises(CloudError, match="expected an access key in"):
        lifecycle.up(home)


def test_a_cloud_whose_key_is_gone_is_not_started_beside_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    lifecycle.up(home)
    try:
        (home / "credentials").unlink()
        assert connection.find(home) is None
        with pytest.raises(CloudError, match="its access key is gone"):
            lifecycle.up(home)
        lifecycle.down(home)
        assert lifecycle.up(home).client("sts").get_caller_identity()["Arn"].endswith(":root")
    finally:
        lifecycle.down(home, erase=True)
    assert not (home / "credentials").exists()


def test_two_that_start_a_new_home_at_once_agree_on_its_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        with ThreadPoolExecutor(4) as threads:
            clouds = list(threads.map(lifecycle.up, [home] * 4))
        assert len({cloud.pid for cloud in clouds}) == len({cloud.keys for cloud in clouds}) == 1
        for cloud in clouds:
            cloud.client("sqs").list_queues()
    finally:
        lifecycle.down(home, erase=True)
