"""Memory of the embedded cloud's process with the rows of many proteins, against with those of a tenth.

Items that a real upload left in the stack's tables are written again under other keys, as fast as they go.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cloud import PREFIX, _send, _wait
from benchmarks.harness import Row
from functions.services.predictions_table import _partition
from protloc.cloud import connection, lifecycle
from protloc.embedded import ready
from protloc.stack.client import Client

FEW, MANY, EACH, SHARD = 6_000, 64_000, 25, 10_000
REST_SECONDS = 3.0  # until what was written last is saved, and on disk


def run(_rounds: int) -> Iterator[Row]:
    """The row of the emulator. The cloud is taken down afterwards."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        try:
            yield _measure(ready(folder / "home", lambda _: None), folder)
        finally:
            lifecycle.down(folder / "home", erase=True)


def _measure(client: Client, folder: Path) -> Row:
    upload = _send(client, folder, 10, 1)
    _wait(client, upload)
    cloud = connection.find(folder / "home")
    assert cloud is not None
    process = psutil.Process(cloud.pid)
    database = client.client("dynamodb")
    names = {table: client.outputs[table] for table in ("PredictionsTable", "AnswersTable")}
    items = {table: database.scan(TableName=name)["Items"][0] for table, name in names.items()}
    megabytes = {}
    for number in range(0, MANY, EACH):
        for table, name in names.items():
            written = [items[table] | _keys(table, upload, each) for each in range(number, number + EACH)]
            database.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": i}} for i in written]})
        if number + EACH in (FEW, MANY):
            time.sleep(REST_SECONDS)
            megabytes[number + EACH] = process.memory_info().rss / 1e6
    detail: dict[str, Any] = {f"{count}_mb": round(size) for count, size in megabytes.items()}
    against = f"with the rows of {FEW:,} proteins"
    ratio = megabytes[MANY] / megabytes[FEW]
    return Row("emulator-memory", ratio, "×", 1.3, against, 1, higher_is_better=False, detail=detail)


def _keys(table: str, upload: str, number: int) -> dict[str, Any]:
    if table == "AnswersTable":
        return {"pk": {"S": f"{number:064x}"}}
    return {
        "pk": {"S": _partition(upload, number // SHARD)},
        "sk": {"S": f"{number:015d}"},
        "accession": {"S": f"A{number}"},
    }
