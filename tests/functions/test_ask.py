"""A few sequences answered in the request that holds them, or made an upload where no model answers at once."""

import json
from typing import Any

import pytest

import functions.ask
import functions.query
from functions.ask import MAX_RECORDS, MAX_RESIDUES, MAX_TEXT_BYTES
from functions.domain.errors import BrokenContract, EndpointRefused, EndpointTimedOut
from functions.domain.locations import LabelSet, labels_of
from functions.domain.prediction import Answer, Unpredictable
from tests.functions.test_events import Context, golden, logs_of
from tests.functions.test_flow import fasta
from tests.functions.world import VERSION, World, unavailable

MIXED = (
    "; a comment\r\n>sp|P1|ONE_HUMAN first one OS=Homo sapiens\r\nMKVLAAGIVG\r\n\r\n>bad\r\nMK1V\r\n>low\r\n"
    "wkvlaa\r\ngivgmkv*\r\n>\r\nMKVLAAGIVG\r\n>ü \u202e<b>\r\nMKVFAILEDWY\r\n>none\r\n>short\r\nMKV\r\n"
)
OWN = labels_of(
    [{"name": name, "display": name, "go": (), "threshold": 0.5} for name in ("Nucleus", "Cytoplasm", "Else")]
)


@pytest.fixture
def api(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for module in (functions.ask, functions.query):
        monkeypatch.setattr(module, "services", lambda: running_world.aws)
    object.__setattr__(running_world.aws.settings, "uploads_bucket", "uploads")
    return running_world


def post(body: Any, **parameters: str) -> tuple[int, Any, dict[str, str]]:
    event = golden("api-get-upload") | {
        "httpMethod": "POST",
        "path": "/predictions",
        "pathParameters": None,
        "queryStringParameters": parameters or None,
        "body": body if isinstance(body, str) else json.dumps(body),
    }
    event["requestContext"] = event["requestContext"] | {"path": "/v1/predictions"}
    answer = functions.ask.handler(event, Context())
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def listed(upload: str) -> list[dict[str, Any]]:
    """The rows of an upload as the API lists them."""
    event = golden("api-get-upload") | {
        "path": f"/uploads/{upload}/predictions",
        "queryStringParameters": {"size": "500"},
    }
    rows: list[dict[str, Any]] = json.loads(functions.query.handler(event, Context())["body"])["predictions"]
    return rows


def deferred(api: World, answered: tuple[int, Any, dict[str, str]]) -> tuple[str, str]:
    """The upload that a text became, once it has come through, and the reason given."""
    status, body, headers = answered
    assert status == 202 and int(headers["Retry-After"]) > 0
    assert headers["Location"] == f"/v1/uploads/{body['upload']}"
    (version,) = api.s3.list_object_versions(Bucket="uploads", Prefix="20")["Versions"]
    objects = {"key": version["Key"], "size": version["Size"], "version-id": version["VersionId"]}
    assert api.run({"detail": {"bucket": {"name": "uploads"}, "object": objects}}) == body["upload"]
    return body["upload"], body["reason"]


@pytest.mark.parametrize("labels", [None, OWN], ids=["ten", "own"])
def test_the_rows_are_those_that_an_upload_of_the_same_text_has(api: World, labels: LabelSet | None) -> None:
    if labels:
        api.activate("own-1", labels)
    status, body, _ = post({"fasta": MIXED, "organism": "Homo sapiens"})
    upload = api.run(api.upload(MIXED.encode(), organism="Homo sapiens"))
    rows = listed(upload)
    assert status == 200 and body["model_version"] == rows[0]["model_version"]
    assert [row | {"upload": upload} for row in body["predictions"]] == rows and len(rows) == 7
    assert {row["upload"] for row in body["predictions"]} == {None}
    assert [list(row) for row in body["predictions"]] == [list(row) for row in rows]


@pytest.mark.parametrize(
    "text", ["left over\n>a\nMKVLAAGIVGMKV\n", ">a OS=Escherichia coli\nMKVLAAGIVGMKV\n"]
)
def test_the_warnings_are_those_of_an_upload_of_the_same_text(api: World, text: str) -> None:
    _, body, _ = post({"fasta": text})
    upload = api.run(api.upload(text.encode()))
    assert body["warnings"] == api.item(upload)["warnings"] != []


def test_no_sequence_is_asked_about_twice_by_requests_or_uploads(api: World) -> None:
    text = ">a\nMKVLAAGIVG\n>b\nMKVLAAGIVG\n>c\nWKVLAAGIVG\n"
    post({"fasta": text})
    assert sorted(api.model.asked) == ["MKVLAAGIVG", "WKVLAAGIVG"] and api.model.calls == 1
    post({"fasta": text})
    api.run(api.upload(text.encode()))
    assert api.model.calls == 1


def test_known_answers_need_no_model(api: World) -> None:
    first = post({"fasta": fasta(3).decode()})[1]
    api.model.trouble = unavailable
    assert post({"fasta": fasta(3).decode()}) == (200, first, {"Content-Type": "application/json"})
    assert post({"fasta": ">a\nMK1V\n"})[1]["predictions"][0]["status"] == "rejected"


def slow(_sequences: list[str]) -> None:
    raise EndpointTimedOut("no answer in time")


def failing(sequences: list[str]) -> None:
    if any("FAIL" in sequence for sequence in sequences):
        raise EndpointRefused("status 500")


@pytest.mark.parametrize("trouble", [unavailable, slow])
def test_a_model_that_is_not_there_makes_it_an_upload(api: World, trouble: Any) -> None:
    api.model.trouble = trouble
    answered = post({"fasta": MIXED, "organism": "Escherichia coli"})
    api.model.trouble = lambda _: None
    upload, reason = deferred(api, answered)
    assert "not there" in reason
    assert [row["status"] for row in listed(upload)] == [
        "predicted",
        "rejected",
        "predicted",
        "predicted",
        "predicted",
        "rejected",
        "rejected",
    ]
    assert api.item(upload)["organism"] == "bacteria"


def test_a_protein_that_the_model_fails_on_costs_only_itself(api: World) -> None:
    api.model.trouble = failing
    upload, _ = deferred(api, post({"fasta": ">a\nMKVLAAGIVG\n>b\nMKVFAILEDWY\n>c\nWKVLAAGIVG\n"}))
    assert [row["status"] for row in listed(upload)] == ["predicted", "failed", "predicted"]


def test_a_protein_without_an_answer_of_its_own_is_a_failed_row_and_is_asked_about_again(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(sequences: list[str], **_: object) -> list[Answer]:
        return [Unpredictable("too odd") for _ in sequences]

    with monkeypatch.context() as patch:
        patch.setattr(api.model, "invoke", refuse)
        (row,) = post({"fasta": ">a\nMKVLAAGIVG\n"})[1]["predictions"]
    assert (row["status"], row["reason"]) == ("failed", "too odd")
    assert post({"fasta": ">a\nMKVLAAGIVG\n"})[1]["predictions"][0]["status"] == "predicted"


def test_without_a_model_version_it_is_an_upload_that_waits(
    empty_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions.ask, "services", lambda: empty_world.aws)
    object.__setattr__(empty_world.aws.settings, "uploads_bucket", "uploads")
    status, body, _ = post({"fasta": ">a\nMKVLAAGIVG\n"})
    assert status == 202 and "no model version" in body["reason"]


def test_an_answer_that_is_not_what_was_agreed_tells_nobody_why(api: World) -> None:
    def nonsense(_sequences: list[str]) -> None:
        raise BrokenContract("found MKVLAAGIVG")

    api.model.trouble = nonsense
    status, body, _ = post({"fasta": ">a\nMKVLAAGIVG\n"})
    assert (status, body["status"]) == (502, 502) and "MKV" not in body["detail"]


def test_no_sequence_is_logged_or_kept(api: World) -> None:
    with logs_of(functions.ask.logger) as lines:
        post({"fasta": MIXED})
        assert "Versions" not in api.s3.list_object_versions(Bucket="uploads")
        api.model.trouble = unavailable
        post({"fasta": ">other\nMKVLAAGIVGWW\n"})
    messages = [json.loads(line)["message"] for line in lines.getvalue().splitlines()]
    assert messages == ["answered", "the model does not answer", "made an upload"]
    assert not any(part in lines.getvalue() for part in ("MKV", "MK1V", "wkvlaa", "KVFAIL"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (">a\nMKVLAAGIVG\n" * (MAX_RECORDS + 1), f"at most {MAX_RECORDS} records"),
        (">a\n" + "M" * (MAX_RESIDUES + 1), f"at most {MAX_RESIDUES:,} residues, found {MAX_RESIDUES + 1:,}"),
        (">a\nMKVLAAGIVG\n" + "\n" * MAX_TEXT_BYTES, f"at most {MAX_TEXT_BYTES:,} bytes"),
    ],
)
def test_more_than_a_request_may_hold_is_sent_to_files(api: World, text: str, part: str) -> None:
    status, body, headers = post({"fasta": text})
    assert (status, body["status"]) == (413, 413) and headers["Content-Type"] == "application/problem+json"
    assert part in body["detail"] and "POST /uploads" in body["detail"] and not api.model.calls


@pytest.mark.parametrize(
    "text", [">a\nMKVLAAGIVG\n" * MAX_RECORDS, ">a\n" + "MKVLAAGI" * (MAX_RESIDUES // 8)]
)
def test_as_much_as_a_request_may_hold_is_answered(api: World, text: str) -> None:
    assert post({"fasta": text})[0] == 200


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("", 'expected a JSON object {"fasta": …}, found another body'),
        ("[]", 'expected a JSON object {"fasta": …}, found another body'),
        ("[" * 100_000, 'expected a JSON object {"fasta": …}, found another body'),
        ({}, "fasta: expected FASTA records, found an empty file"),
        ({"fasta": ""}, "fasta: expected FASTA records, found an empty file"),
        ({"fasta": ["MKV"]}, "fasta: expected a text, found a list"),
        ({"fasta": ">a\nMKV", "size": "3"}, "body: expected fasta, organism, found 'size'"),
        (
            {"fasta": "MKVLAAGIVG"},
            "fasta, line 1: expected a header that begins with '>', found 'MKVLAAGIVG'",
        ),
        ({"fasta": "BZh91AY&SY"}, "fasta: expected FASTA text, found bzip2 data"),
        ({"fasta": ">a\nMKV", "organism": "x"}, "organism: expected an organism of a known genus"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_its_reason(api: World, body: Any, detail: str) -> None:
    status, problem, _ = post(body)
    assert (status, problem["status"]) == (400, 400) and problem["detail"].startswith(detail)


def test_an_unknown_parameter_is_refused(api: World) -> None:
    assert post({"fasta": ">a\nMKVLAAGIVG\n"}, size="3")[0] == 400


def test_half_a_surrogate_is_one_letter_that_is_no_residue(api: World) -> None:
    (row,) = post('{"fasta": ">a\\nMKV\\ud800LAAGIVG\\n"}')[1]["predictions"]
    assert row["status"] == "rejected" and "residue 4" in row["reason"] and row["model_version"] is None


def test_the_version_that_is_active_is_asked(api: World) -> None:
    assert post({"fasta": ">a\nMKVLAAGIVG\n"})[1]["model_version"] == VERSION
    api.activate("test-2")
    assert post({"fasta": ">a\nMKVLAAGIVG\n"})[1]["model_version"] == "test-2"
