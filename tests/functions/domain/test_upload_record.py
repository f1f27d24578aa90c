"""Rows of the uploads table as values, and the messages that begin an attempt."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.upload import MAX_SHARDS, Counts, Inflate, Shard, Source, read_task
from functions.domain.upload_record import Marker, ShardRecord, UploadRecord, progress_of, sum_of

SOURCE = Source("uploads", "a.fasta", "v1")
RECEIVED = {
    "pk": "u",
    "sk": "upload",
    "status": "receiving",
    "updated": 1,
    "source": SOURCE._asdict(),
    "size": 10,
    "model_version": "m-1",
    "created": "2026-11-26T00:00:00Z",
    "deadline": 2,
    "indexed": True,
}


def test_an_upload_that_was_just_received_has_no_plan_and_no_end() -> None:
    upload = UploadRecord.from_row(RECEIVED)
    assert (upload.attempts, upload.planned_shards(), upload.results) == (1, [], {})
    assert (upload.counts, upload.finished, upload.announced) == (Counts(), "", False)


def test_a_row_without_what_every_upload_has_is_a_key_error() -> None:
    """As it is for an upload that isn't there: a message of it cannot be understood."""
    with pytest.raises(KeyError):
        UploadRecord.from_row({"pk": "u", "sk": "upload", "shards_done": [1]})


@given(shards=st.integers(1, 20), attempts=st.integers(1, 5))
def test_the_numbers_of_an_attempt_are_those_of_its_planned_shards(shards: int, attempts: int) -> None:
    upload = replace(
        UploadRecord.from_row(RECEIVED),
        text=SOURCE, text_size=shards * 100, shard_bytes=100, shards=shards, attempts=attempts,
    )  # fmt: skip
    assert [shard.number for shard in upload.planned_shards()] == list(upload.shard_numbers)
    assert upload.shard_numbers.start == (attempts - 1) * MAX_SHARDS


def test_an_attempt_begins_with_its_shards_or_with_the_text_that_they_are_cut_from() -> None:
    plain = replace(UploadRecord.from_row(RECEIVED), text=SOURCE, text_size=10, shard_bytes=10, shards=1)
    assert plain.tasks() == [Shard("u", 0, SOURCE, 0, 10)]
    assert replace(plain, text=Source("results", "work/u/text", "null")).tasks() == [Inflate("u")]


@pytest.mark.parametrize("task", [Inflate("u"), Shard("u", 1003, SOURCE, 5, 10, "cut off", "too late")])
def test_a_task_is_read_as_it_was_sent(task: Inflate | Shard) -> None:
    assert read_task(task.as_message()) == task


def test_a_batch_that_ended_after_its_shard_was_abandoned_counts_for_nothing() -> None:
    shards = {0: ShardRecord(0, batches=1, kept=frozenset({0})), 1: ShardRecord(1, batches=1)}
    ended = [(0, 0, Marker(Counts(1, 1))), (0, 1, Marker(Counts(2, 2))), (1, 0, Marker(Counts(4, 4)))]
    assert sum_of([*ended, (2, 0, Marker(Counts(8, 8)))], shards) == Counts(5, 5)


def test_the_records_of_a_retry_were_found_before() -> None:
    upload = replace(UploadRecord.from_row(RECEIVED), shards=1, attempts=2)
    first = ShardRecord(0, batches=2, batches_done=frozenset({0, 1}), records=7, residues=70)
    again = ShardRecord(MAX_SHARDS, batches=1, records=3, residues=30)
    assert first.is_full and not again.is_full and not ShardRecord(1).is_full
    assert progress_of(upload, {0: first, MAX_SHARDS: again}) == {
        "shards": 2, "shards_split": 2, "batches": 3, "batches_done": 2,
        "records_found": 7, "residues_found": 70,
    }  # fmt: skip
