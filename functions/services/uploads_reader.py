"""The uploads table as it is read: uploads, their shards and the markers of their batches.

Keys: pk is the upload's id; sk is `upload`, `shard#00003` or `batch#00003#00012`. One item is of no upload:
the place up to which `sweep` has looked through the bucket.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from boto3.dynamodb.conditions import Attr, Key

from functions.domain.errors import Missing, UploadDeleted
from functions.domain.upload import FINAL_STATUSES, Counts, attempt_of
from functions.domain.upload_record import Marker, ShardRecord, UploadRecord, progress_of, sum_of
from functions.services.dynamodb import Item, from_item, one_page, query_all
from functions.services.wire import Table

UPLOAD = "upload"
LISTING = ("sweep", "listing")


def shard_key(shard: int) -> str:
    return f"shard#{shard:05d}"


def batch_key(shard: int, batch: int) -> str:
    return f"batch#{shard:05d}#{batch:05d}"


class UploadsReader:
    """Uploads, their shards and their batches, as they are."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def get(self, upload_id: str) -> UploadRecord:
        """An upload. Raises KeyError where there is none."""
        item = self._item(upload_id, UPLOAD)
        if item is None:
            raise KeyError(upload_id)
        return UploadRecord.from_row(item)

    def existing(self, upload_id: str) -> UploadRecord:
        """An upload that a request is about. Raises Missing where there is none, UploadDeleted if it was."""
        try:
            upload = self.get(upload_id)
        except KeyError:
            raise Missing("There is no such upload.") from None
        if upload.is_gone:
            raise UploadDeleted
        return upload

    def exists(self, upload_id: str) -> bool:
        return "Item" in self.table.get_item(Key={"pk": upload_id, "sk": UPLOAD})

    def open_uploads(self) -> Iterator[UploadRecord]:
        """Every upload whose end was not announced yet, or that is being erased, oldest first."""
        for item in query_all(self.table, IndexName="open", KeyConditionExpression=Key("open").eq("yes")):
            yield UploadRecord.from_row(from_item(item))

    def in_work_at_once(self, most: int) -> int:
        """Count the uploads that were let in and have not ended, up to `most`: those that have their model.

        So one counts from then on, also while it is decompressed.
        """
        in_work = (upload for upload in self.open_uploads() if upload.model_version)
        return sum(1 for _ in islice(in_work, most))

    def listed(self, size: int, start: Item | None) -> tuple[list[UploadRecord], Item | None]:
        """A page of all uploads, newest first, and where the next one begins."""
        query: dict[str, Any] = {
            "IndexName": "listing",
            "KeyConditionExpression": Key("listing").eq("uploads"),
            "ScanIndexForward": False,
        }
        items, following = one_page(self.table, ("pk", "sk", "listing", "listed"), size, start, **query)
        return [UploadRecord.from_row(from_item(item)) for item in items], following

    def listing_place(self) -> dict[str, str]:
        """The S3 markers at which the next search of the bucket continues; none at its beginning."""
        return dict((self._item(*LISTING) or {}).get("place", {}))

    # Shards and batches

    def shard(self, upload_id: str, shard: int) -> ShardRecord:
        """One shard; an empty record where it was not begun."""
        return ShardRecord.from_row(shard, self._item(upload_id, shard_key(shard)) or {})

    def shards(self, upload_id: str) -> dict[int, ShardRecord]:
        """All shards that were begun."""
        items = query_all(
            self.table,
            KeyConditionExpression=Key("pk").eq(upload_id) & Key("sk").begins_with("shard#"),
            ConsistentRead=True,
        )
        return dict(map(_shard, items))

    def begun_shards(self, upload: UploadRecord) -> dict[int, ShardRecord]:
        """The shards of the attempts that `upload` knows of: a late reader may find those of a later one."""
        shards = self.shards(upload.upload_id)
        return {number: shard for number, shard in shards.items() if attempt_of(number) <= upload.attempts}

    def is_in_work(self, upload: UploadRecord, shard: int) -> bool:
        """False if nothing that is still done in this shard would count."""
        if upload.status != "running" or attempt_of(shard) != upload.attempts:
            return False
        return self.shard(upload.upload_id, shard).kept is None

    def batch_is_done(self, upload_id: str, shard: int, batch: int) -> bool:
        return self._item(upload_id, batch_key(shard, batch)) is not None

    def done_batches(self, upload_id: str, shard: int) -> dict[int, Marker]:
        """The markers of a shard, by the number of their batch."""
        markers = map(_marker, self._markers(upload_id, f"batch#{shard:05d}#"))
        return {batch: marker for _, batch, marker in markers}

    def result_batches(self, upload_id: str, shard: int) -> dict[int, Marker]:
        """Those markers of a shard that has ended that make up its result."""
        markers, record = self.done_batches(upload_id, shard), self.shard(upload_id, shard)
        return {batch: marker for batch, marker in markers.items() if record.keeps(batch)}

    def counts(self, upload_id: str, shards: dict[int, ShardRecord]) -> Counts:
        """The sum over those markers of these shards that make up a result, as far as there is one."""
        return sum_of(map(_marker, self._markers(upload_id, "batch#")), shards)

    def account(self, upload: UploadRecord) -> tuple[Counts, Mapping[str, int]]:
        """The counts and the progress of an upload, so far if it is in work; one query at most."""
        if upload.status in FINAL_STATUSES:
            return upload.counts, upload.progress
        within = Key("pk").eq(upload.upload_id) & Key("sk").between("batch#", "shard#~")
        items = list(query_all(self.table, KeyConditionExpression=within, ConsistentRead=True))
        shards = dict(_shard(item) for item in items if item["sk"].startswith("shard#"))
        markers = [_marker(item) for item in items if item["sk"].startswith("batch#")]
        return sum_of(markers, shards), progress_of(upload, shards)

    def _item(self, upload_id: str, sort_key: str) -> Item | None:
        response = self.table.get_item(Key={"pk": upload_id, "sk": sort_key}, ConsistentRead=True)
        return from_item(response["Item"]) if "Item" in response else None

    def _markers(self, upload_id: str, prefix: str) -> Iterator[Item]:
        return query_all(
            self.table,
            KeyConditionExpression=Key("pk").eq(upload_id) & Key("sk").begins_with(prefix),
            FilterExpression=Attr("records").exists(),
            ConsistentRead=True,
        )


def _shard(item: Item) -> tuple[int, ShardRecord]:
    number = int(item["sk"].split("#")[1])
    return number, ShardRecord.from_row(number, from_item(item))


def _marker(item: Item) -> tuple[int, int, Marker]:
    shard, batch = map(int, item["sk"].split("#")[1:])
    return shard, batch, Marker.from_row(item)
