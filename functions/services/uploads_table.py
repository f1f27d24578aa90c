"""The uploads table: the state of every upload, and the accounting that makes its end exact.

Deliveries repeat, come out of order and die halfway, so nothing is counted by adding to a number. A batch
that ended leaves one marker, written once, with its counts; its number then goes into its shard's set; a
shard whose set is full goes into the upload's set; the upload whose set is full is finishing. Every step can
be repeated without effect, and a redelivery repeats all of them after the one it finds done. Totals are
sums over markers.

A retry is one more attempt: the same shards again under new numbers, which hold only the records that failed
before. A write of an earlier attempt cannot touch them, and every write to the upload itself that ends an
attempt is made only if no later one has begun.
"""

from collections.abc import Iterable

from boto3.dynamodb.conditions import Attr, ConditionBase

from functions.domain.locations import TEN, LabelSet
from functions.domain.upload import (
    FINAL_STATUSES,
    Counts,
    Ending,
    Shard,
    Source,
    Upload,
    plan_shards,
    upload_id,
)
from functions.domain.upload_record import Marker, UploadRecord
from functions.services.dynamodb import (
    Item,
    now_iso,
    now_milliseconds,
    now_seconds,
    put_new,
    update,
)
from functions.services.settings import Settings
from functions.services.uploads_reader import LISTING, UPLOAD, batch_key, shard_key
from functions.services.withdrawals import UNPLANNED, Withdrawals, pinned_row, same_attempt


def new_upload(
    source: Source,
    size: int,
    model_version: str,
    settings: Settings,
    organism: str = "",
    labels: LabelSet = TEN,
) -> Upload:
    """An upload as its first reading pins it now."""
    return Upload(
        upload_id=upload_id(*source),
        source=source,
        size=size,
        model_version=model_version,
        created=now_iso(),
        deadline=now_seconds() + settings.deadline_seconds,
        indexed=size <= settings.indexed_bytes,
        organism=organism,
        packing=settings.packing,
        labels=labels,
    )


class UploadsTable(Withdrawals):
    """Uploads, their shards and their batches."""

    # An upload's beginning

    def start(self, upload: Upload) -> UploadRecord:
        """Record an upload, unless an earlier delivery did; return it as it was first recorded."""
        put_new(
            self.table,
            {
                "pk": upload.upload_id,
                "sk": UPLOAD,
                "status": "receiving",
                "open": "yes",
                "listing": "uploads",
                "listed": f"{upload.created}#{now_milliseconds()}#{upload.upload_id}",  # also within a second
                "updated": now_seconds(),
                **pinned_row(upload),
            },
        )
        return self.get(upload.upload_id)

    def plan(
        self,
        upload_id: str,
        text: Source,
        text_size: int,
        shard_bytes: int,
        damage: str = "",
        left_out: str = "",
    ) -> list[Shard]:
        """Record how an upload's text is cut, once, and return the shards of the plan that stands.

        A text of no bytes gives no shards, and the upload is finishing at once.
        """
        shards = plan_shards(upload_id, text, text_size, shard_bytes, damage)
        plan = {
            "status": "running",
            "shards": len(shards),
            "text": text._asdict(),
            "text_size": text_size,
            "shard_bytes": shard_bytes,
            "damage": damage,
            "left_out": left_out,
        }
        if not self._update(upload_id, plan, UNPLANNED, remove=["reason"]):
            self.finish_if_full(upload_id)
            return self.get(upload_id).planned_shards()
        if not shards:
            self.set_finishing(upload_id, 1)
        return shards

    def refuse(self, upload_id: str, reason: str) -> None:
        """End an upload whose file cannot be read at all: no shards, no records, and why."""
        end = {"status": "finishing", "finished": now_iso(), "reason": reason, "shards": 0}
        self._update(upload_id, end, UNPLANNED)

    def pin(self, upload_id: str, **values: str) -> UploadRecord:
        """Pin values that were unknown when an upload's row was made, all or none; the first pin stands.

        A file may come before there is any model version, and its row before the file can be looked at.
        """
        unpinned: ConditionBase = Attr("status").eq("receiving")
        for name in values:
            unpinned &= Attr(name).not_exists() | Attr(name).eq("")
        self._update(upload_id, values, unpinned)
        return self.get(upload_id)

    def note(self, upload_id: str, reason: str) -> None:
        """Say why an upload is not getting on, while it waits to be received."""
        self._update(upload_id, {"reason": reason}, UNPLANNED)

    # The accounting

    def record_split(
        self, shard: Shard, batches: int, lines: int, records: int, residues: int, left_out: int = 0
    ) -> None:
        """Record the batches of a shard, unless it was abandoned; each of them is done or sent."""
        contents = {
            "batches": batches,
            "lines": lines,
            "records": records,
            "residues": residues,
            "left_out": left_out,
        }
        self._update(shard.upload_id, contents, Attr("kept").not_exists(), sort_key=shard_key(shard.number))
        self.close_shard(shard.upload_id, shard.number)

    def abandon_shard(self, shard: Shard, reason: str) -> None:
        """End a shard that cannot be read with the batches that are done, and say why; unless it has ended.

        These are noted as `kept`: a batch that ends after this belongs to no result. A shard that was read
        before has its batches on their way, and is abandoned only if it is given up.
        """
        done = self.settle_shard(shard.upload_id, shard.number)
        open_shard: ConditionBase = Attr("batches").not_exists()
        if shard.give_up:
            missing = Attr("batches_done").not_exists() | Attr("batches_done").size().lt(Attr("batches"))
            open_shard |= Attr("batches").gt(0) & missing
        self._update(
            shard.upload_id,
            {"batches": len(done), "kept": sorted(done), "unread": reason},
            Attr("kept").not_exists() & open_shard,
            sort_key=shard_key(shard.number),
            once={"lines": 0},
        )
        self.close_shard(shard.upload_id, shard.number)

    def open_batch(self, upload_id: str, shard: int, batch: int) -> UploadRecord | None:
        """The upload of a batch that is still to be ended; None where the batch has ended or would not count.

        The steps that follow the end of a batch are done again where it has ended.
        """
        if self.batch_is_done(upload_id, shard, batch):
            self.settle_batch(upload_id, shard, batch)
            return None
        upload = self.get(upload_id)
        return upload if self.is_in_work(upload, shard) else None

    def record_batch(self, upload_id: str, shard: int, batch: int, counts: Counts, first: int) -> None:
        """Leave the marker of an ended batch, unless it has one, and take the steps that follow."""
        marker = {"pk": upload_id, "sk": batch_key(shard, batch), "first": first, **counts._asdict()}
        put_new(self.table, marker)
        self.settle_batch(upload_id, shard, batch)

    def settle_batch(self, upload_id: str, shard: int, batch: int) -> None:
        """Repeat the steps that follow a batch's marker; a redelivered batch needs no more than this."""
        self._update(upload_id, sort_key=shard_key(shard), add={"batches_done": {batch}})
        self.close_shard(upload_id, shard)

    def settle_shard(self, upload_id: str, shard: int) -> dict[int, Marker]:
        """Settle the batches of a shard that have a marker and are not counted; return all its markers.

        A worker that ends batches and dies leaves such markers, which no message tells of, to the next one.
        """
        done = self.done_batches(upload_id, shard)
        for batch in done.keys() - self.shard(upload_id, shard).batches_done:
            self.settle_batch(upload_id, shard, batch)
        return done

    def close_shard(self, upload_id: str, shard: int) -> None:
        """Count a shard as done if all its batches are, and the upload as full if it was the last."""
        if not self.shard(upload_id, shard).is_full:
            return
        self._update(upload_id, add={"shards_done": {shard}})
        self.finish_if_full(upload_id)

    def finish_if_full(self, upload_id: str) -> None:
        """Hand a running upload over to `complete` once all its shards are counted in."""
        upload = self.get(upload_id)
        if upload.status == "running" and upload.shards_done.issuperset(upload.shard_numbers):
            self.set_finishing(upload_id, upload.attempts)

    def set_finishing(self, upload_id: str, attempt: int) -> None:
        """Hand a running upload over to `complete`, which hears of it through the table's stream.

        The time is kept as that of its end: the results are the same, however often they are written.
        """
        end = {"status": "finishing", "finished": now_iso()}
        self._update(upload_id, end, Attr("status").eq("running") & same_attempt(attempt))

    def call_again(self, upload_id: str) -> None:
        """Make another stream record of an upload that `complete`, or `erase`, is not through with."""
        self._update(upload_id, condition=Attr("open").exists())

    # An upload's end, and another beginning

    def finish(self, upload_id: str, attempt: int, ending: Ending) -> bool:
        """Give a finishing upload its final status; False where it already has one.

        It stays open until its end was announced, so that `sweep` looks after it.
        """
        final = {**ending._asdict(), **ending.counts._asdict()}
        del final["counts"]
        # Results name the time that was kept when they were due, which an older release did not keep.
        finished = {"finished": now_iso()}
        values, once = (final, finished) if ending.results else (final | finished, {})
        finishing = Attr("status").eq("finishing") & same_attempt(attempt)
        return self._update(upload_id, values, finishing, once=once)

    def set_announced(self, upload_id: str, attempt: int) -> None:
        key = {"pk": upload_id, "sk": UPLOAD}
        ended = Attr("status").is_in(list(FINAL_STATUSES)) & same_attempt(attempt)
        update(self.table, key, {"announced": now_seconds()}, ended, remove=["open"])

    def retry(self, upload_id: str, attempt: int, deadline: int) -> bool:
        """Begin an attempt at the failed records; False unless the last one has ended with such."""
        failed = Attr("status").is_in(list(FINAL_STATUSES)) & Attr("failed").gt(0)
        return self._update(
            upload_id,
            {"status": "running", "open": "yes", "attempts": attempt, "deadline": deadline},
            failed & same_attempt(attempt - 1),
            remove=["reason", "finished", "announced", "cancelled"],
        )

    def keep_listing_place(self, place: dict[str, str]) -> None:
        upload_id, sort_key = LISTING
        self._update(upload_id, {"place": place}, sort_key=sort_key)

    def touch(self, upload_id: str, shard: int, *, given_up: bool) -> None:
        """Note that a shard was sent again, so that it is overdue only after another while."""
        self._update(upload_id, {"given_up": given_up}, sort_key=shard_key(shard))

    def _update(
        self,
        upload_id: str,
        values: Item | None = None,
        condition: ConditionBase | None = None,
        *,
        sort_key: str = UPLOAD,
        once: Item | None = None,
        add: Item | None = None,
        remove: Iterable[str] = (),
    ) -> bool:
        """Update an item, and the time of its last update; False where the condition does not hold."""
        key = {"pk": upload_id, "sk": sort_key}
        values = {**(values or {}), "updated": now_seconds()}
        return update(self.table, key, values, condition, once=once, add=add, remove=remove)
