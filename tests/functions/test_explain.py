"""An answer is explained by the model version that gave it, once, from the upload's own text."""

import gzip
import json
from typing import Any

import pytest

import functions.explain
from functions.domain.errors import BrokenContract, EndpointRefused, EndpointTimedOut
from functions.domain.explanation import Explanation, Unexplained, read_explanation, spread_out
from functions.domain.upload import text_key
from functions.receive import receive
from tests.functions.test_events import Context, golden, logs_of
from tests.functions.test_flow import fasta
from tests.functions.world import VERSION, World, unavailable

BODY = b"; a comment\r\n>first one\r\nMKVLAAGIVG\r\n\r\n>bad\r\nMK1V\r\n  >low\r\nwkvlaa\r\ngivgmkv*\r\n>first one\r\nMKVLAAGIVG\r\n"
OFFSETS = [BODY.index(b">first"), BODY.index(b">bad"), BODY.index(b">low"), BODY.rindex(b">first")]


@pytest.fixture
def api(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(functions.explain, "services", lambda: running_world.aws)
    return running_world


def ask(upload: str, offset: object, **parameters: str) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of a request for an explanation."""
    path = f"/uploads/{upload}/predictions/{offset}/explanation"
    event = golden("api-get-upload") | {
        "path": path,
        "pathParameters": {"upload": upload, "offset": str(offset)},
        "queryStringParameters": parameters or None,
    }
    answer = functions.explain.handler(event, Context())
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def refused(upload: str, offset: object, **parameters: str) -> tuple[int, str]:
    """Status and reason of a request that must get an RFC 9457 problem."""
    status, body, headers = ask(upload, offset, **parameters)
    assert headers["Content-Type"] == "application/problem+json" and body["status"] == status
    return status, body["detail"]


def test_each_row_is_explained_by_the_place_that_it_names(api: World) -> None:
    upload = api.run(api.upload(BODY))
    for row in api.rows(upload):
        status, body, _ = ask(upload, row["offset"])
        if row["status"] != "predicted":
            assert status == 409 and row["reason"].split(": ", 1)[1] in body["detail"]
            continue
        assert status == 200
        assert (body["upload"], body["offset"], body["accession"]) == (
            upload,
            row["offset"],
            row["accession"],
        )
        assert body["location"] == row["location"] and body["model_version"] == VERSION
        assert len(body["sequence"]) == len(body["importance"]) == row["length"]
        assert body["marked"] == [1]
    assert [row["offset"] for row in api.rows(upload)] == OFFSETS


def test_the_model_is_asked_once_about_a_sequence_whatever_upload_it_is_in(api: World) -> None:
    one, other = api.run(api.upload(BODY)), api.run(api.upload(BODY, key="again.fasta"))
    calls = api.model.calls
    answers = [ask(upload, offset)[1] for upload in (one, other) for offset in (OFFSETS[0], OFFSETS[3])]
    assert api.model.calls == calls + 1
    assert len({json.dumps(answer["importance"]) for answer in answers}) == 1


def test_the_version_that_an_upload_pinned_explains_it_after_another_became_active(api: World) -> None:
    upload = api.run(api.upload(BODY))
    api.activate("test-2")
    later = api.run(api.upload(BODY, key="later.fasta"))
    assert ask(upload, OFFSETS[0])[1]["model_version"] == VERSION
    assert ask(later, OFFSETS[0])[1]["model_version"] == "test-2"


def test_a_protein_beyond_the_first_shard_is_found(api: World) -> None:
    body = fasta(80) + b">last\nMKVLASTLAST\n"
    upload = api.run(api.upload(body))
    assert ask(upload, body.index(b">last"))[1]["sequence"] == "MKVLASTLAST"


def test_a_compressed_upload_is_explained_from_its_text_until_that_expires(api: World) -> None:
    upload = api.run(api.upload(gzip.compress(BODY), key="a.fasta.gz"))
    assert ask(upload, OFFSETS[2])[1]["sequence"] == "WKVLAAGIVGMKV"
    for version in api.s3.list_object_versions(Bucket="results", Prefix=text_key(upload))["Versions"]:
        api.s3.delete_object(Bucket="results", Key=version["Key"], VersionId=version["VersionId"])
    status, reason = refused(upload, OFFSETS[0])
    assert status == 410 and "no longer there" in reason


def test_an_upload_whose_file_was_overwritten_is_explained_from_what_was_sent(api: World) -> None:
    upload = api.run(api.upload(BODY))
    api.upload(b">other\nWWWWWWWWWW\n")
    assert ask(upload, OFFSETS[0])[1]["sequence"] == "MKVLAAGIVG"


@pytest.mark.parametrize("offset", [0, OFFSETS[0] + 1, len(BODY), 10**15 - 1])
def test_a_byte_at_which_no_record_begins_is_not_there(api: World, offset: int) -> None:
    upload = api.run(api.upload(BODY))
    assert refused(upload, offset)[0] == 404


def test_an_upload_that_is_unknown_or_not_read_yet_is_not_there(api: World) -> None:
    assert refused("a" * 26, 0)[0] == refused("a" * 3_000, 0)[0] == 404
    nothing = api.run(api.upload(b"no fasta"))
    assert refused(nothing, 0)[0] == 404


@pytest.mark.parametrize("offset", ["-1", "one", "1e3", "%31", "9" * 16, ""])
def test_a_place_that_is_no_number_is_refused(api: World, offset: str) -> None:
    status, reason = refused("a" * 26, offset)
    assert status == 400 and reason.startswith("offset: expected the byte")


def test_an_unknown_parameter_is_refused(api: World) -> None:
    assert refused("a" * 26, 0, size="3")[0] == 400


def test_a_model_that_is_not_there_is_asked_for_later(api: World) -> None:
    upload = api.run(api.upload(BODY))
    api.model.trouble = unavailable
    status, body, headers = ask(upload, OFFSETS[0])
    assert (status, headers["Retry-After"]) == (503, "60") and body["title"] == "Service Unavailable"
    api.model.trouble = lambda sequences: None
    assert ask(upload, OFFSETS[0])[0] == 200


def test_a_model_that_takes_too_long_says_so(api: World) -> None:
    def slow(_sequences: list[str]) -> None:
        raise EndpointTimedOut("no answer in time")

    upload = api.run(api.upload(BODY))
    api.model.trouble = slow
    status, body, headers = ask(upload, OFFSETS[0])
    assert status == 503 and "too long" in body["detail"] and "Retry-After" in headers


@pytest.mark.parametrize("error", [EndpointRefused("status 500"), BrokenContract("nonsense")])
def test_a_model_that_fails_tells_nobody_why(api: World, error: Exception) -> None:
    def fail(_sequences: list[str]) -> None:
        raise error

    upload = api.run(api.upload(BODY))
    api.model.trouble = fail
    status, reason = refused(upload, OFFSETS[0])
    assert status == 502 and str(error) not in reason


def test_a_version_that_was_taken_down_is_not_asked(api: World) -> None:
    upload = api.run(api.upload(BODY))
    item = {"pk": "version", "sk": VERSION, "state": "retired"}
    api.database.Table("ModelsTable").put_item(Item=item)
    calls = api.model.calls
    status, reason = refused(upload, OFFSETS[0])
    assert status == 409 and VERSION in reason and api.model.calls == calls


def test_a_record_in_which_a_damaged_file_stops_has_no_explanation(api: World) -> None:
    whole = gzip.compress(
        b"".join(b">p%d\nMKVLAAGIVG%s\n" % (n, b"ACDEFGHIKL" * (n % 7)) for n in range(900)), 1
    )
    upload = api.run(api.upload(whole[: len(whole) // 2], key="cut.fasta.gz"))
    last = max(api.rows(upload), key=lambda row: row["offset"])
    assert last["status"] == "rejected"
    status, reason = refused(upload, last["offset"])
    assert status == 409 and "incomplete" in reason


def test_no_sequence_is_logged(api: World) -> None:
    upload = api.run(api.upload(BODY))
    with logs_of(functions.explain.logger) as lines:
        ask(upload, OFFSETS[0])
        ask(upload, OFFSETS[1])
        api.model.trouble = unavailable
        ask(upload, OFFSETS[2])
    printed = lines.getvalue()
    assert "asking for an explanation" in printed
    assert "MKVLAAGIVG" not in printed and "WKVLAAGIVGMKV" not in printed


def test_an_upload_in_work_is_explained_as_far_as_it_is_read(api: World) -> None:
    upload = receive(api.upload(BODY), api.aws)
    assert upload
    assert ask(upload, OFFSETS[0])[0] == 200


GOOD: dict[str, Any] = {
    "location": "Nucleus",
    "probability": 0.9,
    "window": 3,
    "importance": [0.5, 0.25, 0.0],
    "test": {"marked": [0, 2], "without_marked": 0.1, "without_others": 0.8},
}


def body(explanation: object, **more: Any) -> bytes:
    """The endpoint's answer for MKV with this explanation."""
    whole = golden("endpoint-answer")
    prediction = {"probabilities": whole["predictions"][0]["probabilities"], "membrane": None}
    prediction |= {"residues_read": 3, "truncated": False, "explanation": explanation} | more
    return json.dumps(whole | {"predictions": [prediction]}).encode()


def read(answer: bytes) -> Explanation:
    return read_explanation(answer, sequence="MKV", model_version="small-2026-11-22")


def test_an_explanation_is_read_as_it_was_agreed() -> None:
    assert read(body(GOOD)) == Explanation("Nucleus", 0.9, 3, (0.5, 0.25, 0.0), (0, 2), 0.1, 0.8)


@pytest.mark.parametrize(
    "wrong",
    [
        "yes",
        {},
        GOOD | {"location": "Moon"},
        GOOD | {"probability": 1.5},
        GOOD | {"probability": float("nan")},
        GOOD | {"importance": [0.5, 0.25]},
        GOOD | {"importance": [0.5, 0.25, float("inf")]},
        GOOD | {"window": 0},
        GOOD | {"test": {"marked": [3], "without_marked": 0.1, "without_others": 0.8}},
        GOOD | {"test": {"marked": ["x"], "without_marked": 0.1, "without_others": 0.8}},
        GOOD | {"test": None},
    ],
)
def test_an_explanation_that_was_not_agreed_is_refused(wrong: object) -> None:
    with pytest.raises(BrokenContract):
        read(body(wrong))


def test_a_model_without_explanations_or_an_answer_has_none() -> None:
    without = json.loads(body(GOOD))
    del without["predictions"][0]["explanation"]
    for answer, reason in (
        (json.dumps(without).encode(), "before answers could be explained"),
        (body(None), "a part of it hidden"),
        (json.dumps(without | {"predictions": [{"error": "no"}]}).encode(), "gives no answer"),
    ):
        with pytest.raises(Unexplained, match=reason):
            read(answer)


@pytest.mark.parametrize(("length", "read_"), [(6, 6), (7, 5), (9, 4), (3, 1)])
def test_places_of_a_long_protein_are_those_of_the_whole(length: int, read_: int) -> None:
    sequence = "".join(chr(ord("A") + place) for place in range(length))
    tail = read_ // 2
    seen = sequence[: read_ - tail] + sequence[length - tail :]
    importance = tuple(float(ord(letter)) for letter in seen)
    whole = spread_out(Explanation("Nucleus", 0.9, 1, importance, tuple(range(read_)), 0, 0), sequence)
    assert [sequence[place - 1] for place in whole["marked"]] == list(seen)
    for letter, value in zip(sequence, whole["importance"], strict=True):
        assert value == (float(ord(letter)) if letter in seen else None)
