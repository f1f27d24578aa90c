"""Ways to break the deletion of uploads, each a mistake that is easily made."""

from __future__ import annotations

import math
from typing import Any

from functions import erase
from functions.domain.upload import attempt_of, prefixes_of
from functions.domain.upload_record import UploadRecord
from functions.services.predictions_table import PredictionsTable
from functions.services.uploads_table import UploadsTable

Replaced = tuple[Any, str, Any]


def _results_only(upload: str) -> tuple[str, ...]:
    return tuple(prefix for prefix in prefixes_of(upload) if prefix.startswith("results/"))


def _first_shard_only(self: PredictionsTable, upload_id: str, shards: int) -> None:
    _erase_rows(self, upload_id, min(shards, 1))


_erase_rows = PredictionsTable.erase


def _whatever_its_status(self: UploadsTable, upload: UploadRecord, shard: int) -> bool:
    return attempt_of(shard) == upload.attempts and self.shard(upload.upload_id, shard).kept is None


def _as_one_that_never_was(self: UploadsTable, upload_id: str) -> None:
    key = {"pk": upload_id, "sk": "upload"}
    request: Any = {self.table.name: [{"DeleteRequest": {"Key": key}}]}
    self.table.database.batch_write_item(RequestItems=request)


WITHDRAWALS: dict[str, tuple[Replaced, ...]] = {
    "what is deleted is erased once": ((erase, "now_seconds", lambda: math.inf),),
    "the parts of what is deleted are left": ((erase, "prefixes_of", _results_only),),
    "rows of the first shard alone are erased": ((PredictionsTable, "erase", _first_shard_only),),
    "batches of what is deleted are asked about": ((UploadsTable, "is_in_work", _whatever_its_status),),
    "a deleted upload leaves no row": ((UploadsTable, "set_deleted", _as_one_that_never_was),),
}
