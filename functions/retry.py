"""retry: a finished upload is begun once more, for just those of its records that failed.

In: `PUT /uploads/{upload}/attempts/{attempt}` of the API, naming the number of the attempt, so that asking
twice begins one. Out: the upload is running again, and a message a shard; everything after goes its usual
way. Answered and rejected records stay as they are, and so does the model version.
"""

import re
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import InputError, ProtlocError
from functions.domain.upload import FINAL_STATUSES, MAX_ATTEMPTS, Source, attempts, planned_shards
from functions.http import answer, problem
from functions.services import Services, services
from functions.services.dynamodb import Item, now_seconds
from functions.services.models_table import GONE

logger = Logger()
metrics = Metrics()

MAX_NAME_CHARACTERS = 100  # DynamoDB refuses keys from 1,024 bytes on


class NothingToRetry(ProtlocError):
    """The upload is not at a point from which this attempt could begin."""


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    given = event["pathParameters"]
    try:
        item = retry(given["upload"], given["attempt"], services())
    except KeyError:
        return problem(HTTPStatus.NOT_FOUND, "There is no such upload.")
    except InputError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error))
    except NothingToRetry as error:
        return problem(HTTPStatus.CONFLICT, str(error))
    body = {"upload": item["pk"], "status": item["status"], "attempts": attempts(item)}
    place = event["requestContext"]["path"].rsplit("/", 2)[0]
    return answer(HTTPStatus.ACCEPTED, body, {"Location": place})


def retry(upload_id: str, attempt: str, aws: Services) -> Item:
    """Begin an attempt, unless it was begun before, and send its shards; return the upload as it is then.

    Raises KeyError where there is no such upload, InputError where `attempt` cannot be one, NothingToRetry
    where it is not the next one of an upload that ended with failed records.
    """
    if len(upload_id) > MAX_NAME_CHARACTERS:
        raise InputError(f"{len(upload_id):,} characters", expected="the name of an upload", where="upload")
    if not re.fullmatch("[0-9]{1,9}", attempt):
        raise InputError(repr(attempt)[:40], expected=f"a number from 2 to {MAX_ATTEMPTS}", where="attempt")
    _require_next(aws.uploads.item(upload_id), attempt, aws)
    if aws.uploads.retry(upload_id, int(attempt), now_seconds() + aws.settings.deadline_seconds):
        logger.info("upload retried", extra={"upload": upload_id, "attempt": attempt})
        metrics.add_metric("UploadsRetried", MetricUnit.Count, 1)
    item = aws.uploads.item(upload_id)
    if item["status"] == "running" and attempts(item) == int(attempt):
        _send_shards(item, aws)  # again too: whoever asked before may have died before sending
    return item


def _require_next(item: Item, attempt: str, aws: Services) -> None:
    begun = attempts(item)
    if not 2 <= int(attempt) <= MAX_ATTEMPTS:
        raise InputError(repr(attempt)[:40], expected=f"a number from 2 to {MAX_ATTEMPTS}", where="attempt")
    if int(attempt) <= begun:
        return
    if item["status"] not in FINAL_STATUSES:
        raise NothingToRetry("the upload is still in work; what fails can be retried when it has ended")
    if int(attempt) > begun + 1:
        raise NothingToRetry(f"expected {begun + 1} as the next attempt, found {int(attempt)}")
    if not item["failed"]:
        raise NothingToRetry("no record of the upload failed; there is nothing to retry")
    version = aws.models.get(item["model_version"])
    if version and version["state"] in GONE:
        raise NothingToRetry(
            f"model version {item['model_version']} is no longer there to ask; send the file again"
        )


def _send_shards(item: Item, aws: Services) -> None:
    if Source(**item["text"]) != Source(**item["source"]):  # the text may have expired
        aws.shards_queue.send({"upload": item["pk"], "inflate": True})
        return
    for shard in planned_shards(item):
        aws.shards_queue.send(shard.as_message())
