"""Faults that the simulation once found: each a way in which an upload lost records or its end."""

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from functions.complete import complete
from functions.domain.errors import BrokenContract, EndpointRefused, EndpointUnavailable
from functions.domain.upload import Counts, Ending, Shard
from functions.domain.upload_record import UploadRecord
from functions.http import upload_view
from functions.predict import predict
from functions.receive import NO_MODEL, NOT_YET, receive
from functions.services.dynamodb import Item, iso, now_seconds
from functions.services.failures import Failures
from functions.services.queues import Queue
from functions.split import split_or_abandon
from functions.sweep import DEAD_SHARD, DEAD_UPLOAD, TOO_LATE, UNWRITTEN, bury, move, move_all
from tests.functions.test_flow import fasta
from tests.functions.world import World


def started(world: World, body: bytes) -> tuple[str, list[Shard]]:
    """An upload with its shards planned and their messages taken."""
    identity = receive(world.upload(body), world.aws)
    assert identity
    return identity, [Shard.from_message(message) for message in world.take(world.aws.shards_queue)]


def split(world: World, shard: Shard) -> None:
    split_or_abandon(shard, world.aws.uploads.get(shard.upload_id), world.aws)


def delete_file(world: World, identity: str) -> None:
    source = world.aws.uploads.get(identity).source
    world.s3.delete_object(Bucket=source.bucket, Key=source.key, VersionId=source.version_id)


def test_a_file_deleted_after_it_was_split_loses_nothing_to_a_repeated_shard(running_world: World) -> None:
    world = running_world
    identity, shards = started(world, fasta(10))
    split(world, shards[0])
    delete_file(world, identity)
    split(world, shards[0])
    for message in world.take(world.aws.batches_queue):
        predict(message, world.aws)
    world.complete(identity)
    item = world.item(identity)
    assert (item["status"], item["predicted"], item["reason"]) == ("complete", 10, "")


def test_a_batch_that_ends_late_in_an_abandoned_shard_changes_nothing(running_world: World) -> None:
    world = running_world
    identity, shards = started(world, fasta(60))
    assert len(shards) > 1
    split(world, shards[0])
    late = world.take(world.aws.batches_queue)
    world.aws.uploads.abandon_shard(replace(shards[0], give_up=TOO_LATE), TOO_LATE)
    delete_file(world, identity)
    for message in late:
        predict(message, world.aws)
    assert world.model.calls == 0
    late_counts = Counts(records=5, predicted=5)  # of one that woke up late
    world.aws.uploads.record_batch(identity, 0, 0, late_counts, first=0)
    world.aws.uploads.record_split(shards[0], batches=9, lines=9, records=9, residues=9)
    for shard in shards[1:]:
        split(world, shard)
    world.complete(identity)
    item = world.item(identity)
    assert (item["status"], item["records"], item["reason"]) == ("failed", 0, TOO_LATE)
    complete(identity, world.aws)
    assert world.rows(identity) == []


def test_after_a_part_that_was_not_read_no_line_is_named(running_world: World) -> None:
    world = running_world
    world.aws = replace(world.aws, settings=replace(world.aws.settings, shard_bytes=60))
    identity, shards = started(world, fasta(3) + b">bad\nMK1V\n")
    world.aws.uploads.abandon_shard(replace(shards[0], give_up=TOO_LATE), TOO_LATE)
    for shard in shards[1:]:
        split(world, shard)
    world.predict_batches()
    world.complete(identity)
    assert [row["reason"] for row in world.rows(identity) if row["header"] == "bad"] == [
        "'1' at residue 3 is no amino acid"
    ]


def test_a_death_between_abandoning_a_shard_and_counting_it_is_made_good(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running_world
    identity, (shard,) = started(world, fasta(5))
    delete_file(world, identity)
    with monkeypatch.context() as patched:
        patched.setattr(world.aws.uploads, "close_shard", lambda *_: None)
        split(world, shard)
    assert world.status(identity) == "running"
    split(world, shard)
    assert world.status(identity) == "finishing"


def test_a_dead_shard_fails_what_is_not_done_and_leaves_no_record_out(running_world: World) -> None:
    world = running_world
    identity, (shard,) = started(world, fasta(5))
    world.aws.shards_dead_letters.send(shard.as_message())
    assert bury(world.aws, Failures()) == 1
    (again,) = world.take(world.aws.shards_queue)
    assert again["give_up"] == DEAD_SHARD
    split(world, Shard.from_message(again))
    world.complete(identity)
    rows = world.rows(identity)
    assert len(rows) == 5 and all(DEAD_SHARD in row["reason"] for row in rows)


def test_a_shard_that_cannot_even_be_given_up_is_left_out_after_the_deadline(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running_world
    identity, (shard,) = started(world, fasta(5))
    world.aws.shards_dead_letters.send(replace(shard, give_up=TOO_LATE).as_message())
    bury(world.aws, Failures())
    assert world.status(identity) == "running", "there is time left, and it will be sent again"
    world.aws.shards_dead_letters.send(replace(shard, give_up=TOO_LATE).as_message())
    deadline = world.aws.uploads.get(identity).deadline
    monkeypatch.setattr("functions.sweep.now_seconds", lambda: deadline + 1)
    bury(world.aws, Failures())
    world.complete(identity)
    item = world.item(identity)
    assert (item["status"], item["reason"]) == ("failed", DEAD_SHARD)


def test_an_upload_that_could_not_be_received_is_tried_again_up_to_its_deadline(running_world: World) -> None:
    world = running_world
    event = world.upload(fasta(5))
    identity = receive(event, world.aws)
    assert identity
    upload = world.aws.uploads.table
    upload.update_item(  # as if the first delivery had died right after its first write
        Key={"pk": identity, "sk": "upload"},
        UpdateExpression="SET #s = :r REMOVE shards",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":r": "receiving"},
    )
    world.take(world.aws.shards_queue)
    world.aws.uploads_dead_letters.send(event)
    bury(world.aws, Failures())
    item = world.item(identity)
    assert (item["status"], item["reason"]) == ("receiving", DEAD_UPLOAD)
    assert move(replace(world.aws.uploads.get(identity), updated=0), world.aws)
    (again,) = world.take(world.aws.uploads_queue)
    world.run(again)
    item = world.item(identity)
    assert (item["status"], item["predicted"], item["reason"]) == ("complete", 5, "")


def test_a_late_note_changes_no_upload_that_goes_on_or_ended(running_world: World) -> None:
    world = running_world
    identity, (shard,) = started(world, fasta(5))
    world.aws.uploads.note(identity, NO_MODEL)
    assert "reason" not in world.item(identity)
    split(world, shard)
    for message in world.take(world.aws.batches_queue):
        predict(message, world.aws)
    world.complete(identity)
    world.aws.uploads.note(identity, NO_MODEL)
    item = world.item(identity)
    assert (item["status"], item["reason"]) == ("complete", "")


def test_the_record_a_damaged_file_stops_in_is_rejected_though_it_begins_in_an_earlier_shard(
    running_world: World,
) -> None:
    body = fasta(20) + b">long one\n" + b"MKVLAAGGWY" * 700
    packed = gzip.compress(body, compresslevel=0)
    identity = running_world.run(running_world.upload(packed[:-100]))
    rows = running_world.rows(identity)
    assert rows[-1]["status"] == "rejected" and "incomplete" in rows[-1]["reason"]
    assert {row["status"] for row in rows[:-1]} == {"predicted"}
    assert running_world.status(identity) == "partial"


def predicted_without(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> tuple[str, Shard]:
    """An upload and its only shard, whose batches were predicted without this step of the uploads table."""
    identity, (shard,) = started(world, fasta(5))
    split(world, shard)
    with monkeypatch.context() as patched:
        patched.setattr(world.aws.uploads, step, lambda *_: None)
        world.predict_batches()
    return identity, shard


def test_a_full_upload_whose_last_message_was_lost_is_finished_by_sweep(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running_world
    identity, _ = predicted_without(world, monkeypatch, "finish_if_full")
    assert world.status(identity) == "running"
    move(world.aws.uploads.get(identity), world.aws)
    assert world.status(identity) == "finishing"


def test_a_marker_whose_message_was_lost_is_counted_when_its_shard_is_split_again(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, shard = predicted_without(running_world, monkeypatch, "settle_batch")
    split(running_world, shard)
    assert running_world.status(identity) == "finishing"


def test_an_upload_nobody_could_be_told_of_stays_open_until_somebody_was(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream gives a record up after so many attempts; then `sweep` makes another."""
    world = running_world
    deaf: dict[str, Any] = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
    with monkeypatch.context() as patched:
        patched.setattr(world.aws.events, "put_events", lambda **_: deaf)
        with pytest.raises(BrokenContract):
            world.run(world.upload(fasta(5)))
    (upload,) = world.aws.uploads.open_uploads()
    assert upload.status == "complete"
    assert move(replace(upload, updated=0), world.aws)
    complete(upload.upload_id, world.aws)
    assert list(world.aws.uploads.open_uploads()) == []
    assert "announced" in world.item(upload.upload_id)


@pytest.fixture
def unwritable_upload(running_world: World) -> Item:
    """An upload that was predicted, and on which `complete` fails: a row of a part is gone."""
    world = running_world
    identity, shards = started(world, fasta(60) + b">bad\nMK1V\n")
    for shard in shards:
        split(world, shard)
    world.predict_batches()
    world.lose_a_row(identity)
    with pytest.raises(BrokenContract, match="61 records are counted, 60 stored"):
        complete(identity, world.aws)
    return world.aws.uploads.get(identity)


def test_an_upload_whose_results_cannot_be_written_ends_at_its_deadline(
    running_world: World, unwritable_upload: UploadRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, upload = running_world, unwritable_upload
    entries: list[Any] = []
    monkeypatch.setattr(world.aws.events, "put_events", lambda **call: entries.extend(call["Entries"]) or {"FailedEntryCount": 0})  # fmt: skip
    for too_early in (upload, replace(upload, deadline=0), replace(upload, updated=0)):
        move(too_early, world.aws)
        assert world.status(upload.upload_id) == "finishing"
    assert move(replace(upload, deadline=0, updated=0), world.aws)
    ended = world.item(upload.upload_id)
    assert (ended["status"], ended["reason"], ended["results"]) == ("failed", UNWRITTEN, {})
    assert [ended[name] for name in Counts._fields[:4]] == [61, 60, 1, 0]
    assert entries == []
    complete(upload.upload_id, world.aws)
    complete(upload.upload_id, world.aws)
    (detail,) = (json.loads(entry["Detail"]) for entry in entries)
    assert (detail["status"], detail["reason"], detail["results"]) == ("failed", UNWRITTEN, {})
    assert list(world.aws.uploads.open_uploads()) == []
    record = world.aws.uploads.get(upload.upload_id)
    assert upload_view(record, *world.aws.uploads.account(record), record.results)["results"] is None


def test_results_that_are_written_after_all_change_nothing_of_an_announced_end(
    running_world: World, unwritable_upload: UploadRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, upload = running_world, unwritable_upload
    move(replace(upload, deadline=0, updated=0), world.aws)
    ended = world.item(upload.upload_id)
    ending = Ending("complete", "", Counts(61, 60, 1), {}, {}, [])
    assert not world.aws.uploads.finish(upload.upload_id, 1, ending)
    move(replace(upload, deadline=0, updated=0), world.aws)
    assert world.item(upload.upload_id) == ended


def test_the_end_of_an_earlier_attempt_comes_too_late_for_the_next(
    running_world: World, unwritable_upload: UploadRecord
) -> None:
    """`sweep` reads an index that may lag: it ends only the attempt in the row that it read."""
    world, upload = running_world, unwritable_upload
    key = {"pk": upload.upload_id, "sk": "upload"}
    world.aws.uploads.table.update_item(Key=key, UpdateExpression="SET attempts = :two", ExpressionAttributeValues={":two": 2})  # fmt: skip
    move(replace(upload, deadline=0, updated=0), world.aws)
    assert world.status(upload.upload_id) == "finishing"


def test_a_protein_that_takes_the_model_down_is_found_across_waits(running_world: World) -> None:
    world = running_world
    identity, (shard,) = started(world, fasta(16))
    split(world, shard)
    (message,) = world.take(world.aws.batches_queue)
    poison = message["proteins"][11]["sequence"]
    gone = False

    def trouble(sequences: list[str]) -> None:
        nonlocal gone
        if gone:
            gone = False
            raise EndpointUnavailable("being started again")
        if poison in sequences:
            gone = True
            raise EndpointRefused("the model failed with status 500")

    world.model.trouble = trouble
    delays = []
    world.aws.batches_queue.send = lambda m, delay=0: delays.append((m, delay))  # type: ignore[method-assign]
    while world.status(identity) == "running":
        predict(message, world.aws)
        if delays:
            message, delay = delays.pop()
            assert delay == 10 and json.dumps(message)
    world.complete(identity)
    failed = [row["accession"] for row in world.rows(identity) if row["status"] == "failed"]
    assert len(failed) == 1 and world.item(identity)["predicted"] == 15


def test_a_dead_letter_that_says_nothing_does_not_stop_the_sweep(running_world: World) -> None:
    world = running_world
    queue = world.aws.batches_dead_letters
    for body in ("no JSON", "[]", "{}", '{"upload":"unknown","shard":0,"batch":0,"proteins":[]}'):
        world.sqs.send_message(QueueUrl=queue.url, MessageBody=body)
    failures = Failures()
    assert bury(world.aws, failures) == 4
    failures.raise_first()
    assert world.take(queue) == []


def test_a_file_that_cannot_be_read_yet_is_received_again(running_world: World) -> None:
    """S3 answers 404 for a while after a new bucket's versioning was switched on."""
    world = running_world
    event = world.upload(fasta(3))
    source = {"Bucket": "uploads", "Key": "a.fasta"}
    version = event["detail"]["object"]["version-id"]
    world.s3.delete_object(**source, VersionId=version)
    identity = receive(event | {"time": iso(now_seconds())}, world.aws)
    assert identity and (world.status(identity), world.item(identity)["reason"]) == (
        "receiving",
        NOT_YET,
    )
    world.aws.uploads.table.update_item(
        Key={"pk": identity, "sk": "upload"},
        UpdateExpression="SET updated = :then",
        ExpressionAttributeValues={":then": 0},
    )
    assert move(world.aws.uploads.get(identity), world.aws)
    (again,) = world.take(world.aws.uploads_queue)
    receive(again, world.aws)
    assert world.status(identity) == "finishing", "still gone, and old enough to be called deleted"


def test_an_old_event_of_a_file_that_is_gone_ends_the_upload_at_once(running_world: World) -> None:
    world = running_world
    event = world.upload(fasta(3))
    version = event["detail"]["object"]["version-id"]
    world.s3.delete_object(Bucket="uploads", Key="a.fasta", VersionId=version)
    identity = receive(event | {"time": iso(now_seconds() - 1_000)}, world.aws)
    assert identity and world.status(identity) == "finishing"


def test_a_file_that_goes_away_before_its_shards_are_sent_ends_with_the_next_delivery(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first delivery died after it planned the upload; the next one finds the plan, and the file gone."""
    world = running_world
    event = world.upload(fasta(5))

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as dying, pytest.raises(SystemExit):
        dying.setattr(Queue, "send", die)
        receive(event, world.aws)
    thing = event["detail"]["object"]
    world.s3.delete_object(Bucket="uploads", Key=thing["key"], VersionId=thing["version-id"])
    identity = world.run(event)
    item = world.item(identity)
    assert (item["status"], item["reason"]) == ("failed", "the file was deleted before it was read")


def test_uploads_take_turns_so_that_a_run_that_ends_early_leaves_out_others_than_the_last(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running_world
    uploads = {receive(world.upload(fasta(1), f"{n}.fasta"), world.aws) for n in range(5)}
    firsts = set()
    for minute in range(100):
        reached: list[str] = []
        with monkeypatch.context() as early:
            early.setattr("functions.sweep.now_seconds", lambda at=60 * minute: at)
            early.setattr(
                "functions.sweep.move", lambda each, _aws, to=reached: bool(to.append(each.upload_id))
            )
            move_all(world.aws, Failures())
        assert set(reached) == uploads
        firsts.add(reached[0])
    assert firsts == uploads


def test_every_writer_of_the_results_writes_the_same(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that was frozen may write them after another has, and after the upload was announced."""
    world = running_world
    identity, shards = started(world, fasta(10))
    split(world, shards[0])
    world.predict_batches()
    written = []
    for time in ("9998-01-01T00:00:00Z", "9999-01-01T00:00:00Z"):  # later than the clock, whenever this runs
        monkeypatch.setattr("functions.complete.now_iso", lambda time=time: time)
        monkeypatch.setattr("functions.services.uploads_table.now_iso", lambda time=time: time)
        with monkeypatch.context() as frozen, pytest.raises(TimeoutError):
            frozen.setattr(type(world.aws.uploads), "finish", dying)
            complete(identity, world.aws)
        names = ("results.tsv", "results.jsonl", "report.html", "manifest.json")
        keys = [f"results/{identity}/{name}" for name in names]
        written.append([world.s3.get_object(Bucket="results", Key=key)["Body"].read() for key in keys])
    assert written[0] == written[1]
    world.complete(identity)
    view = upload_view(world.aws.uploads.get(identity), Counts(), {}, {})
    assert view["finished"] == json.loads(written[0][-1])["finished"] < "9998"


def dying(*_: object) -> bool:
    raise TimeoutError
