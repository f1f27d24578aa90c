"""submit: a file comes in over HTTP: the API gives a form, S3 takes the file, and the upload is found again.

In: `POST /uploads` of the API, with the file's name, and `GET /submissions/{submission}`. Out: the fields of
a form that may put this one object into the uploads bucket, for an hour and up to the stack's limit (S3
checks both); and where the upload is that came of it. Nothing is kept of a submission: its name is part of
the key.
"""

import secrets
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import InputError
from functions.domain.organisms import ORGANISM, require_organism
from functions.domain.submission import object_key, prefix_of, require_name, submission_of
from functions.domain.upload import upload_id
from functions.http import answer, problem, read_texts, refusal
from functions.services import Services, services
from functions.services.dynamodb import now_seconds
from functions.services.settings import MIB

logger = Logger()

FORM_SECONDS = 3_600
RETRY_SECONDS = 5


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    try:
        if event["httpMethod"] != "POST":
            return _find(event["pathParameters"]["submission"], event, services())
        form = submit(read_texts(event.get("body"), "name", "organism"), services())
    except InputError as error:
        return refusal(error)
    stage = event["requestContext"]["path"].rsplit("/", 1)[0]
    return answer(HTTPStatus.CREATED, form, {"Location": f"{stage}/submissions/{form['submission']}"})


def submit(request: dict[str, str], aws: Services) -> dict[str, Any]:
    """Make a form by which one file of this name can be sent. Raises InputError on a wrong request."""
    name, organism = request.get("name", ""), request.get("organism", "")
    require_name(name)
    require_organism(organism)
    moment = datetime.fromtimestamp(now_seconds(), UTC)
    # In a form, S3 would put the name of the file that is sent for ${filename}.
    key = object_key(moment, secrets.token_hex(6), name.replace("${", "_{"))
    most = aws.settings.max_upload_mib * MIB
    stated = {f"x-amz-meta-{ORGANISM}": organism} if organism else {}
    form = aws.s3.generate_presigned_post(
        Bucket=aws.settings.uploads_bucket,
        Key=key,
        Fields=stated,
        Conditions=[["content-length-range", 1, most], *({name: value} for name, value in stated.items())],
        ExpiresIn=FORM_SECONDS,
    )
    logger.info("form made", extra={"submission": submission_of(key)})
    expires = moment + timedelta(seconds=FORM_SECONDS)
    return {
        "submission": submission_of(key),
        "url": form["url"],
        "fields": form["fields"],
        "max_bytes": most,
        "expires": expires.isoformat().replace("+00:00", "Z"),
    }


def _find(submission: str, event: dict[str, Any], aws: Services) -> dict[str, Any]:
    """Answer where the upload is that came of a submission, if it has come."""
    prefix = prefix_of(submission)
    page = aws.s3.list_object_versions(Bucket=aws.settings.uploads_bucket, Prefix=prefix, MaxKeys=1)
    if not page.get("Versions"):
        detail = "No file has come of this submission, or it was deleted."
        return problem(HTTPStatus.NOT_FOUND, detail, {"Retry-After": str(RETRY_SECONDS)})
    (version,) = page["Versions"]
    upload = upload_id(aws.settings.uploads_bucket, version["Key"], version["VersionId"])
    stage = event["requestContext"]["path"].rsplit("/", 2)[0]
    body = {"submission": submission, "upload": upload}
    return answer(HTTPStatus.OK, body, {"Location": f"{stage}/uploads/{upload}"})
