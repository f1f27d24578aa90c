"""One upload of every hostile header, carried through every function once; the tests look at the results."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "protloc")  # read when a handler is imported

import functions.complete
import functions.predict
import functions.query
import functions.receive
import functions.split
import functions.sweep
from functions.domain.rows import Row
from functions.domain.upload import upload_id
from protloc.cli.results import FORMAT_NAMES, write_rows
from tests.functions.test_events import Context, golden, sqs_event
from tests.functions.test_query import get, walk
from tests.functions.world import World, world
from tests.hostile.corpus import FILE_NAMES, HEADERS

HANDLERS = (
    functions.receive,
    functions.split,
    functions.predict,
    functions.complete,
    functions.query,
    functions.sweep,
)
ACCEPTED, REFUSED = "MKVLAAGIVG", "MK1VLAAGIVG"
"""Two records bear each header: one is predicted, one is rejected. Their numbers make their sequences distinct."""


def numbered(number: int) -> str:
    """A number as residues."""
    return "".join("ACDEFGHIKL"[int(digit)] for digit in f"{number:04d}")


def hostile_fasta() -> bytes:
    """Every header twice, behind a long record."""
    records = [b">first\n" + b"A" * 70_000]
    for number, header in enumerate(HEADERS.values()):
        for sequence in (ACCEPTED, REFUSED):
            records.append(b">%b\n%b%b" % (header, sequence.encode(), numbered(number).encode()))
    return b"\n".join(records) + b"\n"


@dataclass(frozen=True)
class Carried:
    """The outcome of the hostile upload."""

    identity: str
    files: dict[str, Path]  # its results in every format
    listed: list[Row]  # its rows from the API
    asked: dict[str, tuple[int, Any]]  # the API's answer for the accession of each header, by name
    view: dict[str, Any]
    manifest: bytes
    log: str


@contextmanager
def heard() -> Iterator[io.StringIO]:
    """The functions' log, as CloudWatch would get it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = functions.receive.logger  # one for all modules of a process
    handler.setFormatter(logger.registered_formatter)
    logger.addHandler(handler)
    try:
        yield text
    finally:
        logger.removeHandler(handler)


@contextmanager
def hostile_world() -> Iterator[World]:
    """A stack that the handlers work on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        with world(shard_bytes=64 * 1024) as made:
            made.activate()
            for module in HANDLERS:
                patch.setattr(module, "services", lambda: made.aws)
            yield made


def drive(made: World, event: dict[str, Any]) -> str:
    """Everything that follows from an upload, through the handlers themselves; return the upload's id."""
    aws = made.aws
    deliver(functions.receive.handler, "uploads", event)
    for _ in range(2):  # the second time, the shards that a decompression sent
        for message in made.take(aws.shards_queue):
            deliver(functions.split.handler, "shards", message)
    for message in made.take(aws.batches_queue):
        deliver(functions.predict.handler, "batches", message)
    detail = event["detail"]
    identity = upload_id(detail["bucket"]["name"], detail["object"]["key"], detail["object"]["version-id"])
    if made.status(identity) == "finishing":
        finishing = golden("finishing-stream-event")
        finishing["Records"][0]["dynamodb"]["Keys"]["pk"]["S"] = identity
        assert functions.complete.handler(finishing, Context()) == {"batchItemFailures": []}
    return identity


def deliver(handler: Callable[..., Any], queue: str, message: dict[str, Any]) -> None:
    assert handler(sqs_event(queue, message), Context()) == {"batchItemFailures": []}


@pytest.fixture(scope="session")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    folder = tmp_path_factory.mktemp("hostile")
    files = {name: folder / f"results.{name}" for name in FORMAT_NAMES}
    with hostile_world() as made, heard() as log:
        identity = drive(made, made.upload(hostile_fasta(), key="".join(FILE_NAMES)))
        for name in ("tsv", "jsonl"):
            files[name].write_bytes(made.aws.storage.get(f"results/{identity}/results.{name}"))
        with files["jsonl"].open("rb") as lines:
            rows = [json.loads(line) for line in lines]
        files["spreadsheet"] = folder / "results.spreadsheet.tsv"
        for name in ("csv", "parquet", "spreadsheet"):
            write_rows(rows, name, files[name])
        return Carried(
            identity=identity,
            files=files,
            listed=walk(f"/uploads/{identity}/predictions", "predictions"),
            asked={
                name: get(f"/proteins/{quote(row['accession'], safe='')}")[:2]
                for name, row in zip(HEADERS, rows[1::2], strict=True)
            },
            view=get(f"/uploads/{identity}")[1],
            manifest=made.aws.storage.get(f"results/{identity}/manifest.json"),
            log=log.getvalue(),
        )
