"""The uploads table: what is known of every upload, and the accounting that makes its end exact.

Deliveries repeat, come out of order and die halfway, so nothing is counted by adding to a number. A batch
that ended leaves one marker, written once, with its counts; its number then goes into its shard's set; a
shard whose set is full goes into the upload's set; the upload whose set is full is finishing. Every step can
be repeated without effect, and a redelivery repeats all of them after the one it finds done. Totals are
sums over markers.

A retry is one more attempt: the same shards again under new numbers, which hold only the records that
failed before. What belongs to an earlier attempt cannot touch them, and every write to the upload itself
that ends an attempt is made only if no later one has begun.

Keys: pk is the upload's id; sk is `upload`, `shard#00003` or `batch#00003#00012`. One item is of no upload:
the place up to which `sweep` has looked through the bucket.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from functions.domain.upload import (
    FINAL_STATUSES,
    Counts,
    Ending,
    Shard,
    Source,
    Upload,
    attempt_of,
    attempts,
    pinned,
    plan_shards,
    planned_shards,
    progress_of,
    upload_id,
)
from functions.services.dynamodb import (
    Item,
    from_item,
    is_condition_failure,
    now_iso,
    now_milliseconds,
    now_seconds,
    put_new,
    query_all,
)
from functions.services.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

UPLOAD = "upload"
LISTING = ("sweep", "listing")

_SAME_ATTEMPT = "(attempts = :attempts OR attribute_not_exists(attempts))"
"""The fence. An upload that was never retried has no `attempts`."""


def shard_key(shard: int) -> str:
    return f"shard#{shard:05d}"


def batch_key(shard: int, batch: int) -> str:
    return f"batch#{shard:05d}#{batch:05d}"


def new_upload(
    source: Source, size: int, model_version: str, settings: Settings, organism: str = ""
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
    )


class UploadsTable:
    """Uploads, their shards and their batches."""

    def __init__(self, table: "Table") -> None:
        self.table = table

    # An upload's beginning

    def start(self, upload: Upload) -> Upload:
        """Record an upload, and return it as it was first recorded, whoever came first."""
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
            },
        )
        return self.pinned(upload.upload_id)

    def pinned(self, upload_id: str) -> Upload:
        """The upload as it was pinned on receipt. Raises KeyError where there is no such upload."""
        return pinned(self.item(upload_id))

    def item(self, upload_id: str) -> Item:
        """Everything known of an upload. Raises KeyError where there is none."""
        answer = self.table.get_item(Key={"pk": upload_id, "sk": UPLOAD}, ConsistentRead=True)
        if "Item" not in answer:
            raise KeyError(upload_id)
        item: Item = from_item(answer["Item"])
        return item

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
            shards = planned_shards(self.item(upload_id))
        self.finish_if_full(upload_id)
        return shards

    def refuse(self, upload_id: str, reason: str) -> None:
        """End an upload whose file cannot be read at all: no shards, no records, and why."""
        self._update(
            upload_id,
            UPLOAD,
            "SET #s = :finishing, reason = :reason, shards = :none, updated = :now",
            condition="#s = :receiving AND attribute_not_exists(shards)",
            names={"#s": "status"},
            values={":finishing": "finishing", ":receiving": "receiving", ":reason": reason, ":none": 0},
        )

    def pin_model(self, upload_id: str, version: str) -> Upload:
        """Pin an upload that came before there was any model version; the first pin stands."""
        self._update(
            upload_id,
            UPLOAD,
            "SET model_version = :version, updated = :now",
            condition="model_version = :none AND #s = :receiving",
            names={"#s": "status"},
            values={":version": version, ":none": "", ":receiving": "receiving"},
        )
        return self.pinned(upload_id)

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

    def in_work(self, upload_id: str, shard: int) -> Upload | None:
        """The upload, unless nothing that is still done in this shard would count."""
        item = self.item(upload_id)
        if item["status"] != "running" or attempt_of(shard) != attempts(item):
            return None
        return None if "kept" in self.shard(upload_id, shard) else pinned(item)

    def batch_is_done(self, upload_id: str, shard: int, batch: int) -> bool:
        answer = self.table.get_item(
            Key={"pk": upload_id, "sk": batch_key(shard, batch)}, ConsistentRead=True
        )
        return "Item" in answer

    def open_batch(self, upload_id: str, shard: int, batch: int) -> Upload | None:
        """The upload of a batch that is still to be ended; None where the batch has ended or would not count.

        What follows from the end of one that has is done again.
        """
        if self.batch_is_done(upload_id, shard, batch):
            self.settle_batch(upload_id, shard, batch)
            return None
        return self.in_work(upload_id, shard)

    def done_batches(self, upload_id: str, shard: int) -> dict[int, Item]:
        """The markers of a shard, by the number of their batch: its counts, and `first`, its first offset."""
        markers = self._markers(upload_id, f"batch#{shard:05d}#")
        return {int(marker["sk"].split("#")[2]): from_item(marker) for marker in markers}

    def result_batches(self, upload_id: str, shard: int) -> dict[int, Item]:
        """Those markers of a shard that has ended that make up its result."""
        markers = self.done_batches(upload_id, shard)
        return {batch: markers[batch] for batch in self.shard(upload_id, shard).get("kept", markers)}

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

    def settle_shard(self, upload_id: str, shard: int) -> dict[int, Item]:
        """Settle the batches of a shard that have a marker and are not counted; return all its markers.

        Who ends batches that nobody else is told of, and dies, leaves such markers to the next one.
        """
        done = self.done_batches(upload_id, shard)
        for batch in done.keys() - set(self.shard(upload_id, shard).get("batches_done", ())):
            self.settle_batch(upload_id, shard, batch)
        return done

    def close_shard(self, upload_id: str, shard: int) -> None:
        """Count a shard as done if all its batches are, and the upload as full if it was the last."""
        item = self.shard(upload_id, shard)
        if "batches" not in item or len(item.get("batches_done", ())) < item["batches"]:
            return
        self._update(
            upload_id, UPLOAD, "ADD shards_done :shard SET updated = :now", values={":shard": {shard}}
        )
        self.finish_if_full(upload_id)

    def finish_if_full(self, upload_id: str) -> None:
        """Hand a running upload over to `complete` once all its shards are counted in."""
        item = self.item(upload_id)
        shards = {shard.number for shard in planned_shards(item)}
        if item["status"] != "running" or not shards.issubset(item.get("shards_done", ())):
            return
        self.set_finishing(upload_id, attempts(item))

    def set_finishing(self, upload_id: str, attempt: int) -> None:
        """Hand a running upload over to `complete`, which hears of it through the table's stream."""
        self._update(
            upload_id,
            UPLOAD,
            "SET #s = :finishing, updated = :now",
            condition=f"#s = :running AND {_SAME_ATTEMPT}",
            names={"#s": "status"},
            values={":finishing": "finishing", ":running": "running", ":attempts": attempt},
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
        final = {**ending._asdict(), **ending.counts._asdict(), "finished": now_iso()}
        del final["counts"]
        assignments = ", ".join(f"#{name} = :{name}" for name in final)
        return self._update(
            upload_id,
            UPLOAD,
            f"SET {assignments}, updated = :now",
            condition=f"#status = :finishing AND {_SAME_ATTEMPT}",
            names={f"#{name}": name for name in final},
            values={
                ":finishing": "finishing",
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

    # Reading

    def counts(self, upload_id: str, shards: dict[int, Item]) -> Counts:
        """The sum over those markers of these shards that make up a result, as far as there is one."""
        return _summed(self._markers(upload_id, "batch#"), shards)

    def account(self, item: Item) -> tuple[Counts, dict[str, int]]:
        """The counts and the progress of an upload, so far if it is in work; one query at most."""
        if item["status"] in FINAL_STATUSES:
            return Counts(*(item[name] for name in Counts._fields)), item["progress"]
        within = Key("pk").eq(item["pk"]) & Key("sk").between("batch#", "shard#~")
        items = list(query_all(self.table, KeyConditionExpression=within, ConsistentRead=True))
        markers = [each for each in items if each["sk"].startswith("batch#")]
        shards = {_number(each): from_item(each) for each in items if each["sk"].startswith("shard#")}
        return _summed(markers, shards), progress_of(item, shards)

    def shards(self, upload_id: str) -> dict[int, Item]:
        """The records of all shards that were begun."""
        items = query_all(
            self.table,
            KeyConditionExpression=Key("pk").eq(upload_id) & Key("sk").begins_with("shard#"),
            ConsistentRead=True,
        )
        return {_number(item): from_item(item) for item in items}

    def begun_shards(self, item: Item) -> dict[int, Item]:
        """The shards of the attempts that `item` knows of: who comes late may find those of a later one."""
        begun = self.shards(item["pk"])
        return {number: shard for number, shard in begun.items() if attempt_of(number) <= attempts(item)}

    def shard(self, upload_id: str, shard: int) -> Item:
        """The record of one shard; empty where it was not begun."""
        answer = self.table.get_item(Key={"pk": upload_id, "sk": shard_key(shard)}, ConsistentRead=True)
        item: Item = from_item(answer.get("Item", {}))
        return item

    def exists(self, upload_id: str) -> bool:
        return "Item" in self.table.get_item(Key={"pk": upload_id, "sk": UPLOAD})

    def open_uploads(self) -> Iterator[Item]:
        """Every upload whose end was not announced yet, oldest first."""
        for item in query_all(self.table, IndexName="open", KeyConditionExpression=Key("open").eq("yes")):
            yield from_item(item)

    def in_work_at_once(self, most: int) -> int:
        """Count the uploads that are past receiving and have not ended, up to `most`."""
        found = (item for item in self.open_uploads() if item["status"] != "receiving")
        return sum(1 for _ in islice(found, most))

    def listed(self, size: int, start: Item | None) -> tuple[list[Item], Item | None]:
        """A page of all uploads, newest first, and where the next one begins."""
        query: dict[str, Any] = {
            "IndexName": "listing",
            "KeyConditionExpression": Key("listing").eq("uploads"),
            "ScanIndexForward": False,
            "Limit": size,
        }
        if start:
            query["ExclusiveStartKey"] = start
        page = self.table.query(**query)
        return [from_item(item) for item in page["Items"]], page.get("LastEvaluatedKey")

    def listing_place(self) -> dict[str, str]:
        """The S3 markers at which the next search of the bucket continues; none at its beginning."""
        answer = self.table.get_item(Key=dict(zip(("pk", "sk"), LISTING, strict=True)), ConsistentRead=True)
        return dict(from_item(answer.get("Item", {})).get("place", {}))

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

    def _markers(self, upload_id: str, prefix: str) -> Iterator[Item]:
        return query_all(
            self.table,
            KeyConditionExpression=Key("pk").eq(upload_id) & Key("sk").begins_with(prefix),
            FilterExpression=Attr("records").exists(),
            ConsistentRead=True,
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
        """Update an item; False where the condition does not hold, which somebody else saw to before."""
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


def _number(shard: Item) -> int:
    return int(shard["sk"].split("#")[1])


def _summed(markers: Iterable[Item], shards: dict[int, Item]) -> Counts:
    kept = {number: set(shard["kept"]) for number, shard in shards.items() if "kept" in shard}
    total = Counts()
    for marker in markers:
        shard, batch = map(int, marker["sk"].split("#")[1:])
        if shard in shards and batch in kept.get(shard, (batch,)):
            counts = Counts(*(int(marker[name]) for name in Counts._fields))
            total += counts.replacing_failed() if attempt_of(shard) > 1 else counts
    return total
