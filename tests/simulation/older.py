"""Messages and rows of an earlier release, as its functions leave them during an update.

An update replaces functions one after the other while messages are under way, so the new ones read messages
and rows of the old ones, and the other way round.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from functions.domain.upload import Counts
from functions.services import Services
from functions.services.dynamodb import put_new
from functions.services.queues import Queue
from functions.services.uploads_reader import batch_key
from functions.services.uploads_table import UploadsTable


class OlderQueue(Queue):
    """Sends batches that know nothing of a search for a culprit that goes on."""

    def send(self, message: dict[str, Any], delay_seconds: int = 0) -> None:
        super().send({name: value for name, value in message.items() if name != "progress"}, delay_seconds)


class OlderUploads(UploadsTable):
    """Leaves markers without the place of their first record."""

    def record_batch(self, upload_id: str, shard: int, batch: int, counts: Counts, first: int) -> None:
        put_new(self.table, {"pk": upload_id, "sk": batch_key(shard, batch), **counts._asdict()})
        self.settle_batch(upload_id, shard, batch)


def services(aws: Services) -> Services:
    """The same services, as a function of the earlier release uses them."""
    return replace(
        aws,
        uploads=OlderUploads(aws.uploads.table),
        batches_queue=OlderQueue(aws.batches_queue.client, aws.batches_queue.url),
    )
