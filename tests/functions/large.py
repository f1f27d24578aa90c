"""One function over one large upload, in a process of its own, and how much memory that took.

    python -m tests.functions.large split 5000000000 [--every 1]    every n-th shard of a plain file
    python -m tests.functions.large inflate 5000000000              a gzip of so many bytes of text
    python -m tests.functions.large complete 50000000 --shard-bytes 50000000
    python -m tests.functions.large record 100000000                one record of about so many bytes
    python -m tests.functions.large empty 1000000                   records of two bytes

The handlers, the clients' libraries and `Storage` are the real ones; below them S3 serves ranges of a text
that repeats itself, and forgets written objects, but for result parts, which lie in a temporary folder. The
last line is one JSON object.
"""

import argparse
import gzip
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import functions.complete
import functions.split
from functions.domain.prediction import Prediction
from functions.domain.protein import Protein
from functions.domain.rows import predicted_row
from functions.domain.upload import Counts, Source, plan_shards
from functions.domain.upload_record import Marker, ShardRecord, UploadRecord
from functions.services import services
from functions.services.batch_end import record_rows
from functions.services.s3 import Storage

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "RESULTS_BUCKET": "results",
    "UPLOADS_TABLE": "uploads",
    "PREDICTIONS_TABLE": "predictions",
    "ANSWERS_TABLE": "answers",
    "MODELS_TABLE": "models",
    "STACK": "stack",
}
UPLOAD = "upload"


def block() -> bytes:
    """About a mebibyte of an ordinary proteome, with a record in it that is rejected."""
    draw = random.Random(1)
    records = [b">odd\nMK1V\n"]
    for number in range(2_400):
        sequence = "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=int(draw.lognormvariate(5.7, 0.6)) + 1))
        header = f">sp|P{number:05d}|X_HUMAN A protein of some kind OS=Homo sapiens OX=9606 GN=ABC PE=1 SV=1"
        lines = "\n".join(sequence[at : at + 60] for at in range(0, len(sequence), 60))
        records.append(f"{header}\n{lines}\n".encode())
    return b"".join(records)


class RepeatingS3:
    """An S3 client whose uploads repeat a block of bytes, and which keeps nothing but result parts."""

    def __init__(self, repeated: bytes, size: int, folder: Path, beginning: bytes = b"") -> None:
        self.repeated, self.length, self.folder = repeated, size, folder
        self.beginning = beginning  # stands in place of the first bytes
        self.written = 0

    def head_object(self, **_: Any) -> dict[str, int]:
        return {"ContentLength": self.length}

    def get_object(self, *, Key: str, Range: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        if Key.startswith("parts/"):
            return {"Body": (self.folder / Key.replace("/", "_")).open("rb")}
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        start = first % len(self.repeated)
        times = (start + last - first) // len(self.repeated) + 1
        body = (self.repeated * times)[start : start + last + 1 - first]
        if first < len(self.beginning):
            body = self.beginning[first:] + body[len(self.beginning) - first :]
        return {"Body": io.BytesIO(body)}

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:  # noqa: N803
        if Key.startswith("parts/"):
            (self.folder / Key.replace("/", "_")).write_bytes(Body)
        else:
            self.written += len(Body)

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        return {"UploadId": "one"}

    def upload_part(self, *, Body: bytes, **_: Any) -> dict[str, str]:  # noqa: N803
        self.written += len(Body)
        return {"ETag": "one"}

    def complete_multipart_upload(self, **_: Any) -> None:
        pass


class Tables:
    """An uploads table of one upload for the handlers; markers lie in a file a shard."""

    def __init__(self, upload: UploadRecord, folder: Path) -> None:
        self.upload, self.folder = upload, folder
        self.markers: dict[int, Any] = {}

    def get(self, _upload: str) -> UploadRecord:
        return self.upload

    def plan(
        self, upload: str, text: Any, size: int, shard_bytes: int, damage: str, left_out: str
    ) -> list[Any]:
        assert not damage and not left_out
        return plan_shards(upload, text, size, shard_bytes)

    def record_batch(self, _upload: str, _shard: int, batch: int, counts: Counts, first: int) -> None:
        self.markers[batch] = counts._asdict() | {"first": first}

    def record_split(
        self, shard: Any, batches: int, lines: int, records: int, _residues: int, _left_out: Any = None
    ) -> None:
        self._file(shard.number).write_text(json.dumps(self.markers))
        self.markers = {}
        split = {"batches": batches, "lines": lines, "records": records}
        with (self.folder / "shards.jsonl").open("a") as file:
            file.write(json.dumps([shard.number, split]) + "\n")

    def settle_shard(self, upload: str, shard: int) -> dict[int, Marker]:
        return self.done_batches(upload, shard)

    def done_batches(self, _upload: str, shard: int) -> dict[int, Marker]:
        file = self._file(shard)
        markers = json.loads(file.read_text()) if file.exists() else {}
        return {int(batch): Marker.from_row(marker) for batch, marker in markers.items()}

    def shards(self, _upload: str) -> dict[int, ShardRecord]:
        file = self.folder / "shards.jsonl"
        lines = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        return {number: ShardRecord.from_row(number, row) for number, row in lines}

    def result_batches(self, upload: str, shard: int) -> dict[int, Marker]:
        return self.done_batches(upload, shard)

    def is_in_work(self, _upload: UploadRecord, _shard: int) -> bool:
        return True

    def begun_shards(self, upload: UploadRecord) -> dict[int, ShardRecord]:
        return self.shards(upload.upload_id)

    def counts(self, upload: str, _shards: dict[int, Any]) -> Counts:
        records = sum(shard.records for shard in self.shards(upload).values())
        return Counts(records, records)

    def finish(self, _upload: str, _attempt: int, ending: Any) -> None:
        assert ending.status == "complete", ending
        self.upload = replace(self.upload, status=ending.status, announced=True)

    def _file(self, shard: int) -> Path:
        return self.folder / f"markers-{shard}.json"


class Sent:
    """A queue that counts, and answers every batch at once where the parts are wanted."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0
        self.answered: Any = None

    def send(self, message: dict[str, Any], _delay: int = 0) -> None:
        self.messages += 1
        self.bytes = max(self.bytes, len(json.dumps(message, separators=(",", ":"))))
        if self.answered:
            self.answered(message)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["split", "inflate", "complete", "parts", "record", "empty"])
    parser.add_argument("size", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--shard-bytes", type=int, default=4 * 1024 * 1024)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    os.environ.update(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        options.folder = options.folder or Path(folder)
        if options.what == "complete":  # the parts are made elsewhere, as that is not measured
            arguments = [
                str(options.size),
                "--shard-bytes",
                str(options.shard_bytes),
                "--folder",
                str(options.folder),
            ]
            subprocess.run([sys.executable, "-m", "tests.functions.large", "parts", *arguments], check=True)
        print(json.dumps({"what": options.what, "bytes": options.size, **run(options)}))


def run(options: argparse.Namespace) -> dict[str, Any]:
    text = {"record": b"M" * 59 + b"\n", "empty": b">\n"}.get(options.what) or block()
    repeated = gzip.compress(text, 1) if options.what == "inflate" else text
    size = -(-options.size // len(text)) * len(repeated) if options.what == "inflate" else options.size
    source = Source("uploads", "large.fasta", "null")
    upload = UploadRecord(UPLOAD, source, size, "m-1", "2026-11-24T00:00:00Z", 0, False)
    shards = plan_shards(UPLOAD, source, size, options.shard_bytes)
    if options.what == "complete":
        upload = replace(upload, status="finishing", shards=len(shards))
    s3, sent, again = (
        RepeatingS3(repeated, size, options.folder, b">one" if options.what == "record" else b""),
        Sent(),
        Sent(),
    )
    tables = Tables(upload, options.folder)
    aws = replace(
        services(),
        uploads=tables,  # type: ignore[arg-type]
        models=SimpleNamespace(get=lambda _version: None),  # type: ignore[arg-type]
        storage=Storage(s3, "results"),  # type: ignore[arg-type]
        shards_queue=again,  # type: ignore[arg-type]
        batches_queue=sent,  # type: ignore[arg-type]
    )
    # Five gigabytes of proteins of ordinary length are more records than an upload may hold.
    aws = replace(aws, settings=replace(aws.settings, parts_ahead=8, max_records=10**9))
    sent.answered = answering(upload, aws) if options.what == "parts" else None
    began, processor_began = time.monotonic(), time.process_time()
    if options.what == "complete":
        functions.complete.complete(UPLOAD, aws)
    elif options.what == "inflate":
        functions.split.inflate(upload, aws)
    else:
        for shard in shards[:: options.every]:
            functions.split.split(shard, upload, aws)
    rejected = [file for file in options.folder.glob("parts_*") if options.what in ("record", "empty")]
    return {
        "reasons": sorted({json.loads(line)["reason"] for file in rejected for line in file.open("rb")}),
        "messages": sent.messages + again.messages,
        "longest_message": sent.bytes,
        "bytes_written": s3.written,
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - processor_began, 1),
        "peak_mib": peak_mib(),
    }


def peak_mib() -> int:
    """The most memory this process had; a resource usage would include the process it was forked from."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def answering(upload: Any, aws: Any) -> Any:
    """End a batch as `predict` does, without a model."""

    def rows(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for sent_protein in message["proteins"]:
            protein = Protein.from_message(sent_protein)
            answer = Prediction((0.91, *[0.01] * 9), 0.25, len(protein.sequence), False)
            yield predicted_row(protein, answer, upload)

    return lambda message: record_rows(upload, message["shard"], message["batch"], list(rows(message)), aws)


if __name__ == "__main__":
    main()
