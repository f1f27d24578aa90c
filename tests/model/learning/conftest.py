"""Labelled proteins, for every test of how a network learns."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.proteins.labelled import LabelledProtein, read_labelled
from tests.model.tiny import write_labelled


@pytest.fixture
def proteins(tmp_path: Path) -> list[LabelledProtein]:
    return read_labelled(write_labelled(tmp_path / "labelled.fasta", 40))
