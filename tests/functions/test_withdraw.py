"""Uploads that are taken back: cancelled with exact counts, or deleted without a trace, even if a process dies or comes late."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

import functions.withdraw
from functions.complete import complete
from functions.domain.errors import Missing, UploadDeleted
from functions.domain.upload import CANCELLED, Shard
from functions.erase import SETTLED_SECONDS, erase
from functions.predict import predict
from functions.receive import receive
from functions.retry import retry
from functions.services.failures import Failures
from functions.services.queues import Queue
from functions.split import inflate, split_or_abandon
from functions.sweep import bury, move, receive_lost
from functions.withdraw import NothingToCancel, cancel, delete
from tests.functions.dying import MOMENTS, Died, dying
from tests.functions.test_events import Context, golden
from tests.functions.test_flow import fasta
from tests.functions.test_retry import BODY, counts, exported_rows, indexed_rows
from tests.functions.world import World, unavailable


def in_work(world: World, body: bytes = BODY) -> str:
    """An upload of which the first batch is done, and the others wait in the queue."""
    identity = receive(world.upload(body), world.aws)
    assert identity
    world.split_shards()
    first, *others = world.take(world.aws.batches_queue)
    predict(first, world.aws)
    for message in others:
        world.aws.batches_queue.send(message)
    world.model.asked.clear()
    return identity


def ends(details: list[dict[str, Any]], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note each event that tells of an end."""

    def put_events(Entries: list[dict[str, str]]) -> dict[str, int]:  # noqa: N803 - boto3's name
        details.extend(json.loads(entry["Detail"]) for entry in Entries)
        return {"FailedEntryCount": 0}

    monkeypatch.setattr(world.aws.events, "put_events", put_events)


def test_a_cancelled_upload_asks_no_more_and_counts_every_record(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    details: list[dict[str, Any]] = []
    ends(details, running_world, monkeypatch)
    identity = in_work(running_world)
    answered = running_world.aws.uploads.account(running_world.aws.uploads.get(identity))[0]
    assert cancel(identity, running_world.aws).status == "running"
    assert cancel(identity, running_world.aws).cancelled
    running_world.finish(identity)
    assert running_world.model.asked == []
    rows = exported_rows(running_world, identity)
    unanswered = [row for row in rows if row["status"] == "failed"]
    assert {row["reason"].split(": ", 1)[1] for row in unanswered} == {CANCELLED}
    status, records, predicted, rejected, failed = counts(running_world, identity)
    assert (status, records, predicted) == ("cancelled", 61, answered.predicted)
    assert 0 < predicted < 60 and predicted + rejected + failed == 61 == len(rows) and rejected == 1
    assert running_world.item(identity)["reason"] == f"cancelled; {failed} of 61 records have no answer"
    assert len(indexed_rows(running_world, identity)) == 61
    assert [(each["status"], each["failed"]) for each in details] == [("cancelled", failed)]
    assert list(running_world.aws.uploads.open_uploads()) == []


def test_a_cancelled_upload_ends_without_a_model_to_wait_for(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_world.model.trouble = unavailable
    identity = receive(running_world.upload(BODY), running_world.aws)
    assert identity
    running_world.split_shards()
    waiting: list[dict[str, Any]] = []
    with monkeypatch.context() as delayed:
        delayed.setattr(Queue, "send", lambda _queue, message, _delay: waiting.append(message))
        running_world.predict_batches()
    assert len(waiting) >= 3
    cancel(identity, running_world.aws)
    for message in waiting:
        predict(message, running_world.aws)
    complete(identity, running_world.aws)
    assert counts(running_world, identity) == ("cancelled", 61, 0, 1, 60)


def test_known_answers_are_kept_when_an_upload_is_cancelled(running_world: World) -> None:
    running_world.run(running_world.upload(BODY, key="before"))
    identity = receive(running_world.upload(BODY), running_world.aws)
    assert identity
    cancel(identity, running_world.aws)
    running_world.finish(identity)
    assert counts(running_world, identity) == ("cancelled", 61, 60, 1, 0)
    assert running_world.item(identity)["reason"] == "cancelled when every record had ended"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_upload_that_is_cancelled_unread_ends_at_once(
    empty_world: World, pack: Callable[[bytes], bytes]
) -> None:
    """It waits for a model version, or to be decompressed; messages on their way then change nothing."""
    if pack is not bytes:
        empty_world.activate()
    event = empty_world.upload(pack(BODY))
    identity = receive(event, empty_world.aws)
    assert identity and empty_world.status(identity) == "receiving"
    cancel(identity, empty_world.aws)
    empty_world.activate()
    assert receive(event, empty_world.aws) == identity
    empty_world.finish(identity)
    assert counts(empty_world, identity) == ("cancelled", 0, 0, 0, 0)
    assert empty_world.item(identity)["reason"] == "cancelled before the file was read"
    assert not empty_world.s3.list_objects_v2(Bucket="results", Prefix="work/").get("Contents")
    assert list(empty_world.aws.uploads.open_uploads()) == []


def test_a_batch_that_is_answered_while_its_upload_is_cancelled_counts_once(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is asked, the upload is cancelled and the batch ended; then the answer comes."""
    identity = in_work(running_world)
    message, *others = running_world.take(running_world.aws.batches_queue)

    def cancelled_meanwhile(_sequences: list[str]) -> None:
        running_world.model.trouble = lambda _: None
        cancel(identity, running_world.aws)
        predict(message, running_world.aws)

    running_world.model.trouble = cancelled_meanwhile
    for each in (message, *others):
        predict(each, running_world.aws)
    complete(identity, running_world.aws)
    status, records, predicted, rejected, failed = counts(running_world, identity)
    assert (status, records, predicted + rejected + failed) == ("cancelled", 61, 61)
    assert [row["status"] for row in indexed_rows(running_world, identity)].count("failed") == failed


def test_lost_batches_of_a_cancelled_upload_end_with_the_next_sweep(running_world: World) -> None:
    identity = in_work(running_world)
    running_world.take(running_world.aws.batches_queue)
    cancel(identity, running_world.aws)
    table = running_world.aws.uploads.table
    for item in table.query(KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": identity})[
        "Items"
    ]:
        key = {"pk": identity, "sk": item["sk"]}
        table.update_item(
            Key=key,
            UpdateExpression="SET #u = :long_ago",
            ExpressionAttributeNames={"#u": "updated"},
            ExpressionAttributeValues={":long_ago": 0},
        )
    move(running_world.aws.uploads.get(identity), running_world.aws)
    running_world.split_shards()
    complete(identity, running_world.aws)
    assert counts(running_world, identity)[:2] == ("cancelled", 61)
    assert running_world.model.asked == []


def test_what_a_cancelled_upload_left_unanswered_can_be_tried_again(running_world: World) -> None:
    identity = in_work(running_world)
    cancel(identity, running_world.aws)
    running_world.finish(identity)
    retry(identity, "2", running_world.aws)
    assert not running_world.aws.uploads.get(identity).cancelled
    running_world.finish(identity)
    assert counts(running_world, identity) == ("complete", 61, 60, 1, 0)
    assert sorted(running_world.model.asked) == sorted(set(running_world.model.asked))


def test_an_upload_that_has_ended_is_not_cancelled(running_world: World) -> None:
    identity = running_world.run(running_world.upload(BODY))
    before = running_world.item(identity)
    with pytest.raises(NothingToCancel, match="the upload has ended as complete"):
        cancel(identity, running_world.aws)
    assert running_world.item(identity) == before
    other = in_work(running_world, fasta(61, seed=9))
    running_world.predict_batches()
    with pytest.raises(NothingToCancel, match="its results are being written"):
        cancel(other, running_world.aws)
    with pytest.raises(Missing):
        cancel("nobody", running_world.aws)


def everything(world: World) -> list[str]:
    """All that the stack keeps of any upload: objects with all their versions, rows, and records."""
    remains = []
    for bucket in ("uploads", "results"):
        page = world.s3.list_object_versions(Bucket=bucket)
        remains += [each["Key"] for kind in ("Versions", "DeleteMarkers") for each in page.get(kind, [])]
    for table in ("PredictionsTable", "UploadsTable"):
        items = world.database.Table(table).scan()["Items"]
        remains += [f"{item['pk']} {item['sk']}" for item in items if item["pk"] != "sweep"]
    return remains


def settle(world: World, identity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a day pass, and run the functions due then."""
    now = world.aws.uploads.get(identity).deleted + SETTLED_SECONDS + 1
    with monkeypatch.context() as later:
        for module in ("functions.erase", "functions.sweep", "functions.services.withdrawals"):
            later.setattr(f"{module}.now_seconds", lambda: now)
        assert move(world.aws.uploads.get(identity), world.aws)
        erase(identity, world.aws)


def test_of_a_deleted_upload_nothing_stays_but_its_id(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = running_world.run(running_world.upload(fasta(5), key="another"))
    before = everything(running_world)
    event = running_world.upload(gzip.compress(BODY), key="secret.gz")
    identity = running_world.run(event)
    running_world.s3.delete_object(Bucket="results", Key=f"results/{identity}/results.tsv")  # by a marker
    delete(identity, running_world.aws)
    delete(identity, running_world.aws)
    assert identity not in [each.upload_id for each in running_world.aws.uploads.listed(50, None)[0]]
    with pytest.raises(UploadDeleted):
        running_world.aws.uploads.existing(identity)
    erase(identity, running_world.aws)
    assert sorted(everything(running_world)) == sorted([*before, f"{identity} upload"])
    settle(running_world, identity, monkeypatch)
    row = running_world.item(identity)
    assert (row["status"], "open" in row, "listed" in row) == ("deleted", False, False)
    assert "secret" not in str(row) and event["detail"]["object"]["version-id"] not in str(row)
    assert list(running_world.aws.uploads.open_uploads()) == []
    assert running_world.status(kept) == "complete" and len(running_world.rows(kept)) == 5


@pytest.mark.parametrize("settled", [False, True])
def test_nothing_that_comes_late_revives_a_deleted_upload(
    running_world: World, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = running_world.upload(BODY)
    identity = receive(event, running_world.aws)
    assert identity
    shards = running_world.take(running_world.aws.shards_queue)
    running_world.split(shards)
    batches = running_world.take(running_world.aws.batches_queue)
    predict(batches[0], running_world.aws)
    delete(identity, running_world.aws)
    erase(identity, running_world.aws)
    if settled:
        settle(running_world, identity, monkeypatch)
    before, asked = everything(running_world), running_world.model.calls
    row = running_world.item(identity)
    receive(event, running_world.aws)
    running_world.split([*shards, {"upload": identity, "inflate": True}])
    for message in batches:
        predict(message, running_world.aws)
    for queue, messages in (
        (running_world.aws.uploads_dead_letters, [event]),
        (running_world.aws.shards_dead_letters, [*shards, *(each | {"give_up": "why"} for each in shards)]),
        (running_world.aws.batches_dead_letters, batches),
    ):
        for message in messages:
            queue.send(message)
    failures = Failures()
    bury(running_world.aws, failures)
    failures.raise_first()
    running_world.split_shards()
    receive_lost(running_world.aws)
    complete(identity, running_world.aws)
    with pytest.raises(UploadDeleted):
        retry(identity, "2", running_world.aws)
    with pytest.raises(UploadDeleted):
        cancel(identity, running_world.aws)
    assert everything(running_world) == before == [f"{identity} upload"]
    assert running_world.model.calls == asked
    assert running_world.item(identity) == row
    assert not running_world.take(running_world.aws.uploads_queue)


def test_what_a_delivery_writes_that_began_before_the_deletion_is_erased(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each function has read the row, stands still, and goes on after everything was erased."""
    event = running_world.upload(gzip.compress(BODY))
    identity = receive(event, running_world.aws)
    assert identity
    before = running_world.aws.uploads.get(identity)
    running_world.split_shards()
    shards = running_world.take(running_world.aws.shards_queue)
    running_world.split(shards)
    batches = running_world.take(running_world.aws.batches_queue)
    running = running_world.aws.uploads.get(identity)
    delete(identity, running_world.aws)
    erase(identity, running_world.aws)
    with monkeypatch.context() as frozen:
        frozen.setattr(type(running_world.aws.uploads), "get", lambda *_: running)
        for message in batches:
            predict(message, running_world.aws)
    inflate(before, running_world.aws)  # its file is gone
    for message in shards:
        split_or_abandon(Shard.from_message(message), running, running_world.aws)
    running_world.aws.uploads.set_announced(identity, 1)
    assert len(everything(running_world)) > 20
    running_world.take(running_world.aws.batches_queue)
    settle(running_world, identity, monkeypatch)
    assert everything(running_world) == [f"{identity} upload"]
    assert running_world.status(identity) == "deleted"


@pytest.mark.parametrize(("when", "every"), MOMENTS)
def test_an_erasure_that_dies_anywhere_is_finished_by_the_next(
    running_world: World, when: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(0, 100, every):
        identity = running_world.run(running_world.upload(BODY, key=f"file {at}"))
        delete(identity, running_world.aws)
        died = False
        try:
            with dying(running_world, at, when):
                erase(identity, running_world.aws)
        except Died:
            died = True
        erase(identity, running_world.aws)
        assert everything(running_world) == [f"{identity} upload"]
        settle(running_world, identity, monkeypatch)
        running_world.database.Table("UploadsTable").delete_item(Key={"pk": identity, "sk": "upload"})
        if not died:
            break
    assert at > 10 and not died


def test_an_object_that_is_not_deleted_is_no_success(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = running_world.run(running_world.upload(BODY))
    delete(identity, running_world.aws)
    refused = {"Errors": [{"Key": "a", "Code": "InternalError"}]}
    with monkeypatch.context() as broken:
        broken.setattr(running_world.s3, "delete_objects", lambda **_: refused)
        with pytest.raises(Exception, match=r"objects under parts/.* stay: InternalError"):
            erase(identity, running_world.aws)
    erase(identity, running_world.aws)
    assert everything(running_world) == [f"{identity} upload"]


def test_a_deleted_upload_holds_no_model_version_and_no_room(running_world: World) -> None:
    identity = in_work(running_world)
    assert running_world.aws.uploads.in_work_at_once(5) == 1
    delete(identity, running_world.aws)
    assert running_world.aws.uploads.in_work_at_once(5) == 0
    assert {each.model_version for each in running_world.aws.uploads.open_uploads()} == {""}


def test_the_api_cancels_and_deletes(running_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions.withdraw, "services", lambda: running_world.aws)

    def ask(method: str, upload: str) -> tuple[int, Any, str | None]:
        path = f"/uploads/{upload}" + ("/cancel" if method == "POST" else "")
        event = golden("api-get-upload") | {
            "httpMethod": method,
            "path": path,
            "pathParameters": {"upload": upload},
        }
        event["requestContext"] = event["requestContext"] | {"path": f"/v1{path}"}
        answer = functions.withdraw.handler(event, Context())
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"].get("Location")

    identity = in_work(running_world)
    taken = {"upload": identity, "status": "running", "attempts": 1}
    assert ask("POST", identity) == (202, taken, f"/v1/uploads/{identity}")
    running_world.finish(identity)
    assert ask("POST", identity) == (202, taken | {"status": "cancelled"}, f"/v1/uploads/{identity}")
    ended = running_world.run(running_world.upload(fasta(2), key="ended"))
    assert ask("POST", ended)[0] == 409
    body = {"upload": identity, "status": "deleting"}
    assert ask("DELETE", identity) == ask("DELETE", identity) == (202, body, None)
    assert ask("POST", identity)[0] == 410
    assert ask("POST", "nobody")[0] == ask("DELETE", "nobody")[0] == ask("DELETE", "n" * 2000)[0] == 404
