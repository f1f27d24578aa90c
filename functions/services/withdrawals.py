"""Uploads that are taken back: cancelled while they are in work, or deleted.

A cancelled upload goes its usual way with one difference: a batch is not asked about but ended with the known
answers. So each record still ends once, even if a process dies, repeats or comes late, and another attempt
may follow.

Of a deleted upload the row stays, so that no late delivery makes the upload anew. Its status keeps every
delivery that begins later from doing anything; the writes of an earlier one are erased again.
"""

from dataclasses import asdict

from boto3.dynamodb.conditions import Attr, ConditionBase, Key

from functions.domain.locations import TEN
from functions.domain.upload import GONE_STATUSES, Source, Upload
from functions.domain.upload_record import UploadRecord
from functions.services.dynamodb import Item, delete_all, now_iso, now_seconds, put_if, query_all, update
from functions.services.uploads_reader import UPLOAD, UploadsReader

CANCELLING = "cancelled; the batches that are on their way end without asking the model"
CANCELLED_UNREAD = "cancelled before the file was read"

UNPLANNED = Attr("status").eq("receiving") & Attr("shards").not_exists()
"""Holds until it is known how an upload's text is cut, or that there is none."""


def same_attempt(attempt: int) -> ConditionBase:
    """The fence: holds until a later attempt begins. An upload that was never retried has no `attempts`."""
    return Attr("attempts").eq(attempt) | Attr("attempts").not_exists()


class Withdrawals(UploadsReader):
    """The writes that take an upload back."""

    def cancel(self, upload_id: str) -> UploadRecord:
        """Have an upload that is in work end with the answers it has; return its record then.

        One that was not read yet ends at once. One whose last record has ended is not cancelled any more.
        """
        unread = {
            "status": "finishing",
            "finished": now_iso(),
            "reason": CANCELLED_UNREAD,
            "shards": 0,
            "cancelled": True,
        }
        if not self._change(upload_id, unread, UNPLANNED):
            upload = self.get(upload_id)
            running = Attr("status").eq("running") & same_attempt(upload.attempts)
            self._change(upload_id, {"cancelled": True, "reason": CANCELLING}, running)
        return self.get(upload_id)

    def delete(self, upload_id: str) -> None:
        """Take an upload out of every list and all work, for good; `erase` hears of it through the stream.

        It counts as no user of its model version any more, and as none that is in work.
        """
        there = Attr("status").exists() & ~Attr("status").is_in(list(GONE_STATUSES))
        values = {"status": "deleting", "deleted": now_seconds(), "open": "yes", "model_version": ""}
        self._change(upload_id, values, there, remove=("listing",))

    def erase_records(self, upload_id: str) -> None:
        """Delete the shards of an upload and the markers of their batches."""
        within = Key("pk").eq(upload_id) & Key("sk").between("batch#", "shard#~")
        keys = query_all(
            self.table, KeyConditionExpression=within, ProjectionExpression="pk, sk", ConsistentRead=True
        )
        delete_all(self.table.database, self.table.name, keys)

    def set_deleted(self, upload_id: str) -> None:
        """Leave nothing of a deleted upload but its id, which its event could bring again."""
        nothing = Upload(upload_id, Source("", "", ""), 0, "", "", 0, indexed=False)
        row = {"pk": upload_id, "sk": UPLOAD, "status": "deleted", "updated": now_seconds()}
        put_if(self.table, row | pinned_row(nothing), Attr("status").eq("deleting"))

    def _change(
        self, upload_id: str, values: Item, condition: ConditionBase, remove: tuple[str, ...] = ()
    ) -> bool:
        key = {"pk": upload_id, "sk": UPLOAD}
        return update(self.table, key, {**values, "updated": now_seconds()}, condition, remove=remove)


def pinned_row(upload: Upload) -> Item:
    """The attributes of an upload's row that its first reading pins."""
    return {
        "source": upload.source._asdict(),
        "size": upload.size,
        "model_version": upload.model_version,
        "created": upload.created,
        "deadline": upload.deadline,
        "indexed": upload.indexed,
        "organism": upload.organism,
        **({"packing": asdict(upload.packing)} if upload.packing else {}),
        **({"labels": upload.labels.text} if upload.labels is not TEN else {}),
    }
