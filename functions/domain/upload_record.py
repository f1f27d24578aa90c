"""The rows of the uploads table as values: an upload, a shard, and the marker of a batch that ended.

A row grows while its upload gets on: values that it does not have yet are empty here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from functions.domain.locations import read_labels
from functions.domain.packing import PackingSettings
from functions.domain.upload import (
    GONE_STATUSES,
    Counts,
    Inflate,
    Shard,
    Source,
    Upload,
    attempt_of,
    plan_shards,
    shard_numbers,
)

Row = Mapping[str, Any]


class Marker(NamedTuple):
    """A batch that ended."""

    counts: Counts
    first: int = 0
    """The offset of its first record; 0 where an older release left the marker."""

    @staticmethod
    def from_row(row: Row) -> "Marker":
        return Marker(Counts(*(int(row[name]) for name in Counts._fields)), int(row.get("first", 0)))


@dataclass(frozen=True)
class ShardRecord:
    """A shard that was begun."""

    number: int
    batches: int | None = None  # None until it is split
    batches_done: frozenset[int] = frozenset()
    lines: int = 0
    records: int = 0
    residues: int = 0
    left_out: int = 0  # characters before its first record
    kept: frozenset[int] | None = None  # where it was abandoned, the batches that count
    unread: str = ""  # why it was abandoned
    updated: int = 0  # seconds since the epoch
    given_up: bool = False

    @staticmethod
    def from_row(number: int, row: Row) -> "ShardRecord":
        return ShardRecord(
            number=number,
            batches=row.get("batches"),
            batches_done=frozenset(row.get("batches_done", ())),
            lines=row.get("lines", 0),
            records=row.get("records", 0),
            residues=row.get("residues", 0),
            left_out=row.get("left_out", 0),
            kept=frozenset(row["kept"]) if "kept" in row else None,
            unread=row.get("unread", ""),
            updated=row.get("updated", 0),
            given_up=row.get("given_up", False),
        )

    @property
    def is_full(self) -> bool:
        """True if every batch of it is done."""
        return self.batches is not None and len(self.batches_done) >= self.batches

    def keeps(self, batch: int) -> bool:
        """True if a batch of it belongs to the result."""
        return self.kept is None or batch in self.kept


Shards = Mapping[int, ShardRecord]


@dataclass(frozen=True)
class UploadRecord(Upload):
    """An upload as its first reading pinned it, and where it stands now."""

    status: str = "receiving"  # then running, finishing, one of FINAL_STATUSES, and perhaps of GONE_STATUSES
    updated: int = 0  # seconds since the epoch
    reason: str = ""
    attempts: int = 1  # one, and one more for each retry
    text: Source | None = None  # this and the following are the plan
    text_size: int = 0
    shard_bytes: int = 0
    damage: str = ""
    left_out: str = ""
    shards: int = 0  # of each attempt
    shards_done: frozenset[int] = frozenset()
    finished: str = ""  # when the last record had ended; this and the following are the end
    counts: Counts = field(default_factory=Counts)
    progress: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)  # the key of each export, by name
    warnings: list[str] = field(default_factory=list)
    announced: bool = False
    cancelled: bool = False  # whether the present attempt was
    deleted: int = 0  # when, in seconds since the epoch

    @staticmethod
    def from_row(row: Row) -> "UploadRecord":
        return UploadRecord(
            upload_id=row["pk"],
            source=Source(**row["source"]),
            size=row["size"],
            model_version=row["model_version"],
            created=row["created"],
            deadline=row["deadline"],
            indexed=row["indexed"],
            organism=row.get("organism", ""),
            packing=_packing(row["packing"]) if "packing" in row else None,
            labels=read_labels(row.get("labels", "")),
            status=row["status"],
            updated=row["updated"],
            reason=row.get("reason", ""),
            attempts=row.get("attempts", 1),
            text=Source(**row["text"]) if "text" in row else None,
            text_size=row.get("text_size", 0),
            shard_bytes=row.get("shard_bytes", 0),
            damage=row.get("damage", ""),
            left_out=row.get("left_out", ""),
            shards=row.get("shards", 0),
            shards_done=frozenset(row.get("shards_done", ())),
            finished=row.get("finished", ""),
            counts=Counts(*(row.get(name, 0) for name in Counts._fields)),
            progress=row.get("progress", {}),
            results=row.get("results", {}),
            warnings=row.get("warnings", []),
            announced="announced" in row,
            cancelled=row.get("cancelled", False),
            deleted=row.get("deleted", 0),
        )

    @property
    def shown_status(self) -> str:
        """The status as people see it: an upload whose results are being written is in work."""
        return "running" if self.status == "finishing" else self.status

    @property
    def is_gone(self) -> bool:
        """True if it was deleted."""
        return self.status in GONE_STATUSES

    @property
    def shard_numbers(self) -> range:
        """The numbers of the present attempt's shards."""
        return shard_numbers(self.shards, self.attempts)

    def planned_shards(self) -> list[Shard]:
        """The shards of the present attempt."""
        if not self.shards or self.text is None:
            return []
        return plan_shards(
            self.upload_id, self.text, self.text_size, self.shard_bytes, self.damage, self.attempts
        )

    def tasks(self) -> list[Shard] | list[Inflate]:
        """The messages that begin the present attempt; a decompressed text may have expired."""
        return self.planned_shards() if self.text == self.source else [Inflate(self.upload_id)]


def _packing(row: Row) -> PackingSettings:
    """Settings as a row holds them, perhaps that of a release with others."""
    return PackingSettings(
        **{each.name: int(row[each.name]) for each in fields(PackingSettings) if each.name in row}
    )


def records_read(shards: Shards) -> int:
    """Count the records read in these shards; a retry reads no new ones."""
    return sum(shard.records for number, shard in shards.items() if attempt_of(number) == 1)


def progress_of(upload: UploadRecord, shards: Shards) -> dict[str, int]:
    """The progress of an upload: the records read so far, and how many of them are done.

    The shards and batches of a retry are counted with those before it; its records were found before.
    """
    first = [shard for number, shard in shards.items() if attempt_of(number) == 1]
    return {
        "shards": upload.shards * upload.attempts,
        "shards_split": sum(shard.batches is not None for shard in shards.values()),
        "batches": sum(shard.batches or 0 for shard in shards.values()),
        "batches_done": sum(len(shard.batches_done) for shard in shards.values()),
        "records_found": sum(shard.records for shard in first),
        "residues_found": sum(shard.residues for shard in first),
    }


def sum_of(markers: Iterable[tuple[int, int, Marker]], shards: Shards) -> Counts:
    """The counts of those of these (shard, batch, marker) that belong to the result of these shards."""
    total = Counts()
    for shard, batch, marker in markers:
        if shard in shards and shards[shard].keeps(batch):
            total += marker.counts.replacing_failed() if attempt_of(shard) > 1 else marker.counts
    return total
