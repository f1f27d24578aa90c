"""The names of tests are as pytest-xdist needs them: the same in every worker, and no two alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def collected(seed: int) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:randomly"]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-2000:]
    return [line for line in result.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_tests_have_names_of_their_own_that_another_process_gives_them_too() -> None:
    names = collected(1)
    assert len(names) == len(set(names)) > 1000
    assert names == collected(2)
