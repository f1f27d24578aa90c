"""docs/architecture.md names the files that an upload and a training enter, in their order."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house import ROOT


def documented(title: str, package: str) -> list[str]:
    """The files in the first block under a title, each line of which begins with its step."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.partition(f"\n## {title}\n")[2].partition("```text\n")[2].partition("```")[0]
    words = [word for line in block.splitlines() for word in line.partition(":")[2].split()]
    return [f"{package}.{word.replace('/', '.')}" for word in words]


@pytest.mark.parametrize(
    ("name", "title", "package"),
    [
        ("upload", "One upload", "functions"),
        pytest.param("training", "One training", "model", marks=pytest.mark.slow),
    ],
)
def test_the_documented_walk_is_the_one_that_is_taken(name: str, title: str, package: str) -> None:
    # In a process of its own, where nothing was called before and is remembered.
    command = [sys.executable, "-m", "tests.walks", name]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (entered,) = [line.split()[1:] for line in printed.splitlines() if line.startswith("entered:")]
    assert documented(title, package) == entered
