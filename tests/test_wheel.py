"""A wheel has everything in it: installed anywhere, it predicts from an empty folder."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLE, from_tsv

NEEDED = (
    "protloc/template.yaml",
    "model/retrain.asl.yaml",
    "model/requirements-training.txt",
    "model/serving/requirements.txt",
    "functions/domain/genera.txt",
)

PREDICTION_SECONDS = 900  # generous: of a program that would wait for ever for what it lacks


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools builds into the folder of its sources
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if name.startswith(("tests/", "docs/", "benchmarks/")) or not (ROOT / name).exists():
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(ROOT / name, source / name)
    words = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        folder,
        source,
    ]
    subprocess.run([sys.executable, "-m", "pip", *map(str, words)], check=True)
    (built,) = folder.glob("protloc-*.whl")
    return built


@pytest.mark.slow
def test_a_wheel_holds_what_the_program_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    page = {f"functions/page/{name.relative_to(ROOT / 'functions' / 'page')}" for name in page_files()}
    model = {
        f"model/default/{path.name}" for path in (ROOT / "model" / "default").iterdir() if path.is_file()
    }
    assert {*NEEDED, *page, *model} - names == set()
    assert not {name for name in names if name.startswith("tests")}


def test_every_file_of_the_page_is_named_as_data_of_its_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["functions.page"]
    folder = ROOT / "functions" / "page"
    packed = {path for pattern in patterns for path in folder.glob(pattern)}
    assert set(page_files()) - packed == set()


def page_files() -> list[Path]:
    folder = ROOT / "functions" / "page"
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]


@pytest.mark.slow
def test_an_installed_wheel_predicts_from_an_empty_folder_and_keeps_its_state_where_programs_do(
    wheel: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", own], check=True)
    (packages,) = own.glob("lib/python3*/site-packages")
    # protloc's requirements are there already; the .pth file of this environment's own protloc is not read.
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = ["--python", own, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel]
    subprocess.run([sys.executable, "-m", "pip", *map(str, install)], check=True)
    empty, home = tmp_path / "empty", tmp_path / "user"
    empty.mkdir()
    home.mkdir()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PROTLOC", "XDG"))
    }
    environment = kept | {"HOME": str(home), "PROTLOC_CLOUD_OWNER": str(os.getpid())}

    def protloc(*words: object) -> str:
        command = [str(own / "bin" / "protloc"), *map(str, words)]
        done = subprocess.run(
            command, cwd=empty, env=environment, capture_output=True, text=True, timeout=PREDICTION_SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        answer = json.loads(protloc("predict", SAMPLE, "--json"))
        assert (answer["status"], answer["predicted"]) == ("complete", 46)
        assert len(from_tsv((empty / answer["output"]).read_text())) == 47
        assert [path.name for path in empty.iterdir()] == [answer["output"]]
        state = home / ".local" / "state" / "protloc"
        if sys.platform == "darwin":
            state = home / "Library" / "Application Support" / "protloc"
        assert json.loads(protloc("status", "--json"))["home"] == str(state)
        page = protloc("report", answer["upload"], "-o", "-")
        assert page.startswith("<!doctype html>")
    finally:
        protloc("down", "--erase", "--yes")
