"""The API, asked through the events API Gateway sends."""

import json
from itertools import product
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

import functions.query
from functions.domain.upload import Counts, Ending
from functions.receive import receive
from tests.functions.test_events import Context, golden
from tests.functions.test_flow import fasta
from tests.functions.world import World


@pytest.fixture
def world(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(functions.query, "services", lambda: running_world.aws)
    return running_world


def get(path: str, **parameters: str) -> tuple[int, Any, dict[str, str]]:
    event = golden("api-get-upload") | {"path": path, "queryStringParameters": parameters or None}
    event["requestContext"] = event["requestContext"] | {"path": f"/v1{path}"}
    answer = functions.query.handler(event, Context())
    headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
    body = json.loads(answer["body"]) if answer["body"] else None
    return answer["statusCode"], body, headers


def walk(path: str, name: str, **parameters: str) -> list[dict[str, Any]]:
    """Every value of a list, following its links."""
    values: list[dict[str, Any]] = []
    while True:
        status, body, headers = get(path, **parameters)
        assert status == 200, body
        values += body[name]
        if "Link" not in headers:
            return values
        target, relation = headers["Link"].split(">; ")
        assert relation == 'rel="next"'
        url = urlsplit(target.removeprefix("<"))
        assert url.path == ""  # relative to the request, through any stage or domain of the API
        parameters = {key: texts[0] for key, texts in parse_qs(url.query).items()}


@pytest.mark.parametrize("size", ["1", "7", "500"])
def test_pages_lead_through_every_prediction_in_file_order(world: World, size: str) -> None:
    identity = world.run(world.upload(fasta(25)))
    rows = walk(f"/uploads/{identity}/predictions", "predictions", size=size)
    assert [row["accession"] for row in rows] == [f"P{number:05d}" for number in range(25)]
    assert rows[0]["p:Nucleus"] == world.rows(identity)[0]["p:Nucleus"]


def test_rows_that_an_older_release_indexed_have_every_column_of_today(world: World) -> None:
    identity = world.run(world.upload(b">a\nMKVLAAGGWLTRDEFHISPQYNCMKTLLVVAG*\n"))
    (row,) = world.rows(identity)
    table = world.database.Table("PredictionsTable")
    (item,) = table.scan()["Items"]
    older_item = {name: value for name, value in item.items() if name not in ("remarks", "uncertain")}
    table.put_item(Item=older_item | {"reason": "terminal * removed"})
    (indexed_row,) = walk(f"/uploads/{identity}/predictions", "predictions")
    assert indexed_row == row | {"upload": identity, "uncertain": None}
    assert (indexed_row["reason"], indexed_row["remarks"], indexed_row["second"]) == (
        None,
        ["terminal * removed"],
        row["second"],
    )


def test_predictions_of_one_location(world: World) -> None:
    identity = world.run(world.upload(fasta(40)))
    rows = walk(f"/uploads/{identity}/predictions", "predictions", location="Nucleus", size="3")
    expected = [row["accession"] for row in world.rows(identity) if row["location"] == "Nucleus"]
    assert [row["accession"] for row in rows] == expected and expected


def test_a_protein_is_found_across_uploads(world: World) -> None:
    uploads = {world.run(world.upload(fasta(3), key=key)) for key in ("one", "two")}
    rows = walk("/proteins/P00001", "predictions")
    assert {row["upload"] for row in rows} == uploads


def test_an_accession_with_a_slash_is_found(world: World) -> None:
    world.run(world.upload(b">a/b|c d\nMKVLAAGIVG\n"))
    assert len(walk("/proteins/a%2Fb%7Cc", "predictions")) == 1


ODD_ACCESSIONS = ("a/b", "a#b", "a%b", "50%25", "a%2Fb", "a?b", "ü", "a+b", 'a"b', "a//b/")
FORMS = ("encoded", "decoded", "path decoded", "parameter decoded")


def test_an_accession_is_found_in_both_forms_of_a_path(world: World) -> None:
    """Nobody documents whether API Gateway decodes the path and the parameter of an event."""
    for number in range(2):
        records = [f">{accession} {number}\nMKVLAAGIVG\n".encode() for accession in ODD_ACCESSIONS]
        world.run(world.upload(b"".join(records), key=str(number)))
    for accession, form in product(ODD_ACCESSIONS, FORMS):
        look_up_in_two_pages(accession, form)


def look_up_in_two_pages(accession: str, form: str) -> None:
    encoded = quote(accession, safe="")
    event = golden("api-get-upload") | {
        "resource": "/proteins/{accession}",
        "path": f"/proteins/{accession if form in ('decoded', 'path decoded') else encoded}",
        "pathParameters": {"accession": encoded if form in ("encoded", "path decoded") else accession},
        "queryStringParameters": {"size": "1"},
    }
    event["requestContext"] = event["requestContext"] | {"path": f"/v1/proteins/{encoded}"}
    answer = functions.query.handler(event, Context())
    assert answer["statusCode"] == 200, answer["body"]
    assert [row["accession"] for row in json.loads(answer["body"])["predictions"]] == [accession]
    target = urlsplit(answer["multiValueHeaders"]["Link"][0].partition(">")[0].removeprefix("<"))
    assert target.path == ""
    following = {name: values[0] for name, values in parse_qs(target.query).items()}
    answer = functions.query.handler(event | {"queryStringParameters": following}, Context())
    assert [row["accession"] for row in json.loads(answer["body"])["predictions"]] == [accession]


def test_uploads_are_listed_newest_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = []
    for minute in range(5):
        monkeypatch.setattr(
            "functions.services.uploads_table.now_iso",
            lambda minute=minute: f"2026-11-22T12:{minute:02d}:00Z",
        )
        uploads.append(world.run(world.upload(fasta(1), key=str(minute))))
    assert [item["upload"] for item in walk("/uploads", "uploads", size="2")] == uploads[::-1]


def test_uploads_of_one_second_are_listed_newest_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.services.uploads_table.now_iso", lambda: "2026-11-22T12:00:00Z")
    uploads = []
    for moment in range(8):
        monkeypatch.setattr(
            "functions.services.uploads_table.now_milliseconds",
            lambda moment=moment: 1_795_000_000_000 + moment,
        )
        uploads.append(receive(world.upload(fasta(1), key=str(moment)), world.aws))
    assert [item["upload"] for item in walk("/uploads", "uploads", size="3")] == uploads[::-1]


def test_an_upload_in_work_shows_how_far_it_is(world: World) -> None:
    identity = receive(world.upload(fasta(60)), world.aws)
    world.split_shards()
    _, body, _ = get(f"/uploads/{identity}")
    assert body["status"] == "running" and body["results"] is None
    assert body["progress"]["records_found"] == 60 and body["records"] == 0
    assert body["progress"]["shards_split"] == body["progress"]["shards"] > 1


@pytest.mark.parametrize(
    ("path", "parameters", "status", "detail"),
    [
        ("/uploads/none", {}, 404, "There is no such upload."),
        (f"/uploads/{'a' * 3000}", {}, 404, "There is no such upload."),
        (f"/models/{'a' * 3000}", {}, 404, "There is no such model version."),
        (f"/proteins/{'a' * 3000}", {}, 400, "accession: expected at most 100 characters, found 3,000"),
        ("/uploads", {"size": "000000001999"}, 400, "size: expected a number from 1 to 500"),
        ("/models/none", {}, 404, "There is no such model version."),
        ("/elsewhere", {}, 404, "There is nothing at this path."),
        ("/uploads", {"size": "0"}, 400, "size: expected a number from 1 to 500, found '0'"),
        ("/uploads", {"size": "٣"}, 400, "size: expected a number from 1 to 500, found '٣'"),
        ("/uploads", {"size": "9" * 5000}, 400, "size: expected a number from 1 to 500"),
        ("/uploads", {"locaton": "Nucleus"}, 400, "parameters: expected cursor, size, found 'locaton'"),
        ("/models", {"size": "1"}, 400, "parameters: expected none, found 'size'"),
        ("/uploads", {"cursor": "nonsense"}, 400, "cursor: expected a cursor from a Link header"),
        ("/uploads", {"cursor": "e30="}, 400, "cursor: expected a cursor from a Link header"),
    ],
)
def test_a_wrong_question_gets_a_problem_that_names_it(
    world: World, path: str, parameters: dict[str, str], status: int, detail: str
) -> None:
    code, body, headers = get(path, **parameters)
    assert (code, headers["Content-Type"]) == (status, "application/problem+json")
    assert body["detail"].startswith(detail) and body["status"] == status


def test_results_are_a_link_once_there_are_any(world: World) -> None:
    identity = receive(world.upload(fasta(3)), world.aws)
    assert identity
    assert get(f"/uploads/{identity}/results")[0] == 409
    world.finish(identity)
    status, _, headers = get(f"/uploads/{identity}/results", format="jsonl")
    assert status == 303 and f"results/{identity}/results.jsonl" in headers["Location"]
    assert get(f"/uploads/{identity}/results", format="xls")[0] == 400
    status, body, headers = get(f"/uploads/{identity}/results", format="jsonl", redirect="false")
    assert status == 200 and f"results/{identity}/results.jsonl" in body["url"] and "Location" not in headers
    assert get(f"/uploads/{identity}/results", redirect="no")[0] == 400


def test_an_upload_that_ended_without_results_says_why(world: World) -> None:
    identity = receive(world.upload(fasta(3)), world.aws)
    assert identity
    world.aws.uploads.set_finishing(identity, 1)
    world.aws.uploads.finish(
        identity, 1, Ending("failed", "they could not be written", Counts(3, 3), {}, {}, [])
    )
    status, body, _ = get(f"/uploads/{identity}/results")
    assert (status, body["detail"]) == (409, "The upload ended without results: they could not be written")


def test_models_say_which_one_is_active(world: World) -> None:
    table = world.database.Table("ModelsTable")
    for version, state in (("test-1", "in_service"), ("test-0", "failed")):
        item = {
            "pk": "version",
            "sk": version,
            "state": state,
            "created": f"2026-{version}",
            "metrics": '{"q10": 0.7}',
        }
        table.put_item(Item=item)
    _, body, _ = get("/models")
    assert body["active"] == "test-1"
    assert [(model["version"], model["active"]) for model in body["models"]] == [
        ("test-1", True),
        ("test-0", False),
    ]
    assert get("/models/test-0")[1]["metrics"] == {"q10": 0.7}


def test_a_page_that_ends_at_the_last_row_leads_to_no_other(world: World) -> None:
    identity = world.run(world.upload(fasta(25)))
    path = f"/uploads/{identity}/predictions"
    for parameters in ({"size": "25"}, {"size": "5"}, {"location": "Nucleus", "size": "1"}):
        rows = walk(path, "predictions", **parameters)
        pages, row_count, following = 0, 0, dict(parameters)
        while following:
            _, body, headers = get(path, **following)
            pages, row_count = pages + 1, row_count + len(body["predictions"])
            assert body["predictions"], "no page is empty"
            target = headers.get("Link", "").partition(">")[0].removeprefix("<?")
            following = {key: values[0] for key, values in parse_qs(target).items()}
        assert row_count == len(rows)
    for number in range(4):
        world.run(world.upload(fasta(1), key=str(number)))
    assert "Link" not in get("/uploads", size="5")[2] and "Link" in get("/uploads", size="4")[2]
    assert (
        "Link" not in get("/proteins/P00000", size="5")[2] and "Link" in get("/proteins/P00000", size="4")[2]
    )


def test_rows_are_filtered_and_cut_to_fields(world: World) -> None:
    identity = world.run(world.upload(fasta(30) + b">bad\nMK1V\n"))
    path, rows = f"/uploads/{identity}/predictions", world.rows(identity)
    table = world.database.Table("PredictionsTable")
    doubts = {"P00003": True, "P00004": False}  # this world's model has no threshold of its own
    for item in table.scan()["Items"]:
        if (accession := item["accession"]) in doubts:
            table.put_item(Item=item | {"uncertain": doubts[accession]})
    sure = sorted(row["confidence"] for row in rows if row["confidence"] is not None)[15]
    confident = [row for row in rows if row["confidence"] is not None and row["confidence"] >= round(sure, 4)]
    for parameters, expected in (
        ({"status": "rejected"}, ["bad"]),
        ({"uncertain": "true"}, ["P00003"]),
        ({"uncertain": "false"}, ["P00004"]),
        ({"confidence": f"{sure:.4f}"}, [row["accession"] for row in confident]),
        (
            {"location": "Nucleus", "confidence": f"{sure:.4f}"},
            [row["accession"] for row in confident if row["location"] == "Nucleus"],
        ),
    ):
        for size in ("2", "500"):
            matching = walk(path, "predictions", size=size, **parameters)
            assert [row["accession"] for row in matching] == expected, parameters
    matching = walk(path, "predictions", fields="accession,p:Nucleus", size="7")
    assert matching == [{name: row[name] for name in ("accession", "p:Nucleus")} for row in rows]
    assert walk("/proteins/P00001", "predictions", fields="upload") == [{"upload": identity}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("confidence", "2"),
        ("confidence", "nan"),
        ("status", "done"),
        ("uncertain", "1"),
        ("fields", "accession,x"),
    ],
)
def test_a_filter_that_is_none_is_refused_by_its_name(world: World, name: str, value: str) -> None:
    identity = world.run(world.upload(fasta(1)))
    status, body, _ = get(f"/uploads/{identity}/predictions", **{name: value})
    assert status == 400 and body["detail"].startswith(f"{name}: expected ")


def test_an_answer_that_the_caller_has_is_not_sent_again(world: World) -> None:
    identity = world.run(world.upload(fasta(3)))
    event = golden("api-get-upload") | {"path": f"/uploads/{identity}", "queryStringParameters": None}
    first = functions.query.handler(event, Context())
    (tag,) = first["multiValueHeaders"]["ETag"]
    assert tag.startswith("W/")  # compressed, its bytes are others
    for header in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = functions.query.handler(event | {"headers": {"If-None-Match": header}}, Context())
        assert (again["statusCode"], again["body"]) == (304, "")
        assert again["multiValueHeaders"]["ETag"] == [tag]
    again = functions.query.handler(event | {"headers": {"if-none-match": '"other"'}}, Context())
    assert again["statusCode"] == 200
