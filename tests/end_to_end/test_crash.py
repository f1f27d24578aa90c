"""The machine dies in the middle: what was begun is finished, exactly."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Embedded

RECORDS = 300


def test_an_upload_outlives_the_cloud_being_killed(
    start_embedded: Callable[..., Embedded], tmp_path: Path
) -> None:
    cloud = start_embedded()
    draw = random.Random(1)
    with open(tmp_path / "many.fasta", "w") as file:
        for number in range(RECORDS):
            file.write(f">p{number}\n{''.join(draw.choices('ACDEFGHIKLMNPQRSTVWY', k=1500))}\n")
    upload = cloud.answer("predict", "many.fasta", "--no-wait")["upload"]
    for _ in range(600):
        view = cloud.client.find_upload(upload)
        if view and view["records"] > 0:
            break
        time.sleep(0.05)
    assert view and 0 < view["records"] < RECORDS, view
    os.kill(cloud.answer("status")["pid"], signal.SIGKILL)
    assert cloud.protloc("show", upload).exit_code == 3
    assert cloud.protloc("up").exit_code == 0
    answer = cloud.answer("results", upload, "--wait", "--timeout", "120s")
    assert (answer["status"], answer["records"], answer["failed"]) == ("complete", RECORDS, 0)
    assert [row["accession"] for row in cloud.rows(upload)] == [f"p{number}" for number in range(RECORDS)]
