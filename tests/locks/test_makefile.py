"""The Makefile's variables and its selection of tests are as documented."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.locks.test_locks import PROJECT, ROOT


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs make on a copy of the Makefile, so that no test can touch the environment it runs in."""
    (folder / "locks").mkdir()
    for name in ("Makefile", "pyproject.toml", "locks/environment.py", "locks/run.txt", "locks/develop.txt"):
        shutil.copy(ROOT / name, folder / name)
    clean = {name: value for name, value in os.environ.items() if name not in ("TORCH_INDEX", "MAKEFLAGS")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=clean | variables, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "arguments, variables, expected",
    [
        ([], {}, "--index 'https://download.pytorch.org/whl/cpu' \n"),
        (["TORCH_INDEX="], {}, "--index '' --chosen\n"),
        (["TORCH_INDEX=https://index.example"], {}, "--index 'https://index.example' --chosen\n"),
        ([], {"TORCH_INDEX": "https://index.example"}, "--index 'https://index.example' --chosen\n"),
    ],
)
def test_the_index_is_a_variable_of_make(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], expected: str
) -> None:
    done = make(tmp_path, "--dry-run", "run", *arguments, **variables)
    assert f"locks/environment.py .venv --torch torch==2.13.0 {expected}" in done.stdout, done.stderr


def test_a_missing_python_is_reported_in_one_line(tmp_path: Path) -> None:
    done = make(tmp_path, "run", "PYTHON=python3.99")
    first = done.stderr.splitlines()[0]
    assert first.startswith("protloc: expected Python 3.11 to 3.14 as 'python3.99', found none")
    assert done.returncode != 0 and not (tmp_path / ".venv").exists()


def test_make_test_all_leaves_out_only_what_needs_more_than_this_environment(tmp_path: Path) -> None:
    done = make(tmp_path, "--dry-run", "test-all")
    selection = re.search(r'-m "\((.*)\) and not \((.*)\)"', done.stdout)
    assert (
        selection and "pytest --numprocesses 3\n" in done.stdout
    )  # the selection of `make test` comes first
    included, excluded = (set(words.split(" or ")) for words in selection.groups())
    markers = dict(marker.split(": ", 1) for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"])
    assert included | excluded == set(markers) and not included & excluded
    assert {name for name, text in markers.items() if "needs" in text or "by hand" in text} == excluded
