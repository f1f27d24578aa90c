"""predict: one batch becomes one call of the model, and its rows.

In: batch messages. Out: a result part, rows in the tables, the batch's marker; the shard and the upload are
counted in when theirs are all done. Sequences whose answer is known are not asked about. A batch nobody can
answer yet is sent again with a delay: an outage is a wait, never a failure. Of a cancelled upload nothing is
asked: its batches end with the answers that are known. A protein the model fails on is found by bisection and
fails alone. Proteins that a slow model cannot answer within the function's time are sent on, with the results
of the search until then.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.bisection import Bisection
from functions.domain.errors import EndpointUnavailable, OutOfTime
from functions.domain.prediction import Answer, Prediction
from functions.domain.protein import Protein
from functions.domain.rows import predicted_row
from functions.domain.upload import CANCELLED, Upload
from functions.services import Services, services
from functions.services.answers_table import ended_rows
from functions.services.batch_end import record_rows

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.SQS)

FIRST_WAIT_SECONDS = 10
WAKING_SECONDS, WAKING_WAITS = 60, 12
"""An endpoint that wakes takes minutes: for the first ten it is looked at every minute."""

MAX_WAIT_SECONDS = 300
"""Shorter waits make more messages of a batch: each delivery that repeats sends one more copy."""


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event=event, record_handler=_record, processor=processor, context=context)


def _record(record: SQSRecord, lambda_context: LambdaContext) -> None:
    aws = services()
    with aws.batches_queue.delivery(record) as message:
        predict(message, aws, lambda: lambda_context.get_remaining_time_in_millis() / 1_000)


def predict(message: dict[str, Any], aws: Services, seconds_left: Callable[[], float] = lambda: inf) -> None:
    """End a batch, or send it again for later where no model is there to answer, or no time to ask it."""
    upload_id, shard, batch = message["upload"], message["shard"], message["batch"]
    upload = aws.uploads.open_batch(upload_id, shard, batch)
    if upload is None:
        return
    proteins = [Protein.from_message(protein) for protein in message["proteins"]]
    if upload.cancelled:
        record_rows(upload, shard, batch, ended_rows(proteins, CANCELLED, upload, aws.answers), aws)
        return
    answers = _known_answers(proteins, upload, aws)
    if not _ask_model(proteins, answers, message, upload, aws, seconds_left):
        return
    rows = [predicted_row(protein, answers[protein.digest], upload) for protein in proteins]
    counts = record_rows(upload, shard, batch, rows, aws)
    metrics.add_metric("ProteinsPredicted", MetricUnit.Count, counts.predicted)
    metrics.add_metric("ProteinsFailed", MetricUnit.Count, counts.failed)
    logger.info(
        "batch predicted", extra={"upload": upload_id, "shard": shard, "batch": batch, **counts._asdict()}
    )


def _known_answers(proteins: list[Protein], upload: Upload, aws: Services) -> dict[str, Answer]:
    """Look up earlier answers of this model version for these sequences, by digest."""
    digests = {protein.digest for protein in proteins}
    return dict(aws.answers.find(digests, upload.model_version, upload.labels.names))


def _ask_model(
    proteins: list[Protein],
    answers: dict[str, Answer],
    message: dict[str, Any],
    upload: Upload,
    aws: Services,
    seconds_left: Callable[[], float],
) -> bool:
    """Add the answers for all other sequences, each asked about once; False where the batch has to wait."""
    unknown = {p.digest: p.sequence for p in proteins if p.digest not in answers}
    if not unknown:
        return True
    logger.info("asking the model", extra={"upload": upload.upload_id, "sequences": len(unknown)})
    metrics.add_metric("SequencesAsked", MetricUnit.Count, len(unknown))
    ask = aws.endpoint.asking(
        component=aws.settings.component(upload.model_version),
        model_version=upload.model_version,
        seconds_left=seconds_left,
        labels=upload.labels,
    )
    bisection = Bisection(ask, unknown, message.get("progress"))
    keep = True  # answers got before the batch has to wait are not asked for again
    try:
        answers |= bisection.answers()
        keep = upload.size <= aws.settings.answers_bytes
    except EndpointUnavailable as error:
        waits = 0 if bisection.has_replied else message["waits"] + 1
        _wait(message | {"waits": waits, "progress": bisection.progress}, error, aws)
        return False
    finally:
        if keep:
            predictions = {
                digest: answer
                for digest, answer in bisection.answered.items()
                if isinstance(answer, Prediction)
            }
            aws.answers.remember(predictions, upload.model_version)
    return True


def wait_seconds(waits: int) -> int:
    """Seconds until a batch is tried again that waits for the so-manyth time.

    >>> [wait_seconds(waits) for waits in (1, 2, 3, 4, 12, 13)]
    [10, 20, 40, 60, 60, 300]
    """
    if waits > WAKING_WAITS:
        return MAX_WAIT_SECONDS
    return int(min(FIRST_WAIT_SECONDS * 2 ** (waits - 1), WAKING_SECONDS))


def _wait(message: dict[str, Any], error: EndpointUnavailable, aws: Services) -> None:
    """Send the batch again for later: a copy, since failed deliveries are counted and waits are not."""
    delay = wait_seconds(max(message["waits"], 1))
    aws.batches_queue.send(message, delay)
    logger.warning("the batch waits", extra={"upload": message["upload"], "why": str(error), "delay": delay})
    metric = "BatchesContinued" if isinstance(error, OutOfTime) else "EndpointWaits"
    metrics.add_metric(metric, MetricUnit.Count, 1)
