"""The text of progress, without a cloud."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protloc.cli.progress import Estimate, PlainProgress, stage
from protloc.safe import safe
from protloc.stack.client import upload_key


def view(status: str = "running", **progress: int) -> dict[str, Any]:
    counts = {"shards": 2, "shards_split": 1, "batches": 4, "batches_done": 1, "records_found": 10}
    return {
        "status": status,
        "reason": None,
        "records": 3,
        "residues": 300,
        "progress": {**counts, "residues_found": 1000, **progress},
    }


def test_an_upload_passes_through_the_phases_in_order() -> None:
    phases = [
        stage(None),
        stage(view("receiving", shards=0)),
        stage(view(shards_split=0)),
        stage(view()),
        stage(view(shards_split=2, batches_done=4)),
    ]
    names = ["waiting to be picked up", "receiving", "splitting", "predicting", "finishing"]
    assert [each.phase for each in phases] == names


def test_what_is_not_split_yet_is_guessed_from_what_is() -> None:
    now = stage(view())
    assert (now.done, now.total) == (300, 2000)
    assert "3 of about 20 records" in now.detail


def test_the_time_left_follows_from_the_speed_of_late() -> None:
    estimate = Estimate()
    assert estimate.seconds_left(0, 0, 1000) is None
    assert estimate.seconds_left(10, 100, 1000) == pytest.approx(90)
    assert estimate.seconds_left(100, 550, 1000) == pytest.approx(90)
    assert estimate.seconds_left(170, 1000, 1000) == 0


def test_plain_progress_is_a_line_a_phase_not_a_line_a_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([10.0, 10.1, 10.2, 14.0, 16.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    progress = PlainProgress()
    for _ in range(5):
        progress.working(view())
    assert len(capsys.readouterr().err.splitlines()) == 2


@given(st.text())
def test_shown_text_is_printable_and_harmless_text_is_itself(text: str) -> None:
    assert safe(text).isprintable()
    assert safe(text) == text or not text.isprintable()
    assert len(safe(text, 10)) <= 10


@given(st.text(min_size=1))
def test_a_key_is_one_name_below_two_folders_and_short_enough(name: str) -> None:
    key = upload_key(name)
    assert key.count("/") == 2 and key.isprintable()
    assert len(key.encode()) <= 1024
