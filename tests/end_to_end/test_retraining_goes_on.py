"""A retraining whose cloud is stopped goes on with the next start, its training from the checkpoint it left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import model.source
from model.source import PACKAGE, archive
from protloc.embedded import running
from tests.cloud.sagemaker.test_checkpoints import with_file
from tests.conftest import Embedded
from tests.end_to_end.retraining import QUICK, lock, put_labels
from tests.end_to_end.retraining import model as version_of
from tests.waiting import Gate, until

pytestmark = pytest.mark.slow

# The training program, which waits with its first checkpoint until it is asked to end or the gate is open.
HELD = """
import os, runpy, signal, time
from model.learning.checkpoint import Checkpoints

write, asked = Checkpoints.write, []

def write_and_wait(self, *arguments):
    write(self, *arguments)
    heeded = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *about: (asked.append(about), heeded(*about)))
    open(os.path.join({gate!r} + ".reached", str(os.getpid())), "w").close()
    while not asked and not os.path.exists({gate!r}):
        time.sleep(0.01)
    signal.signal(signal.SIGTERM, heeded)

Checkpoints.write = write_and_wait
runpy.run_path(os.path.join("model", "real.py"), run_name="__main__")
"""


def held_program(gate: Gate) -> bytes:
    real = (PACKAGE / "train.py").read_text()
    return with_file(
        with_file(archive(), "model/real.py", real), "model/train.py", HELD.format(gate=str(gate.path))
    )


def test_a_retraining_goes_on_after_down_and_up_and_trains_no_epoch_twice(
    start_embedded: Callable[..., Embedded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, gate = start_embedded(), Gate(tmp_path / "gate")
    put_labels(cloud, tmp_path)
    program = held_program(gate)
    monkeypatch.setattr(model.source, "archive", lambda: program)
    settings = [f"--set={name}={'null' if value is None else value}" for name, value in QUICK.items()]
    result = cloud.protloc("retrain", "--no-wait", "--version", "mine-1", *settings)
    assert result.exit_code == 0, result.output
    until(lambda: gate.reached, lambda: version_of(cloud, "mine-1"))
    down = cloud.protloc("down", "--yes")
    assert down.exit_code == 0, down.output
    assert "a training is at work" in down.stderr and "goes on with the next `protloc up`" in down.stderr
    gate.open()
    up = cloud.protloc("up")
    assert up.exit_code == 0, up.output
    assert "mine-1 goes on" in up.stderr and "protloc retrain --follow" in up.stderr
    again = replace(cloud, client=running(cloud.home))
    followed = again.protloc("retrain", "--follow")
    assert followed.exit_code == 0 and "mine-1 is" in followed.stdout, followed.output
    assert version_of(again, "mine-1")["state"] in ("in_service", "rejected")
    assert lock(again) is None
    (log,) = (cloud.home / "sagemaker" / "training").glob("*-train/train.log")
    assert log.read_text().count(f"Epoch 1/{QUICK['epochs']} ") == 1
    assert log.read_text().count(f"Epoch {QUICK['epochs']}/{QUICK['epochs']} ") == 1
