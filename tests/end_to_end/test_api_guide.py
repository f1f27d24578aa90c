"""The commands of docs/api.md, as they stand there, on the embedded cloud."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLE, Embedded


def block(language: str) -> str:
    """The one example of the guide in a language."""
    [text] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    return str(text)


@pytest.fixture
def surroundings(embedded: Embedded, tmp_path: Path) -> dict[str, str]:
    """The variables of a shell after `eval "$(protloc env)"`, in a folder with a file to send."""
    shutil.copy(SAMPLE, tmp_path / "proteome.fasta")
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "API": embedded.client.api_url,
        **embedded.answer("env"),
    }


def run(command: list[str], surroundings: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=surroundings, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_curl_sends_a_file_and_gets_its_answers(surroundings: dict[str, str], tmp_path: Path) -> None:
    printed = run(["bash", "-e", "-c", block("sh")], surroundings, tmp_path)
    assert printed.splitlines()[0].split("\t") == ["accession", "confidence"]
    assert len((tmp_path / "results.tsv").read_text().splitlines()) == 48


def test_python_sends_a_file_and_gets_its_answers(surroundings: dict[str, str], tmp_path: Path) -> None:
    printed = run([sys.executable, "-c", block("python")], surroundings, tmp_path)
    assert printed.split() == ["complete", "47", "46", "47"]
