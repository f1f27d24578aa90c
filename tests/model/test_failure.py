"""A job that fails says why where SageMaker looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import failure
from model.failure import failures_reported
from model.proteins.labelled import LabelError


def fail(error: BaseException) -> SystemExit:
    with pytest.raises(SystemExit) as ended, failures_reported():
        raise error
    return ended.value


def test_wrong_data_is_the_reason_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path / "output"))
    reason = "labels.tsv line 3: expected membrane M, S, U or nothing, found 'Q'"
    assert fail(LabelError(reason)).code == reason, "which Python prints, and ends with status 1"
    assert (tmp_path / "output" / "failure").read_text() == reason
    assert "Traceback" not in capsys.readouterr().err


def test_a_mistake_in_the_program_is_reported_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    assert fail(KeyError("x" * 2000)).code == 1
    message = (tmp_path / "failure").read_text()
    assert message.startswith("KeyError: 'xxx") and len(message) == 1024
    assert "Traceback" in capsys.readouterr().err
    fail(ValueError("of another process"))
    assert (tmp_path / "failure").read_text() == message, "the first reason stays"


def test_outside_a_container_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SM_OUTPUT_DIR", raising=False)
    monkeypatch.setattr(failure, "OUTPUT", tmp_path / "none")
    fail(ValueError("expected more"))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(failure, "OUTPUT", tmp_path)
    fail(ValueError("expected more"))
    assert (tmp_path / "failure").read_text() == "expected more"


def test_what_is_no_failure_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    assert fail(SystemExit(143)).code == 143  # stopped, to go on later
    with failures_reported():
        pass
    assert not list(tmp_path.iterdir())
