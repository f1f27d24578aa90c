"""Keeps the rows of DynamoDB's tables on disk; in memory are only those that were written lately.

A row that is written stays in memory until two saved states hold it (`state`), which is a matter of seconds;
then it is written to the file (`row_file`) and forgotten. Each state holds the rows that were in memory when
it was taken. So the file and either of the two states on disk are together what the tables held when that
state was taken, a state is as small as the changes since the one before, and the cloud as small as its work.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from protloc.cloud.engine.generations import LostStateError
from protloc.cloud.engine.row_file import Item, Key, Note, RowFile, packed, part_of, unpacked

EXPIRED_AT_ONCE = 1000

log = logging.getLogger("protloc.cloud")


class Layout(NamedTuple):
    """The attributes of a table's rows that are noted beside each: keys of its indexes, and its expiry."""

    indexes: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]  # name, hash and range attributes
    expiry: str  # an attribute; empty where rows do not expire


class Recent(NamedTuple):
    """A row in memory. The file does not have it yet, or has an earlier one."""

    generation: int  # of the first state that holds it
    note: Note


class Rows:
    """The rows of all tables, in `folder` beside the states. Its methods may be called by any thread."""

    def __init__(self, folder: Path) -> None:
        self.file = RowFile(folder)
        self.present: Callable[[], Iterable[str]] = lambda: list(self._tables)
        """The TableIds of all tables there are."""
        self._lock = threading.RLock()
        self._recent: dict[int, dict[str, dict[str, Recent]]] = {}
        self._recent_parts: dict[tuple[int, str, bytes], dict[Key, None]] = {}
        self._tables: dict[str, tuple[int, Layout]] = {}  # by TableId
        self._deleted: list[tuple[int, int]] = []  # the first state without a table, and its number
        self._last = 0  # number of a table
        self._generation = 1
        self._failure = ""

    # ── with the states ─────────────────────────────────────

    def open(self, saved: dict[str, Any] | None, generation: int, recover: bool = False) -> None:
        """Open the file that belongs to a state, which is of `generation`; None where there is no state.

        Raises `LostStateError` where the file is missing, damaged or of another time than the state; with
        `recover`, it is put aside, and rows that only it held are lost.
        """
        stateless = saved is None
        saved = saved or {"file": "", "applied": 0, "tables": {}, "rows": {}}
        problem = self.file.trouble(saved["file"], saved["applied"], generation)
        if problem and not stateless and not recover:
            raise LostStateError(
                f"{problem}. Put it back from a backup; or `protloc up --recover` begins without the rows of "
                "tables that only it held; or `protloc down --erase` deletes all that is left"
            )
        if problem:
            self.file.put_aside()
        self.file.open()
        self._tables = {
            identity: (number, Layout(indexes, expiry))
            for identity, (number, (indexes, expiry)) in saved["tables"].items()
        }
        for owner, partitions in saved["rows"].items():
            for pk, rows in partitions.items():
                for sk, note in rows.items():
                    self._note(owner, (pk, sk), Recent(generation, Note(*note)))
        self._generation = generation + 1
        known, owners = {number for number, _ in self._tables.values()}, self.file.owners()
        self._deleted = [(generation + 1, owner) for owner in owners - known]
        self._last = max({0} | owners | known)

    def captured(self) -> dict[str, Any]:
        """The part of a state, in plain values. For the process that writes the state: it takes no lock."""
        return {
            "file": self.file.identity,
            "applied": self.file.applied,
            "tables": {
                identity: (number, tuple(layout)) for identity, (number, layout) in self._tables.items()
            },
            "rows": {
                owner: {
                    pk: {sk: tuple(row.note) for sk, row in rows.items()} for pk, rows in partitions.items()
                }
                for owner, partitions in self._recent.items()
            },
        }

    def begin(self, generation: int) -> None:
        """Note that rows from now on are first in the state of `generation`."""
        with self._lock:
            self._generation = generation

    def settle(self, generation: int) -> None:
        """Write to the file what the state of `generation`, the newest on disk, and the one before both hold.

        Where the file cannot be written, the rows stay in memory and in the states until it can.
        """
        both = generation - 1
        self._drop_deleted()
        with self._lock:
            deleted = [owner for first, owner in self._deleted if first <= both]
            due = [
                (owner, (pk, sk), row)
                for owner, partitions in self._recent.items()
                for pk, rows in partitions.items()
                for sk, row in rows.items()
                if row.generation <= both
            ]
        if not due and not deleted:
            return
        try:
            self.file.write([(owner, key, row.note) for owner, key, row in due], deleted, both)
        except sqlite3.Error as problem:
            if str(problem) != self._failure:
                log.warning("%s cannot be written (%s): rows stay in memory", self.file.path, problem)
            self._failure = str(problem)
            return
        self._failure = ""
        with self._lock:
            self._deleted = [each for each in self._deleted if each[1] not in deleted]
            for owner, (pk, sk), row in due:
                if self._recent.get(owner, {}).get(pk, {}).get(sk) is row:
                    self._forget(owner, (pk, sk), row)

    def _drop_deleted(self) -> None:
        """Forget the tables that were deleted."""
        known = list(self._tables)  # before it is asked which there are: another may be made meanwhile
        present = set(self.present())
        with self._lock:
            for identity in known:
                if identity not in present:
                    owner, _ = self._tables.pop(identity)
                    self._recent.pop(owner, None)
                    for place in [place for place in self._recent_parts if place[0] == owner]:
                        del self._recent_parts[place]
                    self._deleted.append((self._generation, owner))

    # ── tables ──────────────────────────────────────────────

    def number(self, identity: str, layout: Layout) -> int:
        """The number of a table, by its TableId; `layout` is that of a table that is new."""
        with self._lock:
            if identity not in self._tables:
                self._last += 1
                self._tables[identity] = self._last, layout
            return self._tables[identity][0]

    def layout(self, identity: str) -> Layout:
        """The layout in which a table's rows are noted."""
        return self._tables[identity][1]

    def lay_out(self, identity: str, layout: Layout, place: Callable[[Item], Any]) -> None:
        """Note all rows of a table again, in another layout: `place` gives a row's parts and its expiry."""
        with self._lock:
            owner, _ = self._tables[identity]
            self._tables[identity] = owner, layout
            for pk in self.partitions(owner):
                for sk, item in self.partition(owner, pk).items():
                    self.put(owner, (pk, sk), item, *place(item))

    # ── rows ────────────────────────────────────────────────

    def put(
        self,
        owner: int,
        key: Key,
        item: Item | None,
        parts: Iterable[tuple[str, bytes]] = (),
        expires: float | None = None,
    ) -> None:
        """Write a row, or delete it where `item` is None."""
        note = Note(None if item is None else packed(item), tuple(parts), expires)
        with self._lock:
            self._note(owner, key, Recent(self._generation, note))

    def get(self, owner: int, key: Key) -> Item | None:
        """A row, or None."""
        body = self._body(owner, key)
        return None if body is None else unpacked(body)

    def has(self, owner: int, key: Key) -> bool:
        """True if there is a row."""
        return self._body(owner, key) is not None

    def partition(self, owner: int, pk: str) -> dict[str, Item]:
        """The rows of a partition by their sort keys."""
        with self._lock:
            bodies = self.file.partition(owner, pk)
            for sk, (_, note) in self._recent.get(owner, {}).get(pk, {}).items():
                if note.body is None:
                    bodies.pop(sk, None)
                else:
                    bodies[sk] = note.body
        return {sk: unpacked(body) for sk, body in bodies.items()}

    def partitions(self, owner: int) -> list[str]:
        """The partition keys of a table that have rows."""
        with self._lock:
            keys = self.file.partitions(owner)
            for pk, rows in self._recent.get(owner, {}).items():
                if any(row.note.body is not None for row in rows.values()):
                    keys.add(pk)
                elif pk in keys and not self.partition(owner, pk):
                    keys.remove(pk)
        return list(keys)

    def members(self, owner: int, index: str, value: Any) -> list[Key]:
        """The rows in a partition of an index."""
        part = part_of(value)
        with self._lock:
            older = self._not_recent(owner, self.file.members(owner, index, part))
            return [*older, *self._recent_parts.get((owner, index, part), ())]

    def expired(self, owner: int, now: float) -> list[Key]:
        """Some of the rows that expired."""
        with self._lock:
            older = self._not_recent(owner, self.file.expired(owner, now, EXPIRED_AT_ONCE))
            return older + [
                (pk, sk)
                for pk, rows in self._recent.get(owner, {}).items()
                for sk, row in rows.items()
                if row.note.expires is not None and row.note.expires <= now
            ]

    def _not_recent(self, owner: int, keys: list[Key]) -> list[Key]:
        recent = self._recent.get(owner, {})
        return [(pk, sk) for pk, sk in keys if sk not in recent.get(pk, ())]

    def _body(self, owner: int, key: Key) -> bytes | None:
        with self._lock:
            row = self._recent.get(owner, {}).get(key[0], {}).get(key[1])
            return row.note.body if row else self.file.body(owner, key)

    def _note(self, owner: int, key: Key, row: Recent) -> None:
        pk, sk = key
        rows = self._recent.setdefault(owner, {}).setdefault(pk, {})
        if sk in rows:
            self._forget_parts(owner, key, rows[sk])
        rows[sk] = row
        for name, part in row.note.parts:
            self._recent_parts.setdefault((owner, name, part), {})[key] = None

    def _forget(self, owner: int, key: Key, row: Recent) -> None:
        pk, sk = key
        self._forget_parts(owner, key, row)
        rows = self._recent[owner][pk]
        del rows[sk]
        if not rows:
            del self._recent[owner][pk]

    def _forget_parts(self, owner: int, key: Key, row: Recent) -> None:
        for name, part in row.note.parts:
            members = self._recent_parts[owner, name, part]
            del members[key]
            if not members:
                del self._recent_parts[owner, name, part]
