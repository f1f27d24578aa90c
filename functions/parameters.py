"""Parameters of the API's lists, read from the query: which rows, how many, and in which form.

Every invalid parameter is refused, with the expected form: a filter with a typing mistake would silently
filter nothing. A form is asked for by `format`, or by `Accept` as of RFC 9110, 12.5.1; where nothing that is
accepted is known, it is JSON.
"""

import re
from collections.abc import Mapping

from functions.domain.errors import InputError
from functions.services.predictions_table import Wanted

Parameters = Mapping[str, str]

MAX_NAME_CHARACTERS = 100  # DynamoDB refuses keys from 1,024 bytes on
DEFAULT_SIZE = 50
MAX_SIZE = 500
MAX_ACCESSIONS = 100
"""So many values DynamoDB takes in an IN:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html"""

STATUSES = ("predicted", "rejected", "failed")

FORMS = {
    "json": "application/json",
    "tsv": "text/tab-separated-values",
    "csv": "text/csv",
    "jsonl": "application/jsonl",
}
_ALSO = {"application/x-ndjson": "jsonl", "application/x-jsonlines": "jsonl"}


def know_only(parameters: Parameters, *known: str) -> None:
    """Raise InputError where there is any other parameter."""
    for name in parameters:
        if name not in known:
            raise InputError(repr(name)[:40], expected=", ".join(known) or "none", where="parameters")


def wanted_rows(parameters: Parameters) -> Wanted:
    """The filters of a request, beside its location. Raises InputError."""
    confidence, status = parameters.get("confidence"), parameters.get("status")
    uncertain, accessions = parameters.get("uncertain"), parameters.get("accession")
    if confidence is not None and not re.fullmatch(r"0(\.[0-9]{1,6})?|1(\.0{1,6})?", confidence):
        raise InputError(repr(confidence)[:40], expected="a number from 0 to 1", where="confidence")
    if status is not None and status not in STATUSES:
        raise InputError(repr(status)[:40], expected=f"one of {', '.join(STATUSES)}", where="status")
    if uncertain not in (None, "true", "false"):
        raise InputError(repr(uncertain)[:40], expected="true or false", where="uncertain")
    named = None if accessions is None else tuple(dict.fromkeys(accessions.split(",")))
    if named is not None and (len(named) > MAX_ACCESSIONS or "" in named):
        expected = f"1 to {MAX_ACCESSIONS} accessions with commas between"
        raise InputError(repr(accessions)[:40], expected=expected, where="accession")
    return Wanted(
        None if confidence is None else float(confidence),
        status,
        None if uncertain is None else uncertain == "true",
        accessions=named,
    )


def page_size(parameters: Parameters) -> int:
    """The values of a page, at most. Raises InputError."""
    size = parameters.get("size", str(DEFAULT_SIZE))
    if not re.fullmatch("[0-9]{1,9}", size) or not 1 <= int(size) <= MAX_SIZE:
        raise InputError(repr(size)[:40], expected=f"a number from 1 to {MAX_SIZE}", where="size")
    return int(size)


def wanted_form(parameters: Parameters, accept: str) -> str:
    """The form of rows that is asked for, one of FORMS. Raises InputError.

    >>> wanted_form({"format": "tsv"}, "text/csv"), wanted_form({}, "text/csv;q=0.5, application/jsonl")
    ('tsv', 'jsonl')
    >>> wanted_form({}, "*/*"), wanted_form({}, ""), wanted_form({}, "text/html, text/*;q=0.1")
    ('json', 'json', 'tsv')
    """
    named = parameters.get("format")
    if named is not None:
        if named not in FORMS:
            raise InputError(repr(named)[:40], expected=f"one of {', '.join(FORMS)}", where="format")
        return named
    best, form = 0.0, "json"
    for quality, kind in map(_ranged, accept.split(",")):
        if quality > best and (fitting := _fitting(kind)):
            best, form = quality, fitting
    return form


def _ranged(text: str) -> tuple[float, str]:
    """A media range and how much it is wanted; 1 where it does not say."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if match := re.fullmatch(r"q=([01](?:\.[0-9]{0,3})?)", parameter):
            return float(match[1]), kind
    return 1.0, kind


def _fitting(kind: str) -> str | None:
    """The first form that a media range covers."""
    if kind in _ALSO:
        return _ALSO[kind]
    for form, media_type in FORMS.items():
        if kind in ("*/*", media_type, f"{media_type.partition('/')[0]}/*"):
            return form
    return None
