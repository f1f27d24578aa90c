"""The uploads table: what is known of every upload, and the accounting that makes its end exact.

Deliveries repeat, come out of order and die halfway, so nothing is counted by adding to a number. A batch
that ended leaves one marker, written once, with its counts; its number then goes into its shard's set; a
shard whose set is full goes into the upload's set; the upload whose set is full is finishing. Every step can
be repeated without effect, and a redelivery repeats all of them after the one it finds done. Totals are
sums over markers.

A retry is one more attempt: the same shards again under new numbers, which hold only the records that
failed before. What belongs to an earlier attempt cannot touch them, and every write to the upload itself
that ends an attempt is made only if no later one has begun.
"""

from dataclasses import asdict
from typing import Any

from botocore.exceptions import ClientError

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
from functions.services.dynamodb import is_condition_failure, now_iso, now_milliseconds, now_seconds, put_new
from functions.services.settings import Settings
from functions.services.uploads_reader import LISTING, UPLOAD, UploadsReader, batch_key, shard_key

_SAME_ATTEMPT = "(attempts = :attempts OR attribute_not_exists(attempts))"
"""The fence. An upload that was never retried has no `attempts`."""


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


class UploadsTable(UploadsReader):
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
                "source": upload.source._asdict(),
                "size": upload.size,
                "model_version": upload.model_version,
                "created": upload.created,
                "deadline": upload.deadline,
                "indexed": upload.indexed,
                "organism": upload.organism,
                **({"packing": asdict(upload.packing)} if upload.packing else {}),
                **({"labels": upload.labels.text} if upload.labels is not TEN else {}),
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
        planned = self._update(
            upload_id,
            UPLOAD,
            "SET #s = :running, shards = :shards, #t = :text, text_size = :size, shard_bytes = :bytes, "
            "damage = :damage, left_out = :left_out, updated = :now REMOVE reason",
            condition="#s = :receiving AND attribute_not_exists(shards)",
            names={"#s": "status", "#t": "text"},
            values={
                ":running": "running",
                ":receiving": "receiving",
                ":shards": len(shards),
                ":text": text._asdict(),
                ":size": text_size,
                ":bytes": shard_bytes,
                ":damage": damage,
                ":left_out": left_out,
            },
        )
        if not planned:
            self.finish_if_full(upload_id)
            return self.get(upload_id).planned_shards()
        if not shards:
            self.set_finishing(upload_id, 1)
        return shards

    def refuse(self, upload_id: str, reason: str) -> None:
        """End an upload whose file cannot be read at all: no shards, no records, and why."""
        self._update(
            upload_id,
            UPLOAD,
            "SET #s = :finishing, finished = :finished, reason = :reason, shards = :none, updated = :now",
            condition="#s = :receiving AND attribute_not_exists(shards)",
            names={"#s": "status"},
            values={
                ":finishing": "finishing",
                ":finished": now_iso(),
                ":receiving": "receiving",
                ":reason": reason,
                ":none": 0,
            },
        )

    def pin_model(self, upload_id: str, version: str, labels: LabelSet = TEN) -> UploadRecord:
        """Pin an upload that came before there was any model version; the first pin stands."""
        self._update(
            upload_id,
            UPLOAD,
            "SET model_version = :version, updated = :now"
            + (", labels = :labels" if labels is not TEN else ""),
            condition="model_version = :none AND #s = :receiving",
            names={"#s": "status"},
            values={
                ":version": version,
                ":none": "",
                ":receiving": "receiving",
                **({":labels": labels.text} if labels is not TEN else {}),
            },
        )
        return self.get(upload_id)

    def pin_organism(self, upload_id: str, organism: str) -> UploadRecord:
        """Pin the kingdom that an upload's sender named, where its row was made by who could not know it."""
        self._update(
            upload_id,
            UPLOAD,
            "SET organism = :organism, updated = :now",
            condition="(attribute_not_exists(organism) OR organism = :none) AND #s = :receiving",
            names={"#s": "status"},
            values={":organism": organism, ":none": "", ":receiving": "receiving"},
        )
        return self.get(upload_id)

    def note(self, upload_id: str, reason: str) -> None:
        """Say why an upload is not getting on, while it waits to be received."""
        self._update(
            upload_id,
            UPLOAD,
            "SET reason = :reason, updated = :now",
            condition="#s = :receiving AND attribute_not_exists(shards)",
            names={"#s": "status"},
            values={":reason": reason, ":receiving": "receiving"},
        )

    # The accounting

    def record_split(
        self, shard: Shard, batches: int, lines: int, records: int, residues: int, left_out: int = 0
    ) -> None:
        """Record what a shard was split into, unless it was abandoned; every batch of it is done or sent."""
        self._update(
            shard.upload_id,
            shard_key(shard.number),
            "SET batches = :batches, #l = :lines, records = :records, residues = :residues, "
            "left_out = :left_out, updated = :now",
            condition="attribute_not_exists(kept)",
            names={"#l": "lines"},
            values={
                ":batches": batches,
                ":lines": lines,
                ":records": records,
                ":residues": residues,
                ":left_out": left_out,
            },
        )
        self.close_shard(shard.upload_id, shard.number)

    def abandon_shard(self, shard: Shard, reason: str) -> None:
        """End a shard that cannot be read with what of it was done, and say why; unless it has ended.

        What was done is noted as `kept`: a batch that ends after this belongs to no result. A shard that was
        read before has its batches on their way, and is abandoned only if it is given up.
        """
        done = self.settle_shard(shard.upload_id, shard.number)
        missing = "attribute_not_exists(batches_done) OR size(batches_done) < batches"
        self._update(
            shard.upload_id,
            shard_key(shard.number),
            "SET batches = :batches, kept = :kept, unread = :reason, #l = if_not_exists(#l, :none), "
            "updated = :now",
            condition="attribute_not_exists(kept) AND (attribute_not_exists(batches)"
            + (f" OR (batches > :none AND ({missing})))" if shard.give_up else ")"),
            names={"#l": "lines"},
            values={":batches": len(done), ":kept": sorted(done), ":reason": reason, ":none": 0},
        )
        self.close_shard(shard.upload_id, shard.number)

    def open_batch(self, upload_id: str, shard: int, batch: int) -> UploadRecord | None:
        """The upload of a batch that is still to be ended; None where the batch has ended or would not count.

        What follows from the end of one that has is done again.
        """
        if self.batch_is_done(upload_id, shard, batch):
            self.settle_batch(upload_id, shard, batch)
            return None
        upload = self.get(upload_id)
        return upload if self.is_in_work(upload, shard) else None

    def record_batch(self, upload_id: str, shard: int, batch: int, counts: Counts, first: int) -> None:
        """Leave the marker of an ended batch, unless it has one, and do what follows from it."""
        marker = {"pk": upload_id, "sk": batch_key(shard, batch), "first": first, **counts._asdict()}
        put_new(self.table, marker)
        self.settle_batch(upload_id, shard, batch)

    def settle_batch(self, upload_id: str, shard: int, batch: int) -> None:
        """Do again what follows from a batch's marker; a redelivered batch needs no more than this."""
        self._update(
            upload_id,
            shard_key(shard),
            "ADD batches_done :batch SET updated = :now",
            values={":batch": {batch}},
        )
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
        self._update(
            upload_id, UPLOAD, "ADD shards_done :shard SET updated = :now", values={":shard": {shard}}
        )
        self.finish_if_full(upload_id)

    def finish_if_full(self, upload_id: str) -> None:
        """Hand a running upload over to `complete` once all its shards are counted in."""
        upload = self.get(upload_id)
        if upload.status == "running" and upload.shards_done.issuperset(upload.shard_numbers):
            self.set_finishing(upload_id, upload.attempts)

    def set_finishing(self, upload_id: str, attempt: int) -> None:
        """Hand a running upload over to `complete`, which hears of it through the table's stream.

        The time is kept as that of its end: whoever writes the results, they are the same.
        """
        self._update(
            upload_id,
            UPLOAD,
            "SET #s = :finishing, finished = :finished, updated = :now",
            condition=f"#s = :running AND {_SAME_ATTEMPT}",
            names={"#s": "status"},
            values={
                ":finishing": "finishing",
                ":finished": now_iso(),
                ":running": "running",
                ":attempts": attempt,
            },
        )

    def call_complete(self, upload_id: str) -> None:
        """Make another stream record of an upload that `complete` is not through with."""
        self._update(
            upload_id,
            UPLOAD,
            "SET updated = :now",
            condition="attribute_exists(#open)",
            names={"#open": "open"},
        )

    # An upload's end, and another beginning

    def finish(self, upload_id: str, attempt: int, ending: Ending) -> bool:
        """Give a finishing upload its final status; False where it already has one.

        It stays open until its end was announced, so that `sweep` looks after it.
        """
        final = {**ending._asdict(), **ending.counts._asdict()}
        del final["counts"]
        assignments = ", ".join(f"#{name} = :{name}" for name in final)
        # Results name the time that was kept when they were due, which an older release did not keep.
        finished = "if_not_exists(finished, :finished)" if ending.results else ":finished"
        return self._update(
            upload_id,
            UPLOAD,
            f"SET {assignments}, finished = {finished}, updated = :now",
            condition=f"#status = :finishing AND {_SAME_ATTEMPT}",
            names={f"#{name}": name for name in final},
            values={
                ":finishing": "finishing",
                ":finished": now_iso(),
                ":attempts": attempt,
                **{f":{name}": value for name, value in final.items()},
            },
        )

    def set_announced(self, upload_id: str, attempt: int) -> None:
        self._update(
            upload_id,
            UPLOAD,
            "SET announced = :now REMOVE #open",
            condition=_SAME_ATTEMPT,
            names={"#open": "open"},
            values={":attempts": attempt},
        )

    def retry(self, upload_id: str, attempt: int, deadline: int) -> bool:
        """Begin an attempt at what failed; False unless the one before it has ended with failed records."""
        return self._update(
            upload_id,
            UPLOAD,
            "SET #s = :running, #open = :yes, attempts = :attempt, deadline = :deadline, updated = :now "
            "REMOVE reason, finished, announced",
            condition=f"#s IN (:{', :'.join(FINAL_STATUSES)}) AND failed > :none AND {_SAME_ATTEMPT}",
            names={"#s": "status", "#open": "open"},
            values={
                ":running": "running",
                ":yes": "yes",
                ":attempt": attempt,
                ":attempts": attempt - 1,
                ":deadline": deadline,
                ":none": 0,
                **{f":{status}": status for status in FINAL_STATUSES},
            },
        )

    def keep_listing_place(self, place: dict[str, str]) -> None:
        self._update(*LISTING, "SET place = :place, updated = :now", values={":place": place})

    def touch(self, upload_id: str, shard: int, *, given_up: bool) -> None:
        """Note that a shard was sent again, so that it is overdue only after another while."""
        self._update(
            upload_id,
            shard_key(shard),
            "SET updated = :now, given_up = :given_up",
            values={":given_up": given_up},
        )

    def _update(
        self,
        upload_id: str,
        sort_key: str,
        expression: str,
        *,
        condition: str = "",
        names: dict[str, str] | None = None,
        values: dict[str, Any] | None = None,
    ) -> bool:
        """Update an item; False where the condition does not hold: another worker did it before."""
        arguments: dict[str, Any] = {
            "Key": {"pk": upload_id, "sk": sort_key},
            "UpdateExpression": expression,
            "ExpressionAttributeValues": {":now": now_seconds(), **(values or {})},
        }
        if condition:
            arguments["ConditionExpression"] = condition
        if names:
            arguments["ExpressionAttributeNames"] = names
        try:
            self.table.update_item(**arguments)
        except ClientError as error:
            if not is_condition_failure(error):
                raise
            return False
        return True
