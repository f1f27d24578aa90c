"""The file of tables' rows: SQLite, a row's places in the indexes of its table beside it.

Tables are numbers (`owner`), keys are UTF-8, a row is its JSON behind a checksum. Where a state is to be
believed with this file, `trouble` compares the two.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = "rows.sqlite"
CACHE_KIB = 8192
WAIT_SECONDS = 60.0

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
  owner INTEGER, pk BLOB, sk BLOB, body BLOB NOT NULL, expires REAL, PRIMARY KEY (owner, pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON rows (owner, expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS members (
  owner INTEGER, name TEXT, part BLOB, pk BLOB, sk BLOB, PRIMARY KEY (owner, name, part, pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS members_of ON members (owner, pk, sk);
"""

Item = dict[str, Any]
Key = tuple[str, str]
"""The values of a row's partition key and of its sort key."""

log = logging.getLogger("protloc.cloud")


class DamagedRowError(Exception):
    """A row in the file is not the one that was written."""


class Note(NamedTuple):
    """A row as it is kept: its body, or None where it was deleted; its partitions in indexes; its expiry."""

    body: bytes | None
    parts: tuple[tuple[str, bytes], ...] = ()
    expires: float | None = None


class RowFile:
    """The file in `folder`. One connection reads, for any thread that holds the caller's lock; one writes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.identity = ""
        self.applied = 0
        """The generation of states up to which rows are in the file."""
        self.reading: sqlite3.Connection
        self.writing: sqlite3.Connection

    def open(self) -> None:
        """Open the file, or make it."""
        self.reading, self.writing = self._connected(), self._connected()
        with self.writing as file:
            file.execute("INSERT OR IGNORE INTO about VALUES ('identity', ?)", (uuid.uuid4().hex,))
            file.execute("INSERT OR IGNORE INTO about VALUES ('applied', 0)")
        about = _about(self.reading)
        self.identity, self.applied = about["identity"], about["applied"]

    def close(self) -> None:
        """Close the file."""
        for connection in (self.reading, self.writing):
            connection.close()

    def trouble(self, identity: str, applied: int, generation: int) -> str:
        """The reason why this is not the file of a state, or empty.

        The state, of `generation`, was taken when the file with `identity` had the rows up to `applied`.
        """
        if not self.path.exists():
            return f"{self.path} is missing, while the state has rows in it" if applied else ""
        try:
            with contextlib.closing(self._connected()) as file:
                about = _about(file)
        except sqlite3.Error as problem:
            return f"{self.path} is damaged ({problem})"
        if about.get("identity", "") != identity:
            return f"{self.path} is not that of this state"
        if not applied <= about["applied"] <= max(generation, applied):
            return (
                f"{self.path} is of another time than the state: of generation {about['applied']}, where the "
                f"state, of generation {generation}, needs {applied}"
            )
        return ""

    def put_aside(self) -> None:
        """Give the file another name, so that it can be made anew.

        One without rows, as a cloud leaves it that was killed before its first state, is removed.
        """
        empty, aside = self._is_empty(), f"{FILE}.without-state.{int(time.time())}"
        for end in ("", "-wal", "-shm"):
            path = self.path.with_name(FILE + end)
            if path.exists():
                path.unlink() if empty else path.rename(path.with_name(aside + end))
        if not empty:
            log.warning("rows that no state has are put aside: %s", self.path.with_name(aside))

    def _is_empty(self) -> bool:
        try:
            with contextlib.closing(self._connected()) as file:
                return file.execute("SELECT owner FROM rows LIMIT 1").fetchone() is None
        except sqlite3.Error:
            return False

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, WAIT_SECONDS, check_same_thread=False)
        try:
            connection.executescript(SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    # ── writing ─────────────────────────────────────────────

    def write(self, rows: Sequence[tuple[int, Key, Note]], deleted: Iterable[int], generation: int) -> None:
        """Write rows up to `generation`, and forget tables, all or nothing. Raises `sqlite3.Error`."""
        keys = [(owner, *_encoded(key)) for owner, key, _ in rows]
        kept = [(key, note) for key, (_, _, note) in zip(keys, rows, strict=True) if note.body is not None]
        gone = [key for key, (_, _, note) in zip(keys, rows, strict=True) if note.body is None]
        with self.writing as file:
            for owner in deleted:
                file.execute("DELETE FROM rows WHERE owner = ?", (owner,))
                file.execute("DELETE FROM members WHERE owner = ?", (owner,))
            file.executemany("DELETE FROM members WHERE owner = ? AND pk = ? AND sk = ?", keys)
            file.executemany("DELETE FROM rows WHERE owner = ? AND pk = ? AND sk = ?", gone)
            file.executemany(
                "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)",
                [(*key, note.body, note.expires) for key, note in kept],
            )
            file.executemany(
                "INSERT INTO members VALUES (?, ?, ?, ?, ?)",
                [(owner, name, part, pk, sk) for (owner, pk, sk), note in kept for name, part in note.parts],
            )
            file.execute("UPDATE about SET value = ? WHERE name = 'applied'", (generation,))
        self.applied = generation

    # ── reading ─────────────────────────────────────────────

    def body(self, owner: int, key: Key) -> bytes | None:
        """A row's body."""
        query = "SELECT body FROM rows WHERE owner = ? AND pk = ? AND sk = ?"
        row = self.reading.execute(query, (owner, *_encoded(key))).fetchone()
        return bytes(row[0]) if row else None

    def partition(self, owner: int, pk: str) -> dict[str, bytes]:
        """The bodies of a partition's rows by their sort keys."""
        query = "SELECT sk, body FROM rows WHERE owner = ? AND pk = ?"
        return {_decoded(sk): body for sk, body in self.reading.execute(query, (owner, _text(pk)))}

    def partitions(self, owner: int) -> set[str]:
        """The partition keys of a table."""
        query = "SELECT DISTINCT pk FROM rows WHERE owner = ?"
        return {_decoded(pk) for (pk,) in self.reading.execute(query, (owner,))}

    def owners(self) -> set[int]:
        """The tables that have rows."""
        return {owner for (owner,) in self.reading.execute("SELECT DISTINCT owner FROM rows")}

    def members(self, owner: int, index: str, part: bytes) -> list[Key]:
        """The rows in a partition of an index."""
        query = "SELECT pk, sk FROM members WHERE owner = ? AND name = ? AND part = ?"
        return [(_decoded(pk), _decoded(sk)) for pk, sk in self.reading.execute(query, (owner, index, part))]

    def expired(self, owner: int, now: float, limit: int) -> list[Key]:
        """Rows that expired, `limit` at most."""
        query = "SELECT pk, sk FROM rows WHERE owner = ? AND expires <= ? LIMIT ?"
        return [(_decoded(pk), _decoded(sk)) for pk, sk in self.reading.execute(query, (owner, now, limit))]


def packed(item: Item) -> bytes:
    """The body of a row."""
    text = json.dumps(item, separators=(",", ":")).encode()
    return zlib.crc32(text).to_bytes(4, "big") + text


def unpacked(body: bytes) -> Item:
    """The row of a body. Raises `DamagedRowError`."""
    if zlib.crc32(body[4:]).to_bytes(4, "big") != body[:4]:
        raise DamagedRowError("a row of a table is not the one that was written: its checksum does not match")
    item: Item = json.loads(body[4:])
    return item


def part_of(value: Any) -> bytes:
    """A partition of an index, as it is kept: of a key's value, or of those of several keys."""
    return json.dumps(value).encode()


def _about(file: sqlite3.Connection) -> dict[str, Any]:
    return dict(file.execute("SELECT name, value FROM about").fetchall())


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _encoded(key: Key) -> tuple[bytes, bytes]:
    return _text(key[0]), _text(key[1])


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
