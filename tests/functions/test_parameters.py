"""Rows of the API in the form that is asked for: JSON, TSV, CSV or JSON Lines, by `format` or by `Accept`."""

import csv
import io
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

import functions.explain
import functions.query
from functions.domain.rows import COLUMNS
from functions.parameters import FORMS, wanted_form
from tests.functions.test_events import Context, golden
from tests.functions.test_flow import fasta
from tests.functions.world import World


@pytest.fixture
def world(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for module in (functions.query, functions.explain):
        monkeypatch.setattr(module, "services", lambda: running_world.aws)
    return running_world


def get(path: str, accept: str = "", known: str = "", **parameters: str) -> tuple[int, str, dict[str, str]]:
    event = golden("api-get-upload") | {"path": path, "queryStringParameters": parameters or None}
    headers = {"Accept": accept} | ({"If-None-Match": known} if known else {})
    event |= {"headers": headers, "multiValueHeaders": {name: [text] for name, text in headers.items()}}
    event["requestContext"] = event["requestContext"] | {"path": f"/v1{path}"}
    answer = functions.query.handler(event, Context())
    headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
    return answer["statusCode"], answer["body"], headers


def read(form: str, body: str) -> list[dict[str, Any]]:
    if form == "jsonl":
        return [json.loads(line) for line in body.splitlines()]
    return list(csv.DictReader(io.StringIO(body), delimiter="\t" if form == "tsv" else ","))


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
@pytest.mark.parametrize("by", ["format", "accept"])
def test_a_page_is_given_in_the_form_that_is_asked_for(world: World, form: str, by: str) -> None:
    identity = world.run(world.upload(fasta(12) + b">bad\nMK1V\n"))
    path = f"/uploads/{identity}/predictions"
    as_json = json.loads(get(path)[1])["predictions"]
    asked = {"format": form} if by == "format" else {"accept": f"text/html, {FORMS[form]}"}
    status, body, headers = get(path, **asked)
    assert status == 200 and headers["Content-Type"] == f"{FORMS[form]}; charset=utf-8"
    assert headers["Vary"] == "Accept"
    rows = read(form, body)
    assert [row["accession"] for row in rows] == [row["accession"] for row in as_json]
    assert tuple(rows[0]) == COLUMNS
    if form == "jsonl":
        assert [{"upload": identity, **row} for row in rows] == as_json
    else:
        assert float(rows[0]["confidence"]) == pytest.approx(as_json[0]["confidence"], abs=1e-4)
    assert get(path, known=headers["ETag"], **asked)[0] == 304
    assert get(path, known=headers["ETag"])[0] == 200  # another form of it is another answer


def test_the_pages_of_a_table_lead_on_and_hold_the_fields_that_are_asked_for(world: World) -> None:
    identity = world.run(world.upload(fasta(7)))
    path, parameters = (
        f"/uploads/{identity}/predictions",
        {"size": "3", "format": "tsv", "fields": "upload,accession"},
    )
    lines: list[str] = []
    while True:
        _, body, headers = get(path, **parameters)
        head, *page = body.splitlines()
        assert head == "upload\taccession"
        lines += page
        if "Link" not in headers:
            break

        parameters = dict(parse_qsl(headers["Link"].split(">")[0].removeprefix("<?")))
        assert parameters["format"] == "tsv"
    assert lines == [f"{identity}\tP{number:05d}" for number in range(7)]


def test_a_form_that_there_is_not_is_refused(world: World) -> None:
    identity = world.run(world.upload(fasta(2)))
    status, body, _ = get(f"/uploads/{identity}/predictions", format="xlsx")
    assert status == 400 and "one of json, tsv, csv, jsonl" in json.loads(body)["detail"]


def test_rows_are_those_of_the_accessions_that_are_named(world: World) -> None:
    identity = world.run(world.upload(fasta(40)))
    path = f"/uploads/{identity}/predictions"
    accessions: list[str] = []
    parameters = {"accession": "P00031,P00002,P00031,nobody", "size": "1"}
    while True:
        _, body, headers = get(path, **parameters)
        accessions += [row["accession"] for row in json.loads(body)["predictions"]]
        if "Link" not in headers:
            break
        parameters = dict(parse_qsl(headers["Link"].split(">")[0].removeprefix("<?")))
    assert accessions == ["P00002", "P00031"]
    for wrong in ("", ",", "a,,b", ",".join(f"P{number}" for number in range(101))):
        assert get(path, accession=wrong)[0] == 400


def test_nothing_of_a_header_runs_in_a_spreadsheet(world: World) -> None:
    identity = world.run(world.upload(b">=1+1 x\nMKVLAAGIVG\n"))
    _, body, _ = get(f"/uploads/{identity}/predictions", format="csv")
    (row,) = read("csv", body)
    assert row["accession"] == "'=1+1"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/*", "json"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=0.2,application/json;q=0.1", "csv"),
        ("TEXT/CSV", "csv"),
        ("application/x-ndjson", "jsonl"),
        ("image/png", "json"),
        (";;,;q=2,", "json"),
    ],
)
def test_accept_is_read_by_what_is_wanted_most(accept: str, form: str) -> None:
    assert wanted_form({}, accept) == form


def test_rows_of_a_protein_name_their_upload_in_every_form(world: World) -> None:
    identity = world.run(world.upload(fasta(1)))
    _, body, _ = get("/proteins/P00000", format="tsv")
    (row,) = read("tsv", body)
    assert row["upload"] == identity


def test_an_explanation_that_the_caller_has_is_not_sent_again(world: World) -> None:
    identity = world.run(world.upload(fasta(1)))

    def ask(**headers: str) -> dict[str, Any]:
        event = golden("api-get-upload") | {
            "pathParameters": {"upload": identity, "offset": "0"},
            "queryStringParameters": None,
            "headers": headers,
        }
        return functions.explain.handler(event, Context())

    tag = ask()["headers"]["ETag"]
    again = ask(**{"if-none-match": f'"other", {tag}'})
    assert (again["statusCode"], again["body"], again["headers"]) == (304, "", {"ETag": tag})
    assert ask(**{"If-None-Match": '"other"'})["statusCode"] == 200
