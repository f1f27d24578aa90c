"""ask: a few sequences that come in a request are answered in its answer, if a model is there to ask.

In: `POST /predictions` of the API, with a text of FASTA, which is read by the rules of files. Out: the row of
each record, as an upload of the same text would have it. Sequences whose answer is known are not asked about,
the others in one call of the active model version; its answers are kept, and nothing else is.

No model is waited for: if none is there, or it is busy or fails on the request, the text becomes an upload,
which has the time to wait and to find the protein that fails, and the answer is 202 with its place. Sequences
are never logged.
"""

import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import BrokenContract, EndpointError, InputError
from functions.domain.fasta import LineCount, read_records
from functions.domain.formats import packing, require_fasta
from functions.domain.locations import LabelSet
from functions.domain.organisms import ORGANISM, kingdom_of, require_organism
from functions.domain.prediction import Answer, Prediction
from functions.domain.protein import Protein, Rejection, read_protein
from functions.domain.remarks import Doubts, text_left_out
from functions.domain.rows import Row, columns_of, predicted_row, rejected_row
from functions.domain.submission import object_key
from functions.domain.upload import upload_id
from functions.http import answer, problem, read_texts, refusal
from functions.parameters import know_only
from functions.services import Services, services
from functions.services.dynamodb import now_seconds

logger = Logger()

MAX_TEXT_BYTES = 65_536
MAX_RECORDS = 100
MAX_RESIDUES = 8_192
"""A quarter of those that a model must answer in 60 seconds (`BatchResidues`), so within MODEL_SECONDS."""

FILE_NAME = "sequences.fasta"
RETRY_SECONDS = 5


class TooMuch(InputError):
    """The text is for a file, not for a request."""


class Deferred(NamedTuple):
    """The upload that a text became, and why it was not answered at once."""

    upload: str
    reason: str


class Question(NamedTuple):
    """The values beside the answers that decide rows, as an upload pins them."""

    model_version: str
    labels: LabelSet
    organism: str


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    try:
        know_only(event.get("queryStringParameters") or {})
        answered = ask(read_texts(event.get("body"), "fasta", "organism"), services())
    except TooMuch as error:
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{error}; send a file by POST /uploads")
    except InputError as error:
        return refusal(error)
    except BrokenContract as error:
        logger.error("not answered", extra={"why": str(error)})
        return problem(HTTPStatus.BAD_GATEWAY, "The model gave an answer that cannot be read.")
    if not isinstance(answered, Deferred):
        return answer(HTTPStatus.OK, answered)
    stage = event["requestContext"]["path"].rsplit("/", 1)[0]
    headers = {"Location": f"{stage}/uploads/{answered.upload}", "Retry-After": str(RETRY_SECONDS)}
    return answer(HTTPStatus.ACCEPTED, answered._asdict(), headers)


def ask(request: dict[str, str], aws: Services) -> dict[str, Any] | Deferred:
    """Answer for every record of a text, or have it become an upload where no model answers at once.

    Raises InputError where the request is wrong, TooMuch where it holds too much, and BrokenContract as of
    `Endpoint.invoke`.
    """
    organism = request.get("organism", "")
    require_organism(organism)
    text = request.get("fasta", "").encode("utf-8", "replace")
    lines = LineCount()
    records = _read(text, lines)
    version = aws.models.active()
    if not version:
        return _defer(text, organism, "no model version is in service", aws)
    question = Question(version, aws.models.labels(version), kingdom_of(organism))
    try:
        answers = _answers([record for record in records if isinstance(record, Protein)], question, aws)
    except EndpointError as error:
        logger.warning("the model does not answer", extra={"why": str(error)})
        return _defer(text, organism, "the model is not there to answer at once", aws)
    rows = [
        predicted_row(record, answers[record.digest], question)
        if isinstance(record, Protein)
        else rejected_row(record, question.labels)
        for record in records
    ]
    logger.info("answered", extra={"records": len(rows), "model_version": version})
    return _shown(rows, question, lines.left_out)


def _read(text: bytes, lines: LineCount) -> list[Protein | Rejection]:
    """Read every record of a text. Raises InputError where it is no FASTA, TooMuch where it is too long."""
    if len(text) > MAX_TEXT_BYTES:
        raise TooMuch(f"{len(text):,}", expected=f"at most {MAX_TEXT_BYTES:,} bytes of text", where="fasta")
    if packed := packing(text):
        raise InputError(f"{packed} data", expected="FASTA text", where="fasta")
    try:
        require_fasta(text, whole=True)
    except InputError as error:
        where = f"fasta, {error.where}" if error.where else "fasta"
        raise InputError(error.found, expected=error.expected, where=where) from None
    records = list(map(read_protein, islice(read_records([text], lines=lines), MAX_RECORDS + 1)))
    if len(records) > MAX_RECORDS:
        raise TooMuch("more", expected=f"at most {MAX_RECORDS:,} records", where="fasta")
    residues = sum(len(record.sequence) for record in records if isinstance(record, Protein))
    if residues > MAX_RESIDUES:
        raise TooMuch(f"{residues:,}", expected=f"at most {MAX_RESIDUES:,} residues", where="fasta")
    return records


def _answers(proteins: list[Protein], question: Question, aws: Services) -> dict[str, Answer]:
    """The answers about these proteins by digest: those that are known, and the model's, which are kept.

    Raises as `Endpoint.invoke`.
    """
    sequences = {protein.digest: protein.sequence for protein in proteins}
    answers: dict[str, Answer] = dict(
        aws.answers.find(sequences, question.model_version, question.labels.names)
    )
    unknown = [digest for digest in sequences if digest not in answers]
    if not unknown:
        return answers
    asked = aws.endpoint.invoke(
        [sequences[digest] for digest in unknown],
        component=aws.settings.component(question.model_version),
        model_version=question.model_version,
        labels=question.labels,
    )
    new = dict(zip(unknown, asked, strict=True))
    predictions = {digest: each for digest, each in new.items() if isinstance(each, Prediction)}
    aws.answers.remember(predictions, question.model_version)
    return answers | new


def _shown(rows: list[Row], question: Question, letters_left_out: int) -> dict[str, Any]:
    """The rows as the API shows those of an upload, but of none."""
    doubts = Doubts()
    for row in rows:
        doubts.count(row)
    columns = columns_of(question.labels)
    return {
        "model_version": question.model_version,
        "predictions": [{"upload": None} | {column: row[column] for column in columns} for row in rows],
        "warnings": [*text_left_out(letters_left_out), *doubts.warnings()],
    }


def _defer(text: bytes, organism: str, reason: str, aws: Services) -> Deferred:
    """Put the text into the uploads bucket, as a file that was sent."""
    bucket = aws.settings.uploads_bucket
    moment = datetime.fromtimestamp(now_seconds(), UTC)
    key = object_key(moment, secrets.token_hex(6), FILE_NAME)
    stored = aws.s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=text,
        ContentType="text/plain; charset=utf-8",
        Metadata={ORGANISM: organism} if organism else {},
    )
    upload = upload_id(bucket, key, stored["VersionId"])
    logger.info("made an upload", extra={"upload": upload, "why": reason})
    return Deferred(upload, reason)
