"""Records a batch's outcome exactly once, even if a stalled worker wakes later.

The part in S3 is written once and is the truth: a second writer takes over the part that it finds. The rows
of the predictions table follow from the part, then the batch's marker, then everything that hangs on it.
"""

from collections import Counter

from functions.domain.rows import Row, dump_part, load_part
from functions.domain.upload import Counts, Upload, part_key
from functions.services import Services


def record_rows(upload: Upload, shard: int, batch: int, rows: list[Row], aws: Services) -> Counts:
    """End a batch with these rows, or with the rows it already ended with; return the counts."""
    key = part_key(upload.upload_id, shard, batch)
    body = dump_part(rows)
    stored = aws.storage.put_once(key, body)
    if stored != body:
        rows = load_part(stored)
    if upload.indexed:
        aws.predictions.put(upload.upload_id, shard, rows, upload.labels)
    counts = count_rows(rows)
    first = min(row["offset"] for row in rows)
    aws.uploads.record_batch(upload.upload_id, shard, batch, counts, first)
    return counts


def count_rows(rows: list[Row]) -> Counts:
    ends = Counter(row["status"] for row in rows)
    residues = sum(row["length"] for row in rows if row["status"] == "predicted")
    return Counts(len(rows), ends["predicted"], ends["rejected"], ends["failed"], residues)
