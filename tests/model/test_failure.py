"""What ends a training job is told where SageMaker looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.failure import failure_file, told


def test_the_failure_is_beside_the_output_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SM_OUTPUT_DIR", raising=False)
    monkeypatch.delenv("SM_OUTPUT_DATA_DIR", raising=False)
    assert failure_file() is None
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", "/opt/ml/output/data")
    assert failure_file() == Path("/opt/ml/output/failure")
    monkeypatch.setenv("SM_OUTPUT_DIR", "/opt/ml/out")
    assert failure_file() == Path("/opt/ml/out/failure")


def test_an_expected_error_ends_the_program_with_its_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path / "output"))
    with pytest.raises(SystemExit, match="error: expected more"), told(ValueError):
        raise ValueError("expected more" + "." * 2000)
    assert (tmp_path / "output" / "failure").read_text().startswith("expected more.")
    assert len((tmp_path / "output" / "failure").read_text()) == 1024


def test_any_other_error_is_told_by_its_kind_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    with pytest.raises(KeyError), told(ValueError):
        raise KeyError("name")
    assert (tmp_path / "failure").read_text() == "KeyError: 'name'"


def test_what_ends_well_leaves_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    with told(ValueError):
        pass
    assert not list(tmp_path.iterdir())
