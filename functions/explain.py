"""explain: which residues of a protein the model's answer about it hangs on.

In: `GET /uploads/{upload}/predictions/{offset}/explanation` of the API. The record is read again from the
upload's text, at the byte where its row says that it begins, and the model version that the upload pinned is
asked. Its reply is kept with the answers, by sequence and version, and asked once. The text that was sent has
to be there still, and of a compressed upload the decompressed one, which is kept for some days.

A model that is scaled to zero, or busy, is not waited for: the answer is 503 with `Retry-After`, and the call
itself wakes it. Sequences are never logged.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import (
    BrokenContract,
    EndpointRefused,
    EndpointTimedOut,
    EndpointUnavailable,
    FileGone,
    InputError,
    Missing,
)
from functions.domain.explanation import Explanation, Unexplained, spread_out
from functions.domain.fasta import LineCount, lookback, read_records
from functions.domain.protein import Protein, read_protein
from functions.domain.upload_record import UploadRecord
from functions.http import REFUSED, answer, entity_tag, if_none_match, is_known, problem, refusal
from functions.parameters import MAX_NAME_CHARACTERS, know_only
from functions.services import Services, services
from functions.services.models_table import GONE

logger = Logger()

RETRY_SECONDS = 60
"""A model that wakes takes minutes, one that is busy seconds; see also `predict.WAKING_SECONDS`."""

NOT_THERE = (
    "The model is not there to ask at the moment. It may be waking up, which takes minutes; try again."
)
NO_RECORD = "No record of this upload begins at this byte."
TOO_LONG = "The model took too long to explain this protein; try again when it has less to do."


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    parameters = event["pathParameters"]
    try:
        know_only(event.get("queryStringParameters") or {})
        body = explain(parameters["upload"], parameters["offset"], services())
    except REFUSED as error:
        return refusal(error)
    except EndpointUnavailable as error:
        busy = isinstance(error, EndpointTimedOut)
        detail = TOO_LONG if busy else NOT_THERE
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_SECONDS)})
    except (EndpointRefused, BrokenContract) as error:
        logger.warning("not explained", extra={"upload": parameters["upload"][:40], "why": str(error)})
        return problem(HTTPStatus.BAD_GATEWAY, "The model failed on this protein.")
    tag = entity_tag(json.dumps(body))
    if is_known(tag, if_none_match(event)):
        return {"statusCode": HTTPStatus.NOT_MODIFIED.value, "headers": {"ETag": tag}, "body": ""}
    return answer(HTTPStatus.OK, body, {"ETag": tag})


def explain(upload_id: str, offset: str, aws: Services) -> dict[str, Any]:
    """Explain the answer for one record.

    Raises Missing where there is no such upload or record, InputError where `offset` is no number, FileGone
    where the text is no longer there, Unexplained where there is no answer to explain, and as of
    `Endpoint.explain`.
    """
    if not re.fullmatch("[0-9]{1,15}", offset):
        raise InputError(repr(offset)[:40], expected="the byte at which a record begins", where="offset")
    upload = aws.uploads.existing(upload_id[:MAX_NAME_CHARACTERS])
    protein = _protein(upload, int(offset), aws)
    explanation = aws.answers.explanation(protein.digest, upload.model_version)
    if explanation is None:
        explanation = _ask(protein, upload, aws)
        aws.answers.keep_explanation(protein.digest, upload.model_version, explanation)
    return {
        "upload": upload.upload_id,
        "offset": protein.offset,
        "accession": protein.accession,
        "model_version": upload.model_version,
        **spread_out(explanation, protein.sequence),
    }


def _protein(upload: UploadRecord, offset: int, aws: Services) -> Protein:
    """Read the protein that begins at this byte of an upload's text."""
    if upload.text is None or offset >= upload.text_size:
        raise Missing(NO_RECORD)
    try:
        size = aws.storage.size(upload.text)
    except FileGone:
        raise FileGone(
            "the text of this upload is no longer there to read the protein from; send the file again"
        ) from None
    lines = LineCount()
    chunks = aws.storage.read(upload.text, lookback(offset), size)
    record = next(read_records(chunks, start=offset, end=offset + 1, lines=lines), None)
    if record is None or record.offset != offset:
        raise Missing(NO_RECORD)
    if upload.damage and lines.offset >= size:  # as `split` judges the record in which a text stops
        raise Unexplained(f"this record is incomplete: {upload.damage}")
    protein = read_protein(record)
    if not isinstance(protein, Protein):
        raise Unexplained(f"this record was not read as a protein: {protein.reason}")
    return protein


def _ask(protein: Protein, upload: UploadRecord, aws: Services) -> Explanation:
    version = aws.models.get(upload.model_version) if upload.model_version else None
    if not upload.model_version or (version and version["state"] in GONE):
        name = upload.model_version or "of this upload"
        raise Unexplained(f"model version {name} is not there to ask; send the file again")
    logger.info("asking for an explanation", extra={"upload": upload.upload_id, "offset": protein.offset})
    return aws.endpoint.explain(
        protein.sequence,
        component=aws.settings.component(upload.model_version),
        model_version=upload.model_version,
        labels=upload.labels,
    )
