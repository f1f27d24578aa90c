"""Another attempt at the failed records: exactly those, once, even if a delivery repeats, dies or comes late."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import functions.complete
import functions.retry
from functions.complete import complete
from functions.domain.errors import EndpointRefused, InputError, Missing
from functions.domain.upload import MAX_ATTEMPTS, MAX_SHARDS, Shard, first_shard
from functions.predict import predict
from functions.receive import receive
from functions.retry import NothingToRetry, retry
from functions.services.failures import Failures
from functions.services.uploads_table import UploadsTable
from functions.split import split_or_abandon
from functions.sweep import bury, move
from tests.functions.test_events import Context, golden
from tests.functions.test_flow import fasta
from tests.functions.versions import version
from tests.functions.world import World, answer_for


def poison(*sequences: str) -> Callable[[list[str]], None]:
    def trouble(asked: list[str]) -> None:
        if set(asked) & set(sequences):
            raise EndpointRefused("the model failed with status 500")

    return trouble


def mended(_sequences: list[str]) -> None:
    pass


BODY = fasta(60) + b">bad\nMK1V\n"
SEQUENCES = [line.decode() for line in fasta(60).splitlines()[1::2]]
POISON = [SEQUENCES[7], SEQUENCES[31], SEQUENCES[52]]


@pytest.fixture
def failed_upload(running_world: World) -> str:
    """An upload of 61 records of which three failed and one was rejected."""
    running_world.model.trouble = poison(*POISON)
    identity = running_world.run(running_world.upload(BODY))
    assert counts(running_world, identity) == ("partial", 61, 57, 1, 3)
    running_world.model.trouble = mended
    running_world.model.asked.clear()
    return identity


def counts(world: World, identity: str) -> tuple[Any, ...]:
    item = world.item(identity)
    return item["status"], item["records"], item["predicted"], item["rejected"], item["failed"]


def exported_rows(world: World, identity: str, name: str = "jsonl") -> list[dict[str, Any]]:
    key = world.item(identity)["results"][name]
    body = world.s3.get_object(Bucket="results", Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def indexed_rows(world: World, identity: str) -> list[dict[str, Any]]:
    shards = range(world.item(identity)["shards"])
    return [row for shard in shards for row in world.aws.predictions.page(identity, shard, 500, None)[0]]


def test_just_what_failed_is_asked_again_and_all_is_exact(running_world: World, failed_upload: str) -> None:
    before = exported_rows(running_world, failed_upload)
    retry(failed_upload, "2", running_world.aws)
    assert running_world.status(failed_upload) == "running"
    running_world.finish(failed_upload)
    assert sorted(running_world.model.asked) == sorted(POISON)
    assert counts(running_world, failed_upload) == ("complete", 61, 60, 1, 0)
    after = exported_rows(running_world, failed_upload)
    assert [row["accession"] for row in after] == [row["accession"] for row in before]
    changed = [row for row, old in zip(after, before, strict=True) if row != old]
    assert [row["accession"] for row in changed] == ["P00007", "P00031", "P00052"]
    assert {row["status"] for row in changed} == {"predicted"}
    assert [row["status"] for row in indexed_rows(running_world, failed_upload)].count("predicted") == 60
    assert len(indexed_rows(running_world, failed_upload)) == 61
    item = running_world.item(failed_upload)
    assert (item["attempts"], item["reason"], "open" in item) == (2, "", False)
    assert item["progress"]["records_found"] == 61
    assert item["progress"]["batches"] == item["progress"]["batches_done"]


def test_the_results_of_both_attempts_stay_and_each_is_announced(
    running_world: World, failed_upload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    details: list[dict[str, Any]] = []
    put_events = running_world.aws.events.put_events
    monkeypatch.setattr(
        running_world.aws.events,
        "put_events",
        lambda **call: details.append(call["Entries"][0]) or put_events(**call),
    )
    first = exported_rows(running_world, failed_upload)
    retry(failed_upload, "2", running_world.aws)
    running_world.finish(failed_upload)
    complete(failed_upload, running_world.aws)
    (detail,) = (json.loads(entry["Detail"]) for entry in details)
    assert (detail["attempts"], detail["status"], detail["failed"]) == (2, "complete", 0)
    assert running_world.rows(failed_upload) == first
    uri = detail["results"]["manifest"]
    manifest = json.loads(
        running_world.s3.get_object(Bucket="results", Key=uri.removeprefix("s3://results/"))["Body"].read()
    )
    assert (manifest["attempts"], manifest["predicted"], manifest["failed"]) == (2, 60, 0)


def test_a_retry_of_a_retry_asks_only_what_failed_twice(running_world: World, failed_upload: str) -> None:
    running_world.model.trouble = poison(POISON[1])
    retry(failed_upload, "2", running_world.aws)
    running_world.finish(failed_upload)
    assert counts(running_world, failed_upload) == ("partial", 61, 59, 1, 1)
    running_world.model.trouble = mended
    running_world.model.asked.clear()
    retry(failed_upload, "3", running_world.aws)
    running_world.finish(failed_upload)
    assert running_world.model.asked == [POISON[1]]
    assert counts(running_world, failed_upload) == ("complete", 61, 60, 1, 0)
    assert exported_rows(running_world, failed_upload)[31]["location"] == answer_for(POISON[1]).location


def test_a_retry_that_fails_again_says_so_with_its_new_reason(
    running_world: World, failed_upload: str
) -> None:
    retry(failed_upload, "2", running_world.aws)
    running_world.split_shards()
    for message in running_world.take(running_world.aws.batches_queue):
        running_world.aws.batches_dead_letters.send(message)
    bury(running_world.aws, Failures())
    running_world.complete(failed_upload)
    assert counts(running_world, failed_upload) == ("partial", 61, 57, 1, 3)
    reasons = [
        row["reason"] for row in exported_rows(running_world, failed_upload) if row["status"] == "failed"
    ]
    assert len(reasons) == 3 and all("again and again" in reason for reason in reasons)
    listed = [
        row["reason"] for row in indexed_rows(running_world, failed_upload) if row["status"] == "failed"
    ]
    assert len(listed) == 3 and all("again and again" in reason for reason in listed)


def test_an_outage_past_the_deadline_can_be_retried(running_world: World) -> None:
    identity = receive(running_world.upload(BODY), running_world.aws)
    assert identity
    move(replace(running_world.aws.uploads.get(identity), deadline=0), running_world.aws)
    running_world.finish(identity)
    assert counts(running_world, identity) == ("partial", 61, 0, 1, 60)
    retry(identity, "2", running_world.aws)
    running_world.finish(identity)
    assert counts(running_world, identity) == ("complete", 61, 60, 1, 0)


def test_asking_twice_begins_one_attempt(running_world: World, failed_upload: str) -> None:
    retry(failed_upload, "2", running_world.aws)
    retry(failed_upload, "2", running_world.aws)
    running_world.finish(failed_upload)
    retry(failed_upload, "2", running_world.aws)
    assert running_world.take(running_world.aws.shards_queue) == []
    assert sorted(running_world.model.asked) == sorted(POISON)
    assert running_world.item(failed_upload)["attempts"] == 2


def test_a_retry_that_died_before_it_sent_anything_is_sent_by_the_next_or_by_sweep(
    running_world: World, failed_upload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("functions.retry.UploadRecord.tasks", _die)
        with pytest.raises(KeyboardInterrupt):
            retry(failed_upload, "2", running_world.aws)
    (upload,) = running_world.aws.uploads.open_uploads()
    assert move(replace(upload, updated=0), running_world.aws)
    swept = running_world.take(running_world.aws.shards_queue)
    retry(failed_upload, "2", running_world.aws)
    again = running_world.take(running_world.aws.shards_queue)
    assert [message["shard"] for message in swept] == [message["shard"] for message in again]
    for message in again:
        running_world.aws.shards_queue.send(message)
    running_world.finish(failed_upload)
    assert counts(running_world, failed_upload) == ("complete", 61, 60, 1, 0)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_late_messages_of_the_first_attempt_change_nothing_of_the_second(running_world: World) -> None:
    """Every message of the first attempt comes once more, at every point of the second."""
    world = running_world
    event = world.upload(BODY)
    world.model.trouble = poison(*POISON)
    identity = receive(event, world.aws)
    assert identity
    shards = world.take(world.aws.shards_queue)
    for message in shards:
        world.aws.shards_queue.send(message)
    world.split_shards()
    batches = world.take(world.aws.batches_queue)
    for message in batches:
        predict(message, world.aws)
    world.complete(identity)
    world.model.trouble = mended

    def haunt() -> None:
        old = world.item(identity) | {"attempts": 1}
        receive(event, world.aws)
        for message in shards:
            split_or_abandon(Shard.from_message(message), world.aws.uploads.get(identity), world.aws)
        for message in batches:
            _as_if_not_done(world, message)
            world.aws.batches_dead_letters.send(message)
        bury(world.aws, Failures())
        world.aws.uploads.set_finishing(identity, 1)
        world.aws.uploads.set_announced(identity, 1)
        for shard in shards:
            world.aws.uploads.abandon_shard(Shard.from_message(shard), "gone")
        assert not old or world.item(identity).get("attempts") == 2

    retry(identity, "2", world.aws)
    haunt()
    assert world.status(identity) == "running"
    world.split_shards()
    haunt()
    assert world.status(identity) == "running"
    for message in world.take(world.aws.batches_queue):
        predict(message, world.aws)
        haunt()
        world.complete(identity)
    haunt()
    assert counts(world, identity) == ("complete", 61, 60, 1, 0)
    assert [row["status"] for row in indexed_rows(world, identity)].count("failed") == 0
    assert len(exported_rows(world, identity)) == 61
    assert "announced" in world.item(identity)


@pytest.mark.parametrize("second_is", ["running", "finishing"])
@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (functions.complete, "_write_results"),
        (UploadsTable, "finish"),
        (functions.complete, "_announce"),
        (UploadsTable, "set_announced"),
    ],
)
def test_a_late_complete_of_the_first_attempt_changes_nothing_of_the_second(
    running_world: World, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, second_is: str
) -> None:
    """It is suspended before a step; another one does its work, and a retry begins, before it goes on."""
    world = running_world
    details: list[dict[str, Any]] = []

    def tell(**call: Any) -> dict[str, Any]:
        details.append(json.loads(call["Entries"][0]["Detail"]))
        return {"FailedEntryCount": 0}

    monkeypatch.setattr(world.aws.events, "put_events", tell)
    world.model.trouble = poison(*POISON)
    identity = receive(world.upload(BODY), world.aws)
    assert identity
    _predict_all(world)
    world.model.trouble = mended
    go_on = getattr(owner, step)
    second: list[dict[str, Any]] = []

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(owner, step, go_on)
        complete(identity, world.aws)
        assert counts(world, identity) == ("partial", 61, 57, 1, 3)
        retry(identity, "2", world.aws)
        if second_is == "finishing":
            _predict_all(world)
        second.append(world.item(identity))
        return go_on(*arguments)

    monkeypatch.setattr(owner, step, late)
    complete(identity, world.aws)
    assert second == [world.item(identity)]
    assert (second[0]["status"], second[0]["attempts"], "announced" in second[0]) == (second_is, 2, False)
    assert (
        len(details) <= 2 and all(detail == details[0] for detail in details) and details[0]["attempts"] == 1
    )
    assert [row["status"] for row in world.rows(identity)].count("failed") == 3
    world.finish(identity)
    world.complete(identity)
    assert counts(world, identity) == ("complete", 61, 60, 1, 0)
    assert (details[-1]["attempts"], details[-1]["status"]) == (2, "complete")
    assert list(world.aws.uploads.open_uploads()) == []


def _predict_all(world: World) -> None:
    world.split_shards()
    world.predict_batches()


def _as_if_not_done(world: World, message: dict[str, Any]) -> None:
    """A delivery that had looked for the marker before there was one."""
    looked, world.aws.uploads.batch_is_done = world.aws.uploads.batch_is_done, lambda *_: False  # type: ignore
    try:
        predict(message, world.aws)
    finally:
        world.aws.uploads.batch_is_done = looked  # type: ignore


def test_a_compressed_upload_is_retried_after_its_text_has_expired(running_world: World) -> None:
    running_world.model.trouble = poison(*POISON)
    identity = running_world.run(running_world.upload(gzip.compress(BODY), key="a.gz"))
    running_world.model.trouble = mended
    running_world.s3.delete_object(Bucket="results", Key=f"work/{identity}/text")
    retry(identity, "2", running_world.aws)
    running_world.finish(identity)
    assert counts(running_world, identity) == ("complete", 61, 60, 1, 0)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_retry_of_a_file_that_is_gone_ends_as_it_was_and_says_why(
    running_world: World, pack: Callable[[bytes], bytes]
) -> None:
    running_world.model.trouble = poison(*POISON)
    event = running_world.upload(pack(BODY))
    identity = running_world.run(event)
    version = event["detail"]["object"]["version-id"]
    running_world.s3.delete_object(Bucket="uploads", Key="a.fasta", VersionId=version)
    running_world.s3.delete_object(Bucket="results", Key=f"work/{identity}/text")
    retry(identity, "2", running_world.aws)
    running_world.finish(identity)
    assert counts(running_world, identity) == ("partial", 61, 57, 1, 3)
    item = running_world.item(identity)
    assert item["reason"] == "the file was deleted before it was read"
    assert len(exported_rows(running_world, identity)) == 61


def test_a_file_deleted_after_it_was_read_costs_nothing(running_world: World) -> None:
    """A shard that is delivered again finds no file, but has sent all its batches."""
    event = running_world.upload(BODY)
    identity = receive(event, running_world.aws)
    assert identity
    shards = running_world.take(running_world.aws.shards_queue)
    for message in shards + shards:
        running_world.aws.shards_queue.send(message)
    upload = running_world.aws.uploads.get(identity)
    for message in shards:
        split_or_abandon(Shard.from_message(message), upload, running_world.aws)
    running_world.s3.delete_object(
        Bucket="uploads", Key="a.fasta", VersionId=event["detail"]["object"]["version-id"]
    )
    batches = running_world.take(running_world.aws.batches_queue)
    for message in batches:
        predict(message, running_world.aws)
        running_world.complete(identity)
    running_world.finish(identity)
    assert counts(running_world, identity) == ("complete", 61, 60, 1, 0)


def test_a_refused_retry_says_why(running_world: World, failed_upload: str) -> None:
    aws = running_world.aws
    fine = running_world.run(running_world.upload(fasta(3), key="fine"))
    with pytest.raises(NothingToRetry, match="no record of the upload failed"):
        retry(fine, "2", aws)
    with pytest.raises(NothingToRetry, match="expected 2 as the next attempt, found 3"):
        retry(failed_upload, "3", aws)
    for strange in ("1", "0", "-2", "two", "²", str(MAX_ATTEMPTS + 1)):
        with pytest.raises(InputError, match="attempt: expected a number from 2"):
            retry(failed_upload, strange, aws)
    with pytest.raises(Missing):
        retry("nobody", "2", aws)
    working = receive(running_world.upload(fasta(3), key="working"), aws)
    assert working
    with pytest.raises(NothingToRetry, match="still in work"):
        retry(working, "2", aws)
    retry(failed_upload, "2", aws)
    with pytest.raises(NothingToRetry, match="still in work"):
        retry(failed_upload, "3", aws)


def test_the_api_takes_a_retry_and_says_where_to_look(
    running_world: World, failed_upload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions.retry, "services", lambda: running_world.aws)

    def put(upload: str, attempt: str) -> tuple[int, Any, str | None]:
        path = f"/uploads/{upload}/attempts/{attempt}"
        event = golden("api-get-upload") | {
            "httpMethod": "PUT",
            "path": path,
            "pathParameters": {"upload": upload, "attempt": attempt},
        }
        event["requestContext"] = event["requestContext"] | {"path": f"/v1{path}"}
        answer = functions.retry.handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"].get("Location")

    accepted = (
        202,
        {"upload": failed_upload, "status": "running", "attempts": 2},
        f"/v1/uploads/{failed_upload}",
    )
    assert put(failed_upload, "2") == accepted
    assert put(failed_upload, "2") == accepted
    for upload, attempt, status in (
        (failed_upload, "3", 409),
        (failed_upload, "x", 400),
        ("nobody", "2", 404),
    ):
        code, problem, _ = put(upload, attempt)
        assert (code, problem["status"]) == (status, status) and problem["detail"]


def test_the_numbers_of_all_attempts_fit_their_keys() -> None:
    last = (MAX_ATTEMPTS - 1) * MAX_SHARDS + MAX_SHARDS - 1
    assert last < 100_000 and first_shard(last) == MAX_SHARDS - 1


def test_an_upload_of_before_there_were_retries_is_retried(
    running_world: World, failed_upload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: UploadsTable = running_world.aws.uploads
    for marker in list(table._markers(failed_upload, "batch#")):
        table.table.update_item(Key={"pk": marker["pk"], "sk": marker["sk"]}, UpdateExpression="REMOVE #f", ExpressionAttributeNames={"#f": "first"})  # fmt: skip
    retry(failed_upload, "2", running_world.aws)
    running_world.finish(failed_upload)
    assert counts(running_world, failed_upload) == ("complete", 61, 60, 1, 0)


def test_an_upload_of_a_retired_version_is_not_retried(running_world: World) -> None:
    world = running_world
    identity = world.run(world.upload(fasta(3)))
    world.database.Table("UploadsTable").update_item(
        Key={"pk": identity, "sk": "upload"},
        UpdateExpression="SET failed = :one",
        ExpressionAttributeValues={":one": 1},
    )
    version(world, "test-1", "retired")
    with pytest.raises(NothingToRetry, match="test-1 is no longer there"):
        retry(identity, "2", world.aws)
    version(world, "test-1")
    assert retry(identity, "2", world.aws).status == "running"
