"""query: the HTTP API answers GET for uploads, predictions, proteins and model versions.

This function changes nothing; `retry` and `activate` answer the requests that do.

Lists come in pages: `size` says how long, and a `Link` header with rel="next" leads on. Errors are RFC 9457
problems. Results are not sent through the API: it redirects to a link that S3 answers for some minutes.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlencode

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import InputError, Missing, ProtlocError
from functions.domain.locations import read_labels
from functions.domain.protein import MAX_ACCESSION_CHARACTERS
from functions.domain.rows import COLUMNS, FORMATS, PROBABILITY, columns_of, probability_columns
from functions.domain.upload import FINAL_STATUSES
from functions.domain.upload_record import UploadRecord
from functions.http import (
    PROBLEM,
    REFUSED,
    View,
    entity_tag,
    is_known,
    model_view,
    problem,
    status_of,
    upload_view,
)
from functions.parameters import FORMS, MAX_NAME_CHARACTERS, know_only, page_size, wanted_form, wanted_rows
from functions.services import services
from functions.services.dynamodb import Item
from functions.services.predictions_table import Wanted

logger = Logger()
app = APIGatewayRestResolver(strip_prefixes=[])

LINK_SECONDS = 900
"""Longer names no upload or model version has; DynamoDB refuses keys from 1,024 bytes on."""

LOOKED_AHEAD = 20
"""Shards after a page's that are asked whether anything follows."""


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if event["httpMethod"] == "HEAD":  # answered as GET is; API Gateway leaves out the body
        event = event | {"httpMethod": "GET"}
    return app.resolve(event, context)


@app.get("/uploads")
def list_uploads() -> Response[str]:
    know_only(_parameters(), "cursor", "size")
    aws = services()
    uploads, following = aws.uploads.listed(page_size(_parameters()), _cursor())
    # The index carries no counts of uploads in work; each page reads them.
    return _json({"uploads": list(map(_view, uploads))}, _link(following))


@app.get("/uploads/<upload>")
def get_upload(upload: str) -> Response[str]:
    know_only(_parameters())
    return _json(_view(_upload(upload)))


@app.get("/uploads/<upload>/predictions")
def list_predictions(upload: str) -> Response[str]:
    if "sort" in _parameters():
        raise InputError("rows come in file order and no other; sort the results file instead", where="sort")
    know_only(
        _parameters(),
        *("accession", "confidence", "cursor", "fields", "format", "location", "size", "status", "uncertain"),
    )
    aws = services()
    wanted = wanted_rows(_parameters())
    record = _upload(upload)
    columns = columns_of(record.labels)
    fields = _fields(columns)
    if not record.indexed:
        raise InputError("an upload too large for single predictions; take its results instead")
    size, cursor = page_size(_parameters()), _cursor()
    location = app.current_event.get_query_string_value("location")
    total = _total(record, wanted, location)
    if location is not None:
        if location not in record.labels.names:
            raise InputError(
                repr(location)[:80], expected=f"one of {', '.join(record.labels.names)}", where="location"
            )
        wanted = wanted._replace(named=location if record.labels.several else None)
    if location is not None and not record.labels.several:
        rows, following = aws.predictions.by_location(upload, location, size, cursor, wanted)
        return _rows(rows, fields, columns, following, total)
    shard = int((cursor or {}).get("pk", "#0").rsplit("#", 1)[1])
    rows, following = aws.predictions.page(upload, shard, size, cursor, wanted)
    # A page holds rows of one shard: one read of DynamoDB, at most 1 MB, always fits into a function's
    # answer.
    while not following and not rows and (shard := shard + 1) < record.shards:
        rows, following = aws.predictions.page(upload, shard, size, None, wanted)
    if not following and rows:
        following = _next_shard(upload, shard, record.shards)
    return _rows(rows, fields, columns, following, total)


def _total(record: UploadRecord, wanted: Wanted, location: str | None) -> dict[str, str]:
    """The header that says how many rows a list has in all, by the counts of an upload that has ended.

    There is none for any other choice than by status, as counting would read every row, nor once rows expire.
    """
    wants_status_alone = location is None and wanted == Wanted(status=wanted.status)
    expires = datetime.fromisoformat(record.created) + timedelta(days=services().settings.prediction_days)
    if not wants_status_alone or record.status not in FINAL_STATUSES or datetime.now(UTC) >= expires:
        return {}
    counts = record.counts._asdict()
    return {"X-Total-Results": str(counts[wanted.status or "records"])}


def _next_shard(upload: str, shard: int, shards: int) -> Item | None:
    """The key before the rows that follow a shard's; None if there are none."""
    for later in range(shard + 1, min(shards, shard + 1 + LOOKED_AHEAD)):
        if services().predictions.page(upload, later, 1, None)[0]:
            return {"pk": f"{upload}#{later:05d}", "sk": "0"}
    later = shard + 1 + LOOKED_AHEAD
    return {"pk": f"{upload}#{later:05d}", "sk": "0"} if later < shards else None


@app.get("/uploads/<upload>/results")
def get_results(upload: str) -> Response[str]:
    know_only(_parameters(), "format", "redirect")
    redirect = _parameters().get("redirect", "true")
    if redirect not in ("true", "false"):
        raise InputError(repr(redirect)[:40], expected="true or false", where="redirect")
    record = _upload(upload)
    name = app.current_event.get_query_string_value("format", default_value="tsv")
    if not record.results:
        if record.status in FINAL_STATUSES:
            return _problem(HTTPStatus.CONFLICT, f"The upload ended without results: {record.reason}")
        return _problem(HTTPStatus.CONFLICT, "The upload has no results yet; it is still in work.")
    if name not in record.results:
        expected = f"one of {', '.join(sorted(record.results))}"
        raise InputError(repr(name)[:80], expected=expected, where="format")
    link = services().storage.link(record.results[name], LINK_SECONDS)
    if redirect == "false":  # for a script in a browser, which would send S3 the API's signature along
        return Response(HTTPStatus.OK, content_types.APPLICATION_JSON, json.dumps({"url": link}))
    return Response(HTTPStatus.SEE_OTHER, content_types.TEXT_PLAIN, "", headers={"Location": link})


@app.get("/proteins/.+")  # a name between angle brackets would match neither `/` nor `#`
def list_by_accession() -> Response[str]:
    know_only(_parameters(), "cursor", "fields", "format", "size")
    name, fields = _accession(), _fields()  # rows of uploads of several models, perhaps
    if len(name) > MAX_ACCESSION_CHARACTERS:
        expected = f"at most {MAX_ACCESSION_CHARACTERS} characters"
        raise InputError(f"{len(name):,}", expected=expected, where="accession")
    rows, following = services().predictions.by_accession(name, page_size(_parameters()), _cursor())
    return _rows(rows, fields, ("upload", *COLUMNS), following)


@app.get("/models")
def list_models() -> Response[str]:
    know_only(_parameters())
    aws = services()
    alias = aws.models.alias()
    models = [model_view(item, alias.version) for item in aws.models.all()]
    named = {"active": alias.version or None, "previous": alias.previous or None, "revision": alias.revision}
    return _json({"models": models, **named})


@app.get("/models/<version>")
def get_model(version: str) -> Response[str]:
    know_only(_parameters())
    aws = services()
    item = aws.models.get(version) if len(version) <= MAX_NAME_CHARACTERS else None
    if item is None:
        raise Missing("There is no such model version.")
    return _json(model_view(item, aws.models.active()))


@app.exception_handler([*REFUSED])  # type: ignore[untyped-decorator]
def _refused(error: ProtlocError) -> Response[str]:
    return _problem(status_of(error), str(error))


@app.not_found
def _no_route(_error: NotFoundError) -> Response[str]:
    return _problem(HTTPStatus.NOT_FOUND, "There is nothing at this path.")


def _upload(upload: str) -> UploadRecord:
    return services().uploads.existing(upload[:MAX_NAME_CHARACTERS])


def _view(upload: UploadRecord) -> View:
    """An upload with its counts and progress, read where it is in work."""
    aws = services()
    return upload_view(upload, *aws.uploads.account(upload), aws.storage.uris(upload.results))


def _accession() -> str:
    """The accession that the path names, decoded once.

    API Gateway gives the path twice and the parameter beside it, each as it was sent or decoded. Where they
    differ, one is the decoded form of another; where all agree, they are as they were sent.
    """
    event = app.current_event
    paths = (event.path, event.request_context.path or "")
    forms = [rest for path in paths if (rest := path.partition("/proteins/")[2])]
    forms += [value for name, value in (event.path_parameters or {}).items() if name == "accession"]
    decoded = {unquote(other) for other in forms} & set(forms)
    return decoded.pop() if len(set(forms)) > 1 and len(decoded) == 1 else unquote(forms[0])


def _fields(columns: Sequence[str] | None = None) -> list[str] | None:
    """Those of the columns that are asked for; None for all. Without `columns` those of any model."""
    asked = app.current_event.get_query_string_value("fields")
    if asked is None:
        return None
    names, known = asked.split(","), columns or COLUMNS
    if columns is None and any(name.startswith(PROBABILITY) and name not in known for name in names):
        known = [*known, *_of_own_labels()]
    for name in names:
        if name not in ("upload", *known):
            expected = f"some of upload, {', '.join(known)}, with commas between"
            raise InputError(repr(name)[:40], expected=expected, where="fields")
    return names


def _of_own_labels() -> list[str]:
    """The columns of probabilities of the models that have labels of their own."""
    texts = {item.get("labels", "") for item in services().models.all()}
    return list(dict.fromkeys(name for text in texts for name in probability_columns(read_labels(text))))


def _rows(
    rows: list[Item],
    fields: list[str] | None,
    columns: Sequence[str],
    following: Item | None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Response[str]:
    """A page of rows in the form that is asked for, with these columns where no fields are named."""
    form = wanted_form(_parameters(), app.current_event.headers.get("Accept", ""))
    headers = {**_link(following), "Vary": "Accept", **more}
    if form == "json":
        selected = rows if fields is None else [{name: row.get(name) for name in fields} for row in rows]
        return _json({"predictions": selected}, headers)
    names = fields or columns
    lines = FORMATS[form]([{name: row.get(name) for name in names} for row in rows], names)
    return _tagged(b"".join(lines).decode(), f"{FORMS[form]}; charset=utf-8", headers)


def _cursor() -> Item | None:
    cursor = app.current_event.get_query_string_value("cursor")
    return None if cursor is None else services().cursors.read(cursor, _list_name())


def _list_name() -> str:
    """The list a cursor is bound to: the path, and every parameter that selects from it."""
    parameters = _parameters()
    filters = sorted((name, value) for name, value in parameters.items() if name not in ("cursor", "size"))
    return json.dumps([app.current_event.path, filters])


def _parameters() -> dict[str, str]:
    return dict(app.current_event.query_string_parameters or {})


def _link(following: Item | None) -> dict[str, str]:
    """The header that leads to the following page; none where nothing follows."""
    if not following:
        return {}
    parameters = {**_parameters(), "cursor": services().cursors.sign(following, _list_name())}
    # The query alone, relative to the address of the request (RFC 3986, 5.2.2): it leads to the same place
    # through every stage, domain and prefix of the API.
    return {"Link": f'<?{urlencode(parameters)}>; rel="next"'}


def _json(value: Any, headers: dict[str, str] | None = None) -> Response[str]:
    return _tagged(json.dumps(value), content_types.APPLICATION_JSON, headers or {})


def _tagged(body: str, kind: str, headers: dict[str, str]) -> Response[str]:
    """An answer, or that it is the one which the caller has already."""
    headers = {**headers, "ETag": entity_tag(body)}
    if is_known(headers["ETag"], app.current_event.headers.get("If-None-Match", "")):
        return Response(HTTPStatus.NOT_MODIFIED, None, "", headers=headers)
    return Response(HTTPStatus.OK, kind, body, headers=headers)


def _problem(status: HTTPStatus, detail: str) -> Response[str]:
    return Response(status, PROBLEM, problem(status, detail)["body"])
