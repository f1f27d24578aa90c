"""The uploads table: what is known of every upload, and the accounting that makes its end exact.

Deliveries repeat, come out of order and die halfway, so nothing is counted by adding to a number. A batch
that ended leaves one marker, written once, with its counts; its number then goes into its shard's set; a
shard whose set is full goes into the upload's set; the upload whose set is full is finishing. Every step can
be repeated without effect, and a redelivery repeats all of them after the one it finds done. Totals are
sums over markers.

Keys: pk is the upload's id; sk is `upload`, `shard#00003` or `batch#00003#00012`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from functions.tables import (
    Item,
    from_item,
    is_condition_failure,
    now_iso,
    now_seconds,
    put_new,
    query_all,
)
from functions.upload import Counts, Ending, Shard, Source, Upload, plan_shards

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

UPLOAD = "upload"


def shard_key(shard: int) -> str:
    return f"shard#{shard:05d}"


def batch_key(shard: int, batch: int) -> str:
    return f"batch#{shard:05d}#{batch:05d}"


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
                "listed": f"{upload.created}#{upload.upload_id}",
                "updated": now_seconds(),
                "source": upload.source._asdict(),
                "size": upload.size,
                "model_version": upload.model_version,
                "created": upload.created,
                "deadline": upload.deadline,
                "indexed": upload.indexed,
            },
        )
        return self.pinned(upload.upload_id)

    def pinned(self, upload_id: str) -> Upload:
        """What was pinned when the upload was received. Raises KeyError where there is no such upload."""
        return pinned(self.item(upload_id))

    def item(self, upload_id: str) -> Item:
        """Everything known of an upload. Raises KeyError where there is none."""
        answer = self.table.get_item(Key={"pk": upload_id, "sk": UPLOAD}, ConsistentRead=True)
        if "Item" not in answer:
            raise KeyError(upload_id)
        item: Item = from_item(answer["Item"])
        return item

    def plan(
        self, upload_id: str, text: Source, text_size: int, shard_bytes: int, damage: str = ""
    ) -> list[Shard]:
        """Record how an upload's text is cut, once, and return the shards of the plan that stands.

        A text of no bytes gives no shards, and the upload is finishing at once.
        """
        shards = plan_shards(upload_id, text, text_size, shard_bytes, damage)
        planned = self._update(
            upload_id,
            UPLOAD,
            "SET #s = :running, shards = :shards, #t = :text, text_size = :size, shard_bytes = :bytes, "
            "damage = :damage, updated = :now REMOVE reason",
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
        self, shard: Shard, batches: int, lines: int, records: int, residues: int, done: set[int]
    ) -> None:
        """Record what a shard was split into; every batch of it is among the `done` or has been sent."""
        self._update(
            shard.upload_id,
            shard_key(shard.number),
            "SET batches = :batches, #l = :lines, records = :records, residues = :residues, updated = :now"
            + (" ADD batches_done :done" if done else ""),
            condition="attribute_not_exists(kept)",
            names={"#l": "lines"},
            values={
                ":batches": batches,
                ":lines": lines,
                ":records": records,
                ":residues": residues,
                **({":done": done} if done else {}),
            },
        )
        self.close_shard(shard.upload_id, shard.number)

    def abandon_shard(self, shard: Shard, reason: str) -> None:
        """End a shard that cannot be read with what of it was done before, and say why.

        What was done is noted as `kept`: a batch that ends after this belongs to no result. A shard that was
        read before has its batches on their way, and is abandoned only if it is given up.
        """
        done = self.done_batches(shard.upload_id, shard.number)
        self._update(
            shard.upload_id,
            shard_key(shard.number),
            "SET batches = :batches, kept = :kept, abandoned = :reason, #l = if_not_exists(#l, :none), "
            "updated = :now"
            + (" ADD batches_done :done" if done else ""),
            condition="attribute_not_exists(kept)"
            + ("" if shard.give_up else " AND attribute_not_exists(batches)"),
            names={"#l": "lines"},
            values={
                ":batches": len(done),
                ":kept": sorted(done),
                ":reason": reason,
                ":none": 0,
                **({":done": done} if done else {}),
            },
        )
        self.close_shard(shard.upload_id, shard.number)

    def in_work(self, upload_id: str, shard: int) -> Upload | None:
        """The upload, unless nothing that is still done in this shard would count."""
        item = self.item(upload_id)
        if item["status"] != "running" or "kept" in self.shard(upload_id, shard):
            return None
        return pinned(item)

    def batch_is_done(self, upload_id: str, shard: int, batch: int) -> bool:
        answer = self.table.get_item(
            Key={"pk": upload_id, "sk": batch_key(shard, batch)}, ConsistentRead=True
        )
        return "Item" in answer

    def done_batches(self, upload_id: str, shard: int) -> set[int]:
        """The numbers of a shard's batches that have a marker."""
        return {int(item["sk"].split("#")[2]) for item in self._markers(upload_id, f"batch#{shard:05d}#")}

    def record_batch(self, upload_id: str, shard: int, batch: int, counts: Counts) -> None:
        """Leave the marker of an ended batch, unless it has one, and do what follows from it."""
        marker = {"pk": upload_id, "sk": batch_key(shard, batch), **counts._asdict()}
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

    def close_shard(self, upload_id: str, shard: int) -> None:
        """If all batches of a shard are done, count the shard in, and the upload if it was the last."""
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
        if item["status"] != "running" or len(item.get("shards_done", ())) < item["shards"]:
            return
        self.set_finishing(upload_id)

    def set_finishing(self, upload_id: str) -> None:
        """Hand a running upload over to `complete`, which hears of it through the table's stream."""
        self._update(
            upload_id,
            UPLOAD,
            "SET #s = :finishing, updated = :now",
            condition="#s = :running",
            names={"#s": "status"},
            values={":finishing": "finishing", ":running": "running"},
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

    # An upload's end

    def finish(self, upload_id: str, ending: Ending) -> bool:
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
            condition="#status = :finishing",
            names={f"#{name}": name for name in final},
            values={":finishing": "finishing", **{f":{name}": value for name, value in final.items()}},
        )

    def set_announced(self, upload_id: str) -> None:
        self._update(upload_id, UPLOAD, "SET announced = :now REMOVE #open", names={"#open": "open"})

    # Reading

    def counts(self, upload_id: str) -> Counts:
        """The sum over the markers of an upload in work."""
        return sum((counts for _, _, counts in self._ended_batches(upload_id)), Counts())

    def results_of(self, upload_id: str, shards: dict[int, Item]) -> dict[int, dict[int, Counts]]:
        """The batches that make up an upload's result, by shard and number, with their counts."""
        batches: dict[int, dict[int, Counts]] = {shard: {} for shard in shards}
        for shard, batch, counts in self._ended_batches(upload_id):
            if batch in shards[shard].get("kept", (batch,)):
                batches[shard][batch] = counts
        return batches

    def _ended_batches(self, upload_id: str) -> Iterator[tuple[int, int, Counts]]:
        for marker in self._markers(upload_id, "batch#"):
            _, shard, batch = marker["sk"].split("#")
            yield int(shard), int(batch), Counts(*(int(marker[name]) for name in Counts._fields))

    def shards(self, upload_id: str) -> dict[int, Item]:
        """What is recorded of each shard that was begun."""
        items = query_all(
            self.table,
            KeyConditionExpression=Key("pk").eq(upload_id) & Key("sk").begins_with("shard#"),
            ConsistentRead=True,
        )
        return {int(item["sk"].split("#")[1]): from_item(item) for item in items}

    def shard(self, upload_id: str, shard: int) -> Item:
        """What is recorded of one shard; empty where it was not begun."""
        answer = self.table.get_item(Key={"pk": upload_id, "sk": shard_key(shard)}, ConsistentRead=True)
        item: Item = from_item(answer.get("Item", {}))
        return item

    def exists(self, upload_id: str) -> bool:
        return "Item" in self.table.get_item(Key={"pk": upload_id, "sk": UPLOAD})

    def open_uploads(self) -> Iterator[Item]:
        """Every upload whose end was not announced yet, oldest first."""
        for item in query_all(self.table, IndexName="open", KeyConditionExpression=Key("open").eq("yes")):
            yield from_item(item)

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


def pinned(item: Item) -> Upload:
    """The fixed part of an upload's item."""
    return Upload(
        upload_id=item["pk"],
        source=Source(**item["source"]),
        size=item["size"],
        model_version=item["model_version"],
        created=item["created"],
        deadline=item["deadline"],
        indexed=item["indexed"],
    )


def planned_shards(item: Item) -> list[Shard]:
    """The shards an upload was planned to have."""
    if not item.get("shards"):
        return []
    return plan_shards(
        item["pk"], Source(**item["text"]), item["text_size"], item["shard_bytes"], item.get("damage", "")
    )
