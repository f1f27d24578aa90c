"""The machine dies in the middle: uploads in work are finished, with exact counts."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from model.serving import artifact
from tests.conftest import Embedded
from tests.waiting import Gate, until

RECORDS = 300
HELD = "MHELDHELDHELD"
# A model that answers all but one protein, and that one once the test lets it.
ENTRY_POINT = f"""
{Gate.source}
answer = predict_fn

def predict_fn(request, model):
    if {HELD!r} in request.sequences:
        pass_gate({{gate!r}})
    return answer(request, model)
"""


def test_an_upload_outlives_the_cloud_being_killed(
    start_embedded: Callable[..., Embedded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(tmp_path / "gate")
    monkeypatch.setattr(
        artifact, "ENTRY_POINT", artifact.ENTRY_POINT + ENTRY_POINT.format(gate=str(gate.path))
    )
    cloud = start_embedded()
    draw = random.Random(1)
    with open(tmp_path / "many.fasta", "w") as file:
        for number in range(RECORDS - 1):
            file.write(f">p{number}\n{''.join(draw.choices('ACDEFGHIKLMNPQRSTVWY', k=1500))}\n")
        file.write(f">p{RECORDS - 1}\n{HELD}\n")
    upload = cloud.answer("predict", "many.fasta", "--no-wait")["upload"]

    def begun() -> bool:
        view = cloud.client.find_upload(upload)
        return bool(view and view["records"] and gate.reached)

    until(begun, lambda: cloud.client.find_upload(upload))
    assert 0 < cloud.client.upload(upload)["records"] < RECORDS
    os.kill(cloud.answer("status")["pid"], signal.SIGKILL)
    assert cloud.protloc("show", upload).exit_code == 3
    gate.open()
    assert cloud.protloc("up").exit_code == 0
    answer = cloud.answer("results", upload, "--wait", "--timeout", "10m")
    assert (answer["status"], answer["records"], answer["failed"]) == ("complete", RECORDS, 0)
    assert [row["accession"] for row in cloud.rows(upload)] == [f"p{number}" for number in range(RECORDS)]
