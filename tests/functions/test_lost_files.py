"""A file in the bucket always gets its row, even if its event was lost, however long ago."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.domain.remarks import FOREIGN
from functions.domain.upload import Source, upload_id
from functions.receive import receive
from functions.services.failures import Failures
from functions.services.queues import Queue
from functions.services.uploads_table import new_upload
from functions.sweep import DEAD_UPLOAD, bury, move, receive_lost
from tests.functions.test_flow import fasta
from tests.functions.world import VERSION, World


def identity_of(event: dict[str, Any]) -> str:
    detail = event["detail"]
    return upload_id(detail["bucket"]["name"], detail["object"]["key"], detail["object"]["version-id"])


def source_of(event: dict[str, Any]) -> Source:
    detail = event["detail"]
    return Source(detail["bucket"]["name"], detail["object"]["key"], detail["object"]["version-id"])


def kept(world: World, queue: Queue) -> int:
    """Count the messages of a queue, those included that it does not give away yet."""
    names = ("", "NotVisible", "Delayed")
    attributes = world.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    return sum(int(attributes[f"ApproximateNumberOfMessages{name}"]) for name in names)


def dead(world: World, event: dict[str, Any]) -> None:
    """Let an event be given up before anything of its file was recorded."""
    world.aws.uploads_dead_letters.send(event)
    assert bury(world.aws, Failures()) == 1


def test_an_event_that_was_given_up_before_the_row_existed_leaves_a_row_that_is_received_again(
    running_world: World,
) -> None:
    world = running_world
    event = world.upload(fasta(5))
    dead(world, event)
    item = world.item(identity_of(event))
    assert (item["status"], item["reason"], item["size"]) == ("receiving", DEAD_UPLOAD, len(fasta(5)))
    assert move(world.aws.uploads.get(identity_of(event)), world.aws), (
        "the next run, a minute later, sends its event"
    )
    (again,) = world.take(world.aws.uploads_queue)
    identity = world.run(again)
    item = world.item(identity)
    assert (item["status"], item["predicted"], item["reason"]) == ("complete", 5, "")


@pytest.mark.parametrize("made_by", ["a dead letter", "a delivery that could not read the file"])
def test_an_organism_is_kept_no_matter_which_function_made_the_row(
    running_world: World, made_by: str
) -> None:
    world = running_world
    event = world.upload(fasta(3), organism="Bacillus subtilis")
    if made_by == "a dead letter":
        dead(world, event)
    else:
        world.aws.uploads.start(new_upload(source_of(event), 1, VERSION, world.aws.settings))
    assert world.item(identity_of(event))["organism"] == ""
    identity = world.run(event)
    assert world.item(identity)["organism"] == "bacteria"
    assert all(row["remarks"][-1:] == [FOREIGN.format("bacteria")] for row in world.rows(identity))
    world.run(event)
    assert world.item(identity)["organism"] == "bacteria"


def test_an_event_whose_row_cannot_be_written_stays_a_dead_letter(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running_world
    event = world.upload(fasta(5))
    world.aws.uploads_dead_letters.send(event)

    def out(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError"}}, "PutItem")

    failures = Failures()
    with monkeypatch.context() as patch:
        patch.setattr(world.aws.uploads, "start", out)
        assert bury(world.aws, failures) == 0
    assert kept(world, world.aws.uploads_dead_letters) == 1


@pytest.mark.parametrize("size", [True, False], ids=["sized", "of unknown size"])
def test_a_dead_letter_never_ends_the_last_trace_of_a_file(running_world: World, size: bool) -> None:
    """An event that does not say how long its file is cannot make a row: it is sent again, and later."""
    world = running_world
    event = world.upload(fasta(5))
    if not size:
        del event["detail"]["object"]["size"]
    dead(world, event)
    is_recorded = world.aws.uploads.exists(identity_of(event))
    assert (is_recorded, kept(world, world.aws.uploads_queue)) == ((True, 0) if size else (False, 1))


def test_an_empty_folder_that_a_console_left_makes_no_upload(running_world: World) -> None:
    event = running_world.upload(b"", key="folder/")
    dead(running_world, event)
    assert not running_world.aws.uploads.exists(identity_of(event))


def test_a_dead_letter_of_an_upload_that_goes_on_changes_nothing(running_world: World) -> None:
    world = running_world
    event = world.upload(fasta(5))
    identity = receive(event, world.aws)
    before = world.item(str(identity))
    dead(world, event)
    assert world.item(str(identity)) == before


def test_a_file_without_a_row_is_found_however_old_it_is(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running_world
    event = world.upload(fasta(4))
    years = (
        world.s3.head_object(Bucket="uploads", Key="a.fasta")["LastModified"].timestamp() + 3 * 365 * 86_400
    )
    monkeypatch.setattr("functions.sweep.now_seconds", lambda: int(years))
    assert receive_lost(world.aws) == 1
    assert world.take(world.aws.uploads_queue) == [event]
