"""split: one shard becomes batches; one compressed upload becomes a text that can be cut into shards.

In: shard messages. Out: a message for every batch of proteins that is not done yet, and the shard's
rejections, which need no model and end here. The batches of a shard are a pure function of the text and the
settings that the upload was received under: a second delivery makes the same ones. A shard of a later attempt
holds only the records that failed in the attempts before; these have ended, so that is a pure function too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.archives import Seekable
from functions.domain.errors import InputError
from functions.domain.fasta import LineCount, Record, lookback, read_records
from functions.domain.formats import require_fasta
from functions.domain.packing import Batch, pack
from functions.domain.protein import Protein, Rejection, read_protein
from functions.domain.rows import load_part, rejected_row
from functions.domain.text import Inflater
from functions.domain.upload import (
    CANCELLED,
    Inflate,
    Shard,
    Source,
    Upload,
    attempt_of,
    earlier_shards,
    part_key,
    read_task,
    require_records,
    text_key,
)
from functions.domain.upload_record import UploadRecord, records_read
from functions.services import Services, services
from functions.services.answers_table import ended_rows
from functions.services.batch_end import record_rows
from functions.services.settings import MIB

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.SQS)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event=event, record_handler=_record, processor=processor, context=context)


def _record(record: SQSRecord) -> None:
    aws = services()
    with aws.shards_queue.delivery(record) as message:
        task = read_task(message)
        upload = aws.uploads.get(task.upload_id)
        if isinstance(task, Inflate):
            inflate(upload, aws)
        else:
            split_or_abandon(task, upload, aws)


def inflate(upload: UploadRecord, aws: Services) -> None:
    """Decompress an upload into a text of its own, unless that is done, and send the text's shards."""
    if upload.status not in ("receiving", "running"):
        return
    text = Source(aws.storage.bucket, text_key(upload.upload_id), "null")
    shards = upload.planned_shards()
    if not shards or aws.storage.is_gone(text):  # it expires, and a retry may come after
        try:
            inflater = _inflate(upload, text, aws)
        except InputError as error:
            aws.uploads.refuse(upload.upload_id, str(error))
        else:
            shards = aws.uploads.plan(
                upload.upload_id,
                text,
                inflater.size,
                aws.settings.shard_bytes,
                inflater.damage,
                _summary(inflater.left_out),
            )
    for shard in shards:
        aws.shards_queue.send(shard.as_message())


def _inflate(upload: Upload, text: Source, aws: Services) -> Inflater:
    """Write the text. Raises InputError where there is none, or too much of it."""
    inflater = Inflater(aws.settings.max_upload_mib * MIB)
    aws.storage.size(upload.source)
    whole = Seekable(lambda start, end: b"".join(aws.storage.read(upload.source, start, end)), upload.size)
    chunks = aws.storage.read(upload.source, 0, upload.size)
    aws.storage.write(text.key, _checked(inflater.text(chunks, whole)))
    require_fasta(b"", whole=not inflater.size and not inflater.damage)
    if not inflater.size:
        raise InputError(inflater.damage)
    logger.info("upload inflated", extra={"upload": upload.upload_id, "bytes": inflater.size})
    return inflater


def _summary(left_out: list[str]) -> str:
    """Name the files of an archive that were not read, in one line of bounded length."""
    if not left_out:
        return ""
    more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return f"left out of the archive: {', '.join(name[:100] for name in left_out[:3])}{more}"


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, unless the first one shows that this is no FASTA."""
    for index, piece in enumerate(pieces):
        if index == 0:
            require_fasta(piece, whole=False)
        yield piece


def split_or_abandon(shard: Shard, upload: UploadRecord, aws: Services) -> None:
    """Split a shard; where its text is gone, end it with the batches done before, and say so.

    The rest of a cancelled upload is given up.
    """
    if upload.cancelled:
        shard = replace(shard, give_up=CANCELLED)
    try:
        split(shard, upload, aws)
    except InputError as error:
        aws.uploads.abandon_shard(shard, str(error))


def split(shard: Shard, upload: UploadRecord, aws: Services) -> None:
    """Send the batches of a shard that are not done, and record their number.

    Raises InputError where the upload is known to hold too many records: `complete` will fail it as a whole,
    and nothing more of it is worth asking about.
    """
    if not aws.uploads.is_in_work(upload, shard.number):
        aws.uploads.close_shard(upload.upload_id, shard.number)  # its closer may have died on the way
        return
    if shard.end > 2 * aws.settings.max_records:  # a shorter text cannot hold as many
        require_records(records_read(aws.uploads.shards(shard.upload_id)), aws.settings.max_records)
    done = aws.uploads.settle_shard(upload.upload_id, shard.number)
    lines = LineCount()
    batches = records = residues = 0
    for batch in pack(_judged(shard, lines, aws), upload.packing or aws.settings.packing):
        batches += 1
        records += len(batch.proteins) + len(batch.rejections)
        residues += sum(len(protein.sequence) for protein in batch.proteins)
        if batch.number in done:
            continue
        if batch.rejections or shard.give_up:
            _end_here(batch, shard, upload, aws)
        else:
            aws.batches_queue.send(batch_message(batch, shard, upload))
    aws.uploads.record_split(shard, batches, lines.lines, records, residues, lines.left_out)
    logger.info(
        "shard split",
        extra={"upload": upload.upload_id, "shard": shard.number, "batches": batches, "records": records},
    )
    metrics.add_metric("RecordsRead", MetricUnit.Count, records)


def _judged(shard: Shard, lines: LineCount, aws: Services) -> Iterator[Protein | Rejection]:
    """The records of the shard in file order, read and judged: all, or in a retry those that failed."""
    if attempt_of(shard.number) == 1:
        return _read(shard, lines, aws)
    failed = _failed_before(shard, aws)
    return (record for record in _read(shard, lines, aws) if record.offset in failed) if failed else iter(())


def _failed_before(shard: Shard, aws: Services) -> set[int]:
    """The offsets of those records that have not got better than a failed row in any attempt before."""
    failed: set[int] = set()
    for number in earlier_shards(shard.number):
        for batch, marker in aws.uploads.result_batches(shard.upload_id, number).items():
            if attempt_of(number) == 1 and not marker.counts.failed:
                continue
            for row in load_part(aws.storage.get(part_key(shard.upload_id, number, batch))):
                if row["status"] == "failed":
                    failed.add(row["offset"])
                else:
                    failed.discard(row["offset"])
    return failed


def _read(shard: Shard, lines: LineCount, aws: Services) -> Iterator[Protein | Rejection]:
    size = aws.storage.size(shard.text)
    chunks = aws.storage.read(shard.text, lookback(shard.start), size)
    records = read_records(chunks, start=shard.start, end=shard.end, lines=lines)
    if shard.damage:
        return _with_damaged_end(records, shard.damage, lines, size)
    return map(read_protein, records)


def _with_damaged_end(
    records: Iterable[Record], damage: str, lines: LineCount, size: int
) -> Iterator[Protein | Rejection]:
    """Judge the records, but reject the one the text stops in, in whichever shard it begins."""
    for record in records:
        judged = read_protein(record)
        if lines.offset < size:
            yield judged
            continue
        reason = f"incomplete: {damage}"
        yield Rejection(judged.offset, judged.line, judged.accession, judged.header, record.length, reason)


def _end_here(batch: Batch, shard: Shard, upload: Upload, aws: Services) -> None:
    """End a batch without the model: its records are rejected, or given up where no answer is known."""
    rows = [rejected_row(rejection, upload.labels) for rejection in batch.rejections]
    if batch.proteins:
        rows += ended_rows(batch.proteins, shard.give_up, upload, aws.answers)
    record_rows(upload, shard.number, batch.number, rows, aws)


def batch_message(batch: Batch, shard: Shard, upload: Upload) -> dict[str, Any]:
    """The message that asks `predict` for a batch."""
    return {
        "upload": upload.upload_id,
        "shard": shard.number,
        "batch": batch.number,
        "waits": 0,
        "proteins": [protein.as_message() for protein in batch.proteins],
    }
