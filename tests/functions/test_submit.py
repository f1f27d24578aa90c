"""Files that are sent over HTTP: a form for one object and no other, and the upload that came of it."""

import base64
import json
import re
from dataclasses import replace
from typing import Any

import boto3
import pytest

import functions.submit
from functions.receive import receive
from functions.services import LINKING
from functions.submit import FORM_SECONDS
from tests.functions.test_events import Context, golden
from tests.functions.test_flow import fasta
from tests.functions.world import World, world


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stack that takes files of up to 3 MiB, and its API."""
    with world(max_upload_mib=3) as made:
        made.activate()
        signing: Any = boto3.client("s3", region_name="us-east-1", config=LINKING)
        aws = replace(made.aws, s3=signing)
        monkeypatch.setattr(functions.submit, "services", lambda: aws)
        yield made


def ask(method: str, path: str, body: Any = None, **parameters: str) -> tuple[int, Any, dict[str, str]]:
    event = golden("api-get-upload") | {
        "httpMethod": method,
        "path": path,
        "pathParameters": parameters or None,
        "body": body if isinstance(body, str) else json.dumps(body),
    }
    event["requestContext"] = event["requestContext"] | {"path": f"/v1{path}"}
    answer = functions.submit.handler(event, Context())
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def find(submission: str) -> tuple[int, Any, dict[str, str]]:
    return ask("GET", f"/submissions/{submission}", submission=submission)


def test_a_form_takes_one_object_of_the_stacks_limit(api: World) -> None:
    status, form, headers = ask("POST", "/uploads", {"name": "my proteins.fasta", "organism": "Homo sapiens"})
    assert status == 201 and headers["Location"] == f"/v1/submissions/{form['submission']}"
    date, unique = form["submission"][:10], form["submission"][11:]
    fields = form["fields"]
    assert fields["key"] == f"{date}/{unique}/my proteins.fasta" and re.fullmatch("[0-9a-f]{12}", unique)
    policy = json.loads(base64.b64decode(fields["policy"]))
    conditions = [c for c in policy["conditions"] if isinstance(c, list)]
    exact = {name: value for c in policy["conditions"] if isinstance(c, dict) for name, value in c.items()}
    assert conditions == [["content-length-range", 1, 3 * 1024 * 1024]] and form["max_bytes"] == 3 * 1024**2
    assert (exact["bucket"], exact["key"]) == ("uploads", fields["key"])
    assert exact["x-amz-meta-organism"] == fields["x-amz-meta-organism"] == "Homo sapiens"
    assert fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert form["expires"] >= policy["expiration"][:19] and FORM_SECONDS == 3600


def test_two_forms_of_one_name_are_of_two_objects(api: World) -> None:
    first, second = (ask("POST", "/uploads", {"name": "a.fasta"})[1] for _ in range(2))
    assert first["fields"]["key"] != second["fields"]["key"]


def test_the_upload_of_a_submission_is_found_when_its_file_has_come(api: World) -> None:
    form = ask("POST", "/uploads", {"name": "a.fasta"})[1]
    status, problem, headers = find(form["submission"])
    assert (status, problem["status"], int(headers["Retry-After"]) > 0) == (404, 404, True)
    upload = receive(api.upload(fasta(3), key=form["fields"]["key"]), api.aws)
    status, answer, headers = find(form["submission"])
    assert (status, answer) == (200, {"submission": form["submission"], "upload": upload})
    assert headers["Location"] == f"/v1/uploads/{upload}"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("", "name"),
        ("no json", "name"),
        ([], "name"),
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": 3}, "name"),
        ({"name": "a" * 901}, "name"),
        ({"name": "a.fasta", "organism": "nobody knows"}, "organism"),
        ({"name": "a.fasta", "organism": "Homo sapiens\n"}, "organism"),
        ({"name": "a.fasta", "bucket": "another"}, "bucket"),
    ],
)
def test_a_request_that_is_wrong_says_what_is(api: World, body: Any, named: str) -> None:
    status, problem, _ = ask("POST", "/uploads", body)
    assert (status, problem["status"]) == (400, 400) and named in problem["detail"]


@pytest.mark.parametrize(
    "name", ["../../labels/x", "labels/mine.tsv", "a\nb", "ü.fasta", "${filename}", "a/"]
)
def test_no_name_leads_out_of_its_folder(api: World, name: str) -> None:
    form = ask("POST", "/uploads", {"name": name})[1]
    assert re.fullmatch(r"[0-9-]{10}/[0-9a-f]{12}/[^/\n]+", form["fields"]["key"])
    assert "${" not in form["fields"]["key"]


@pytest.mark.parametrize(
    "submission", ["", "a", "2026-11-26-0123456789AB", "2026-11-26-0123456789ab0", "../.."]
)
def test_the_name_of_no_submission_is_refused(api: World, submission: str) -> None:
    assert find(submission)[0] == 400
