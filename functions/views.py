"""The API's views of an upload and of a model version."""

import json
from typing import Any

from functions.domain.upload import FINAL_STATUSES, Counts, attempt_of
from functions.services.dynamodb import Item, iso
from functions.services.uploads_table import UploadsTable, attempts

View = dict[str, Any]


def upload_view(item: Item, uploads: UploadsTable) -> View:
    """An upload as the API shows it; counts of an upload in work are those so far."""
    if item["status"] in FINAL_STATUSES:
        counts = Counts(*(item[name] for name in Counts._fields))
        progress = item["progress"]
    else:
        shards = uploads.shards(item["pk"])
        counts = uploads.counts(item["pk"], shards)
        progress = progress_of(item, shards)
    return {
        "upload": item["pk"],
        **item["source"],
        "bytes": item["size"],
        "status": "running" if item["status"] == "finishing" else item["status"],
        "reason": item.get("reason") or None,
        "model_version": item["model_version"] or None,
        "attempts": attempts(item),
        "created": item["created"],
        "updated": iso(item["updated"]),
        "finished": item.get("finished"),
        **counts._asdict(),
        "progress": progress,
        "results": item.get("results") or None,
        "warnings": item.get("warnings", []),
    }


def progress_of(item: Item, shards: dict[int, Item]) -> dict[str, int]:
    """The progress of an upload: what was found so far, and how much of it is done.

    The shards and batches of a retry are counted with those before it; its records were found before.
    """
    first = [shard for number, shard in shards.items() if attempt_of(number) == 1]
    return {
        "shards": item.get("shards", 0) * attempts(item),
        "shards_split": sum("batches" in shard for shard in shards.values()),
        "batches": sum(shard.get("batches", 0) for shard in shards.values()),
        "batches_done": sum(len(shard.get("batches_done", ())) for shard in shards.values()),
        "records_found": sum(shard.get("records", 0) for shard in first),
        "residues_found": sum(shard.get("residues", 0) for shard in first),
    }


def model_view(item: Item, active: str | None) -> View:
    """A model version as the API shows it. One in service that is not the active one stands by."""
    standby = item["state"] == "in_service" and item["sk"] != active
    return {
        "version": item["sk"],
        "state": "standby" if standby else item["state"],
        "active": item["sk"] == active,
        "created": item.get("created"),
        "artifact": item.get("artifact") or None,
        "metrics": json.loads(item.get("metrics", "{}")),
        "reason": item.get("reason") or None,
        "snapshot": item.get("snapshot") or None,
        "evaluation": item.get("evaluation") or None,
        "report": item.get("report") or None,
    }
