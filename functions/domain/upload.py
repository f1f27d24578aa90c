"""An upload: one version of one user's file, cut into shards and batches. Names, keys, plans, messages."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from functions.domain.errors import InputError
from functions.domain.locations import TEN, LabelSet
from functions.domain.packing import PackingSettings

FINAL_STATUSES = ("complete", "partial", "failed", "cancelled")

GONE_STATUSES = ("deleting", "deleted")
"""Of an upload that was deleted, while it is erased and after."""

CANCELLED = "the upload was cancelled before this record was predicted"

MAX_SHARDS = 1_000
"""Of one attempt. Those of a second are numbered from here on, of a third from twice that, and so on."""

MAX_ATTEMPTS = 20


class Source(NamedTuple):
    """One version of an object in S3."""

    bucket: str
    key: str
    version_id: str


class Counts(NamedTuple):
    """Numbers of records by their outcome; `residues` counts those of predicted proteins."""

    records: int = 0
    predicted: int = 0
    rejected: int = 0
    failed: int = 0
    residues: int = 0

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def replacing_failed(self) -> "Counts":
        """The amounts these records add to a sum in which each of them is counted as failed already."""
        return self._replace(records=0, failed=self.failed - self.records)


class Ending(NamedTuple):
    """The end of an upload."""

    status: str  # one of FINAL_STATUSES
    reason: str
    counts: Counts
    progress: dict[str, int]
    results: dict[str, str]  # the key of each export, by name
    warnings: list[str]  # parts that were left out, and reasons to doubt its answers


@dataclass(frozen=True)
class Upload:
    """The upload as its first reading pinned it. Values that change later live in the uploads table."""

    upload_id: str
    source: Source
    size: int  # bytes in S3
    model_version: str
    created: str  # ISO 8601, UTC
    deadline: int  # seconds since the epoch
    indexed: bool  # whether predictions go into the predictions table too
    organism: str = ""  # the kingdom that its sender named, if any
    packing: PackingSettings | None = None  # None where an older release received it
    labels: LabelSet = TEN  # of the model version, pinned with it


@dataclass(frozen=True)
class Shard:
    """A byte range of the upload's text. `text` is the upload itself, or its decompressed text."""

    upload_id: str
    number: int
    text: Source
    start: int
    end: int
    damage: str = ""
    """The reason why the text stops early, if it does: the record it stops in is then incomplete."""
    give_up: str = ""
    """The reason to fail the rest rather than try it again; empty where there is none."""

    def as_message(self) -> dict[str, Any]:
        return {
            "upload": self.upload_id,
            "shard": self.number,
            "text": self.text._asdict(),
            "start": self.start,
            "end": self.end,
            "damage": self.damage,
            "give_up": self.give_up,
        }

    @staticmethod
    def from_message(message: dict[str, Any]) -> "Shard":
        return Shard(
            upload_id=message["upload"],
            number=message["shard"],
            text=Source(**message["text"]),
            start=message["start"],
            end=message["end"],
            damage=message["damage"],
            give_up=message["give_up"],
        )


@dataclass(frozen=True)
class Inflate:
    """A compressed upload whose text is still to be written, and then cut into shards."""

    upload_id: str

    def as_message(self) -> dict[str, Any]:
        return {"upload": self.upload_id, "inflate": True}


def read_task(message: dict[str, Any]) -> Shard | Inflate:
    """The reverse of `as_message`, of a message of the shards queue."""
    return Inflate(message["upload"]) if message.get("inflate") else Shard.from_message(message)


def upload_id(bucket: str, key: str, version_id: str | None) -> str:
    """The upload's name: 26 lower-case letters and digits, the same for every copy of its event."""
    identity = "\0".join((bucket, key, version_id or "null"))
    digest = hashlib.sha256(identity.encode("utf-8")).digest()
    return base64.b32encode(digest[:16]).decode("ascii").rstrip("=").lower()


def is_folder(key: str, size: int) -> bool:
    """True if an object is the marker that a console leaves for an empty folder."""
    return key.endswith("/") and size == 0


def plan_shards(
    upload: str, text: Source, size: int, shard_bytes: int, damage: str = "", attempt: int = 1
) -> list[Shard]:
    """Cut a text of `size` bytes into ranges: of `shard_bytes`, or longer where they would be too many.

    Every attempt has the same ranges under numbers of its own, so no write of one attempt can touch a row of
    another.
    """
    length = max(shard_bytes, -(-size // MAX_SHARDS))
    starts = range(0, size, length)
    numbers = shard_numbers(len(starts), attempt)
    return [
        Shard(upload, number, text, start, min(start + length, size), damage)
        for number, start in zip(numbers, starts, strict=True)
    ]


def require_records(records: int, most: int) -> None:
    """Raise InputError where these are too many for one upload."""
    if records > most:
        raise InputError(
            f"{records:,} or more; send the file in parts", expected=f"at most {most:,} records in an upload"
        )


def first_shard(shard: int) -> int:
    """The number that a shard's range had in the first attempt."""
    return shard % MAX_SHARDS


def shard_numbers(shards: int, attempt: int) -> range:
    """The numbers of an attempt's shards."""
    first = (attempt - 1) * MAX_SHARDS
    return range(first, first + shards)


def attempted_numbers(first: int, attempts: int) -> range:
    """The numbers that a range of the first attempt had in each of so many attempts."""
    return range(first, attempts * MAX_SHARDS, MAX_SHARDS)


def attempt_of(shard: int) -> int:
    return shard // MAX_SHARDS + 1


def earlier_shards(shard: int) -> range:
    """The numbers of a shard's range in the attempts before, oldest first."""
    return range(first_shard(shard), shard, MAX_SHARDS)


def part_key(upload: str, shard: int, batch: int) -> str:
    return f"parts/{upload}/{shard:05d}/{batch:05d}.jsonl"


def prefixes_of(upload: str) -> tuple[str, ...]:
    """The prefixes of everything that an upload has in the results bucket."""
    return tuple(f"{folder}/{upload}/" for folder in ("parts", "results", "work"))


def text_key(upload: str) -> str:
    """The key of a compressed upload's text while it is being worked on."""
    return f"work/{upload}/text"


def result_key(upload: str, name: str, attempt: int) -> str:
    """The key of a result; every attempt has keys of its own, so that none overwrites a later one."""
    return f"results/{upload}/{name}" if attempt == 1 else f"results/{upload}/attempt-{attempt}/{name}"
