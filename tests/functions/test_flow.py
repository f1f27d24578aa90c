"""The accounting, delivery by delivery: a repeated, dying or late one changes nothing."""

import gzip
import io
import random
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from functions.complete import complete
from functions.domain.errors import BrokenContract, EndpointRefused, EndpointUnavailable
from functions.domain.upload import Shard
from functions.predict import predict
from functions.receive import receive
from functions.services.failures import Failures
from functions.split import split_or_abandon
from functions.sweep import bury, move, receive_lost
from tests.functions.world import World, answer_for, unavailable

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def fasta(records: int, seed: int = 1) -> bytes:
    """Distinct proteins of 20 to 120 residues."""
    chance = random.Random(seed)
    text = ""
    for number in range(records):
        sequence = "".join(chance.choices(LETTERS, k=chance.randint(20, 120)))
        text += f">P{number:05d} protein {number}\n{sequence}\n"
    return text.encode()


def test_every_record_becomes_one_row_in_file_order(running_world: World) -> None:
    identity = running_world.run(running_world.upload(fasta(200)))
    rows = running_world.rows(identity)
    assert [row["accession"] for row in rows] == [f"P{number:05d}" for number in range(200)]
    assert {row["status"] for row in rows} == {"predicted"}
    item = running_world.item(identity)
    assert (item["status"], item["records"], item["predicted"]) == ("complete", 200, 200)
    assert item["shards"] > 3


def test_a_repeated_event_is_the_same_upload(running_world: World) -> None:
    event = running_world.upload(fasta(10))
    first = running_world.run(event)
    calls = running_world.model.calls
    assert running_world.run(event) == first
    assert running_world.model.calls == calls
    assert len(running_world.rows(first)) == 10


def test_a_redelivered_batch_asks_the_model_nothing_and_writes_nothing_new(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(10)), running_world.aws)
    assert identity
    running_world.split_shards()
    messages = running_world.take(running_world.aws.batches_queue)
    for message in messages + messages[::-1]:
        predict(message, running_world.aws)
    running_world.complete(identity)
    assert running_world.model.calls == len(messages)
    assert running_world.item(identity)["records"] == 10


def test_a_shard_split_twice_sends_only_what_is_not_done(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(10)), running_world.aws)
    assert identity
    (message,) = running_world.take(running_world.aws.shards_queue)
    upload = running_world.aws.uploads.get(identity)
    split_or_abandon(Shard.from_message(message), upload, running_world.aws)
    first = running_world.take(running_world.aws.batches_queue)
    predict(first[0], running_world.aws)
    split_or_abandon(Shard.from_message(message), upload, running_world.aws)
    assert running_world.take(running_world.aws.batches_queue) == first[1:]


def test_a_batch_predicted_before_its_shard_is_recorded_still_completes(running_world: World) -> None:
    """The model may be faster than the function that splits."""
    identity = receive(running_world.upload(fasta(5)), running_world.aws)
    assert identity
    (message,) = running_world.take(running_world.aws.shards_queue)
    upload = running_world.aws.uploads.get(identity)
    aws = running_world.aws
    real_send = aws.batches_queue.send
    aws.batches_queue.send = lambda sent, delay=0: predict(sent, aws)  # type: ignore[method-assign]
    split_or_abandon(Shard.from_message(message), upload, aws)
    aws.batches_queue.send = real_send  # type: ignore[method-assign]
    running_world.complete(identity)
    assert running_world.status(identity) == "complete"


def killed_at(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> tuple[str, dict[str, Any]]:
    """An upload of one batch, and its message, whose first delivery died at this step of the uploads table."""
    identity = receive(world.upload(fasta(5)), world.aws)
    assert identity
    world.split_shards()
    (message,) = world.take(world.aws.batches_queue)
    with monkeypatch.context() as patched:
        patched.setattr(world.aws.uploads, step, _die)
        with pytest.raises(KeyboardInterrupt):
            predict(message, world.aws)
    return identity, message


def test_a_death_between_part_and_marker_is_made_good_by_the_next_delivery(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, message = killed_at(running_world, monkeypatch, "record_batch")
    predict(message, running_world.aws)
    running_world.complete(identity)
    assert running_world.item(identity)["predicted"] == 5


def test_a_death_between_marker_and_count_is_made_good_by_the_next_delivery(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, message = killed_at(running_world, monkeypatch, "settle_batch")
    assert running_world.status(identity) == "running"
    predict(message, running_world.aws)
    running_world.complete(identity)
    assert running_world.status(identity) == "complete"


def test_a_batch_that_is_done_never_asks_again_about_a_protein_that_failed(running_world: World) -> None:
    def trouble(sequences: list[str]) -> None:
        if "MKVLAAGIVG" in sequences:
            raise EndpointRefused("the model failed with status 500")

    running_world.model.trouble = trouble
    receive(running_world.upload(b">a\nMKVLAAGIVG\n>b\nMKVAAAGIVG\n"), running_world.aws)
    running_world.split_shards()
    (message,) = running_world.take(running_world.aws.batches_queue)
    predict(message, running_world.aws)
    calls = running_world.model.calls
    predict(message, running_world.aws)
    assert running_world.model.calls == calls


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_zombie_takes_over_the_rows_that_stand(running_world: World) -> None:
    """Swept as failed while its function still ran: the first write counts, and both agree."""
    identity = receive(running_world.upload(fasta(5)), running_world.aws)
    assert identity
    running_world.split_shards()
    (message,) = running_world.take(running_world.aws.batches_queue)
    running_world.aws.batches_dead_letters.send(message)
    assert bury(running_world.aws, Failures()) == 1
    running_world.aws.uploads.batch_is_done = lambda *_: False  # type: ignore[method-assign]
    predict(message, running_world.aws)
    running_world.complete(identity)
    item = running_world.item(identity)
    assert (item["status"], item["failed"], item["predicted"]) == ("failed", 5, 0)
    assert all("failed again and again" in row["reason"] for row in running_world.rows(identity))
    page, _ = running_world.aws.predictions.page(identity, 0, 50, None)
    assert {row["status"] for row in page} == {"failed"}


def test_an_outage_is_a_wait_and_costs_nothing(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(5)), running_world.aws)
    assert identity
    running_world.split_shards()
    (message,) = running_world.take(running_world.aws.batches_queue)
    running_world.model.trouble = unavailable
    sent = []
    running_world.aws.batches_queue.send = lambda m, delay=0: sent.append((m, delay))  # type: ignore
    for _ in range(8):
        predict(message, running_world.aws)
        message, _ = sent[-1]
    assert [delay for _, delay in sent] == [10, 20, 40, 60, 60, 60, 60, 60]
    running_world.model.trouble = lambda sequences: None
    predict(message, running_world.aws)
    running_world.complete(identity)
    assert running_world.item(identity)["predicted"] == 5


def test_a_poisonous_protein_fails_alone_at_the_promised_cost(running_world: World) -> None:
    event = running_world.upload(fasta(32, seed=3).replace(b">P00007", b">P00007"))
    poison = fasta(32, seed=3).split(b"\n")[15].decode()

    def trouble(sequences: list[str]) -> None:
        if poison in sequences:
            raise EndpointRefused("the model failed with status 500")

    running_world.model.trouble = trouble
    identity = receive(event, running_world.aws)
    assert identity
    running_world.split_shards()
    for message in running_world.take(running_world.aws.batches_queue):
        calls = running_world.model.calls
        predict(message, running_world.aws)
        size = len(message["proteins"])
        assert running_world.model.calls - calls <= 1 + 2 * (size - 1).bit_length()
    running_world.complete(identity)
    failed = [row for row in running_world.rows(identity) if row["status"] == "failed"]
    assert [row["accession"] for row in failed] == ["P00007"]
    assert failed[0]["reason"] == "line 15: the model failed with status 500"
    assert running_world.status(identity) == "partial"


def test_a_model_that_fails_on_everything_is_an_outage(running_world: World) -> None:
    receive(running_world.upload(b">a\nMKVLAAGIVG\n"), running_world.aws)
    running_world.split_shards()
    (message,) = running_world.take(running_world.aws.batches_queue)

    def trouble(_sequences: list[str]) -> None:
        raise EndpointRefused("the model failed with status 500")

    running_world.model.trouble = trouble
    predict(message, running_world.aws)
    assert not running_world.aws.uploads.batch_is_done(message["upload"], 0, 0)


def test_a_sequence_is_asked_about_once(running_world: World) -> None:
    body = b">a\nMKVLAAGGWY\n>b\nMKVLAAGGWY\n>c\nmkvlaaggwy*\n"
    first = running_world.run(running_world.upload(body))
    assert running_world.model.asked == ["MKVLAAGGWY"]
    rows = running_world.rows(first)
    assert len({tuple(row[f"p:{name}"] for name in ("Nucleus", "Cytoplasm")) for row in rows}) == 1
    assert rows[2]["remarks"] == [
        "lower case read as upper case",
        "terminal * removed",
        "short: of 10 residues, a location is hard to tell",
    ]
    running_world.run(running_world.upload(body, key="again.fasta"))
    assert running_world.model.calls == 1


def test_an_upload_keeps_the_model_version_it_began_with(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(60)), running_world.aws)
    assert identity
    running_world.activate("test-2")
    running_world.finish(identity)
    assert {row["model_version"] for row in running_world.rows(identity)} == {"test-1"}
    assert (
        running_world.rows(running_world.run(running_world.upload(b">a\nMKVLAAGIVG\n")))[0]["model_version"]
        == "test-2"
    )


def test_an_upload_before_any_model_waits_for_one(empty_world: World) -> None:
    identity = receive(empty_world.upload(fasta(5)), empty_world.aws)
    assert identity
    item = empty_world.item(identity)
    assert item["status"] == "receiving" and "waiting for a model" in item["reason"]
    empty_world.activate()
    for waiting in list(empty_world.aws.uploads.open_uploads()):
        move(waiting, empty_world.aws)
    (event,) = empty_world.take(empty_world.aws.uploads_queue)
    assert empty_world.run(event) == identity
    item = empty_world.item(identity)
    assert (item["status"], item["predicted"], item.get("reason")) == ("complete", 5, "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "expected FASTA records, found an empty file"),
        (b"\xff\xd8\xff\xe0 JFIF", "expected FASTA text, found a JPEG image"),
        (b"ACDEF\n", "line 1: expected a header that begins with '>', found 'ACDEF'"),
        (b"; only\n\n; comments\n", "expected FASTA records, found no record"),
        (gzip.compress(b""), "expected FASTA records, found an empty file"),
        (gzip.compress(b"\x89PNG\r\n"), "expected FASTA text, found a PNG image"),
        (gzip.compress(fasta(3))[:12], "the gzip stream is cut off after 0 bytes of text"),
    ],
)
def test_a_file_that_is_no_fasta_fails_with_its_reason(
    running_world: World, body: bytes, reason: str
) -> None:
    identity = running_world.run(running_world.upload(body))
    item = running_world.item(identity)
    assert (item["status"], item["reason"], item["records"]) == ("failed", reason, 0)
    assert running_world.rows(identity) == []


def test_a_compressed_file_is_read_like_the_text_it_holds(running_world: World) -> None:
    body = fasta(200)
    halves = body[: len(body) // 2], body[len(body) // 2 :]
    plain = running_world.run(running_world.upload(body))
    packed = running_world.run(running_world.upload(b"".join(map(gzip.compress, halves)), key="a.gz"))
    assert running_world.rows(packed) == running_world.rows(plain)


def test_a_cut_off_gzip_is_partial_and_rejects_only_the_record_it_ends_in(running_world: World) -> None:
    text = b"".join(
        b">r%d\n%s\n" % (n, bytes(random.Random(n).choices(LETTERS.encode(), k=90))) for n in range(90)
    )
    identity = running_world.run(running_world.upload(gzip.compress(text)[:-1500]))
    rows = running_world.rows(identity)
    assert running_world.status(identity) == "partial"
    assert "cut off" in running_world.item(identity)["reason"]
    assert 20 < len(rows) < 90
    assert {row["status"] for row in rows[:-1]} == {"predicted"}
    assert rows[-1]["status"] == "rejected" and "incomplete" in rows[-1]["reason"]


def test_a_rejection_names_its_line_whatever_shard_it_is_in(running_world: World) -> None:
    body = fasta(100) + b"\n\n>bad one\nMK1V\n" + fasta(50, seed=2)
    identity = running_world.run(running_world.upload(body))
    (bad,) = [row for row in running_world.rows(identity) if row["status"] == "rejected"]
    assert bad["reason"] == "line 203: '1' at residue 3 is no amino acid"
    assert bad["offset"] == body.index(b">bad")
    assert running_world.status(identity) == "complete"


def test_past_its_deadline_an_upload_ends_with_what_there_is(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(100)), running_world.aws)
    assert identity
    running_world.split_shards()
    predict(running_world.take(running_world.aws.batches_queue)[0], running_world.aws)
    late = replace(running_world.aws.uploads.get(identity), deadline=0)
    assert move(late, running_world.aws)
    assert not move(late, running_world.aws), "one giving up is enough"
    running_world.split_shards()
    running_world.complete(identity)
    item = running_world.item(identity)
    assert item["status"] == "partial" and item["records"] == 100
    assert item["predicted"] + item["failed"] == 100 and item["failed"] > 0


def test_a_shard_without_progress_is_sent_again(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(100)), running_world.aws)
    assert identity
    lost = running_world.take(running_world.aws.shards_queue)
    upload = running_world.aws.uploads.get(identity)
    assert not move(upload, running_world.aws)
    assert move(replace(upload, updated=0), running_world.aws)
    again = running_world.take(running_world.aws.shards_queue)
    assert again == lost
    assert not move(replace(upload, updated=0), running_world.aws)


def test_a_file_whose_event_was_lost_is_found(running_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = running_world.run(running_world.upload(fasta(3)))
    running_world.upload(fasta(4), key="ä lost + one (1).fasta")
    running_world.upload(b">x L-M\nMKV\n", key="labels/mine.fasta")
    monkeypatch.setattr("functions.sweep.LOST_AFTER_SECONDS", -1)
    assert receive_lost(running_world.aws) == 1
    (event,) = running_world.take(running_world.aws.uploads_queue)
    identity = running_world.run(event)
    assert identity != earlier
    assert running_world.item(identity)["source"]["key"] == "ä lost + one (1).fasta"
    assert receive_lost(running_world.aws) == 0


@pytest.mark.parametrize("gone", [False, True])
def test_the_bucket_is_looked_through_a_part_at_a_time(
    running_world: World, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """However much a bucket holds, a run has its limit, and the next one goes on where it ended."""
    world = running_world
    versions = [
        world.upload(fasta(1), key=key)["detail"]["object"]["version-id"] for key in "abbbbbbbbbcdefghi"
    ]
    for name, value in (("LOST_AFTER_SECONDS", -1), ("LOST_PAGES_A_RUN", 2), ("LOST_PAGE_VERSIONS", 3)):
        monkeypatch.setattr(f"functions.sweep.{name}", value)

    def look() -> list[str]:
        assert receive_lost(world.aws) <= 6
        events = world.take(world.aws.uploads_queue)
        for event in events:
            receive(event, world.aws)
        return [event["detail"]["object"]["version-id"] for event in events]

    received: set[str] = set()
    for run in range(6):
        received |= set(look())
        if gone and run == 0:  # the version at which the first run stopped: the newest of b come first
            world.s3.delete_object(Bucket="uploads", Key="b", VersionId=versions[5])
    assert received == set(versions)
    assert [look() for _ in range(5)] == [[]] * 5  # and from the beginning
    late = world.upload(fasta(1), key="aa")["detail"]["object"]["version-id"]
    assert [version for _ in range(5) for version in look()] == [late]


def test_an_upload_with_a_row_too_few_is_not_completed(running_world: World) -> None:
    identity = receive(running_world.upload(fasta(10)), running_world.aws)
    assert identity
    running_world.split_shards()
    running_world.predict_batches()
    running_world.lose_a_row(identity)
    with pytest.raises(BrokenContract, match="10 records are counted, 9 stored"):
        complete(identity, running_world.aws)
    assert running_world.status(identity) == "finishing"


def test_an_upload_that_could_not_be_announced_is_announced_once_more(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = []
    put_events = running_world.aws.events.put_events
    answers = iter([OSError("gone"), None])

    def flaky(**arguments: object) -> object:
        if error := next(answers, None):
            raise error
        entries.append(arguments)
        return put_events(**arguments)

    monkeypatch.setattr(running_world.aws.events, "put_events", flaky)
    identity = receive(running_world.upload(fasta(3)), running_world.aws)
    assert identity
    with pytest.raises(OSError, match="gone"):
        running_world.finish(identity)
    complete(identity, running_world.aws)
    complete(identity, running_world.aws)
    assert len(entries) == 1


def test_an_answer_that_was_known_equals_a_fresh_one(running_world: World) -> None:
    first = running_world.rows(running_world.run(running_world.upload(b">a\nMKVLAAGIVG\n", key="1")))
    second = running_world.rows(running_world.run(running_world.upload(b">a\nMKVLAAGIVG\n", key="2")))
    assert first == second
    assert first[0]["location"] == answer_for("MKVLAAGIVG").location


def test_an_unavailable_endpoint_is_told_from_a_refusal() -> None:
    assert not issubclass(EndpointRefused, EndpointUnavailable)


def test_an_upload_says_what_of_its_file_was_no_fasta(running_world: World) -> None:
    body = b"; a comment\nmade by hand\n>a\nMKVLAAGIVG\n"
    item = running_world.item(running_world.run(running_world.upload(body)))
    assert (item["status"], item["reason"], item["predicted"]) == ("complete", "", 1)
    assert item["warnings"] == ["10 characters of text before the first record were left out"]


def test_each_file_of_an_archive_is_answered_and_the_others_are_named(running_world: World) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("p/a.faa", ">a\nMKVLAAGIVG\n")
        archive.writestr("README", "made by hand\n")
        archive.writestr("p/b.faa", ">b of two\nMKVLAAGIVGLC")
    identity = running_world.run(running_world.upload(packed.getvalue(), key="all.zip"))
    assert [row["header"] for row in running_world.rows(identity)] == [
        "a [file=p/a.faa]",
        "b of two [file=p/b.faa]",
    ]
    item = running_world.item(identity)
    assert (item["status"], item["reason"]) == ("complete", "")
    assert [warning.startswith("left out of the archive: README (") for warning in item["warnings"]] == [True]
