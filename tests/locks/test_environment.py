"""`.venv` gets the build of PyTorch that fits the machine; missing means are reported before anything is downloaded."""

import os
import re
import shutil
import socket
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from locks import environment
from tests.locks.index import Index, serving, wheel

Usage = namedtuple("Usage", "total used free")  # bytes, as shutil has them
TORCH = "torch==2.13.0"
OTHER = (
    "nothing-of-this-name"  # which the tests' CPU build requires, as the real one does packages of the locks
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment, made by the script where one was cut short."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "python").write_text("cut sh")
    with pytest.MonkeyPatch.context() as monkeypatch:
        unconfigured(monkeypatch)
        with serving([wheel(folder, "2.13.0+cpu")]) as index:
            assert setting_up(folder / "venv", index.url) == 0
    assert installed(folder / "venv") == ["torch-2.13.0+cpu.dist-info"]
    return folder / "venv"


@pytest.fixture
def venv(made: Path) -> Path:
    """The environment without PyTorch."""
    for package in made.glob("lib/python*/site-packages/torch-*.dist-info"):
        shutil.rmtree(package)
    return made


@pytest.fixture(autouse=True)
def unconfigured_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    unconfigured(monkeypatch)


def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this a machine with room and without a GPU, where pip is not configured; nothing is given up early."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setattr(environment, "nvidia", lambda: False)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**12))
    monkeypatch.setattr(environment, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(environment, "ANSWER_SECONDS", 600)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index of CPU builds, with other versions beside the one that is wanted."""
    versions = ("2.12.1+cpu", "2.13.0+cpu", "2.14.1+cpu")
    with serving([wheel(tmp_path, version, requires=OTHER) for version in versions]) as index:
        yield index


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip finds a build in a folder, and looks nowhere else."""
    folder = tmp_path / "builds"
    folder.mkdir()
    wheel(folder, "2.13.0+disk")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def setting_up(venv: Path, index: str, *options: str) -> int:
    return environment.main([str(venv), "--torch", TORCH, "--index", index, *options])


def installed(venv: Path) -> list[str]:
    return [path.name for path in venv.glob("lib/python*/site-packages/torch-*.dist-info")]


@pytest.mark.slow
def test_the_cpu_build_is_taken_from_the_index_alone_and_without_what_the_locks_hold(
    venv: Path, index: Index, capfd: pytest.CaptureFixture[str]
) -> None:
    assert setting_up(venv, index.url) == 0
    assert installed(venv) == ["torch-2.13.0+cpu.dist-info"]
    assert set(index.asked) == {"/simple/torch/", "/files/torch-2.13.0%2Bcpu-py3-none-any.whl"}
    out = capfd.readouterr().out
    assert (
        f"To download: PyTorch 2.13.0+cpu from {index.url}, 200 MB, and the locked packages, 160 MB." in out
    )
    assert re.search(r"Disk: about [\d,]+ MB in .*venv, and 360 MB in pip's cache", out)


def test_downloads_are_announced_before_they_begin(
    venv: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(environment, "say", events.append)
    monkeypatch.setattr(environment.Pip, "install", lambda *_: events.append("installed") or True)
    assert setting_up(venv, index.url) == 0
    assert events[-1] == "installed" and any(event.startswith("To download: ") for event in events)
    assert index.asked == ["/simple/torch/"]


@pytest.mark.usefixtures("on_disk")
def test_where_pip_is_configured_to_find_a_build_the_index_is_not_asked(venv: Path, index: Index) -> None:
    assert setting_up(venv, index.url) == 0
    assert installed(venv) == ["torch-2.13.0+disk.dist-info"]
    assert index.asked == []


@pytest.mark.usefixtures("on_disk")
def test_an_index_that_was_named_is_asked_however_pip_is_configured(venv: Path, index: Index) -> None:
    assert setting_up(venv, index.url, "--chosen") == 0
    assert installed(venv) == ["torch-2.13.0+cpu.dist-info"]


@pytest.mark.usefixtures("on_disk")
def test_an_index_that_refuses_is_passed_over(venv: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert setting_up(venv, f"http://127.0.0.1:{port}/simple", "--chosen") == 0
    assert installed(venv) == ["torch-2.13.0+disk.dist-info"]
    assert "is out of reach or lacks torch==2.13.0 for this Python: pip chooses" in capfd.readouterr().out


@pytest.mark.parametrize("patience, answer", [(1, 600), (600, 1)])
def test_an_index_that_never_answers_is_given_up(
    made: Path, monkeypatch: pytest.MonkeyPatch, patience: int, answer: int
) -> None:
    pip = environment.Pip(str(made))
    monkeypatch.setattr(environment, "PATIENCE_SECONDS", patience)
    monkeypatch.setattr(environment, "ANSWER_SECONDS", answer)
    with socket.create_server(("127.0.0.1", 0)) as server:  # connects, and is silent
        assert pip.offered(TORCH, f"http://127.0.0.1:{server.getsockname()[1]}/simple") == ""


def test_an_index_without_the_version_offers_nothing(made: Path, tmp_path: Path) -> None:
    with serving([wheel(tmp_path, "2.12.1+cpu"), wheel(tmp_path, "2.13.1")]) as index:
        assert environment.Pip(str(made)).offered(TORCH, index.url) == ""


@pytest.mark.usefixtures("on_disk")
def test_an_index_whose_file_does_not_come_is_passed_over(
    venv: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving([wheel(tmp_path, "2.13.0+cpu")], whole=False) as index:
        assert setting_up(venv, index.url, "--chosen") == 0
    assert installed(venv) == ["torch-2.13.0+disk.dist-info"]
    assert f"PyTorch could not be installed from {index.url}: pip chooses" in capfd.readouterr().out


def test_with_an_nvidia_gpu_pip_chooses(venv: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    monkeypatch.setattr(environment, "nvidia", lambda: True)
    monkeypatch.setattr(environment.Pip, "offered", lambda _, requirement, index: "2.13.0")
    monkeypatch.setattr(
        environment.Pip, "install", lambda _, requirement, index: commands.append(index) or True
    )
    assert setting_up(venv, index.url) == 0
    assert commands == [""]


def test_what_is_there_is_not_installed_again(
    venv: Path, index: Index, capfd: pytest.CaptureFixture[str]
) -> None:
    package = next(venv.glob("lib/python*/site-packages")) / "torch-2.13.0+cpu.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
    assert setting_up(venv, index.url) == 0
    assert capfd.readouterr() == ("", "") and index.asked == []


@pytest.mark.parametrize(
    "listed, elsewhere",
    [
        ("", []),
        ("global.timeout='60'\nglobal.index-url='https://pypi.org/simple/'\n:env:.find-links=''\n", []),
        ("global.no-index='false'\nglobal.constraint='/somewhere/constraints.txt'\n", []),
        ("global.no-index='true'\ninstall.find-links='\\n/somewhere\\n/else'\n", ["find-links", "no-index"]),
        ("download.index-url='https://mirror.example/simple'\n", []),
        (":env:.index-url='https://mirror.example/simple'\n", ["index-url"]),
        (":env:.extra_index_url='https://more.example/simple'\n", ["extra-index-url"]),
    ],
)
def test_it_is_known_whether_pip_is_configured_to_look_elsewhere(listed: str, elsewhere: list[str]) -> None:
    assert environment.sources(environment.configured(listed)) == elsewhere


def test_an_index_is_asked_with_the_proxy_and_the_certificates_that_pip_is_configured_for(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nproxy = http://proxy.example\ncert = /global.pem\n[install]\ncert = /own.pem\nno-index = 1\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://more.example/simple")
    pip = environment.Pip(str(made))
    assert {"no-index", "extra-index-url"} <= set(environment.sources(pip.options))
    variables = pip.environment("https://index.example/simple")
    assert (variables["PIP_CERT"], variables["PIP_PROXY"]) == ("/own.pem", "http://proxy.example")
    assert (variables["PIP_CONFIG_FILE"], variables["PIP_INDEX_URL"]) == (
        os.devnull,
        "https://index.example/simple",
    )
    assert not variables.keys() & {"PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"}


def test_all_that_is_missing_is_reported_at_once_and_nothing_is_made(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: Usage(10**12, 0, 123 * 10**6))
    monkeypatch.setattr(environment, "missing", lambda: ["expected another Python"])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(environment.tempfile, "tempdir", None)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    assert setting_up(tmp_path / "venv", index.url) == 1
    needed = environment.CPU.beside(environment.RUN)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "protloc: expected another Python"
    places = f"{tmp_path / 'venv'}, {tmp_path / 'cache'}, {tmp_path}"
    assert (
        second
        == f"protloc: expected {needed.disk + 2 * needed.download:,} MB free for {places}, found 123 MB"
    )
    assert index.asked == [] and not (tmp_path / "venv").exists()


def test_cuda_is_not_downloaded_where_only_the_cpu_build_has_room(
    venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: Usage(10**12, 0, 5000 * 10**6))
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setattr(environment.Pip, "offered", lambda *_: "2.13.0")
    monkeypatch.setattr(environment, "missing", lambda: [])
    assert setting_up(venv, "") == 1
    assert installed(venv) == []
    out, err = capsys.readouterr()
    assert "To download: PyTorch 2.13.0 with CUDA, 2,900 MB" in out and "found 5,000 MB" in err
