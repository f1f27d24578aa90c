"""DynamoDB's tables with their rows on disk: what the engine sees in the place of its dictionaries.

`TableRows` is a table's partitions, `Partition` their rows; both give copies (`rows`). The engine's private
names that are replaced here are listed in `names.TOUCHED`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any

from protloc.cloud.engine.names import module
from protloc.cloud.engine.row_file import Item, Key, part_of
from protloc.cloud.engine.rows import EXPIRED_AT_ONCE, Layout, Rows

EXPIRY_SECONDS = 60.0

log = logging.getLogger("protloc.cloud")


class Partition(MutableMapping[str, Item]):
    """The rows of one partition key, by sort key."""

    def __init__(self, table: TableRows, pk: str) -> None:
        self._table, self._pk = table, pk

    def __getitem__(self, sk: str) -> Item:
        item = self._table.store.get(self._table.owner, (self._pk, sk))
        if item is None:
            raise KeyError(sk)
        return item

    def __setitem__(self, sk: str, item: Item) -> None:
        self._table.put((self._pk, sk), item)

    def __delitem__(self, sk: str) -> None:
        if sk not in self:
            raise KeyError(sk)
        self._table.store.put(self._table.owner, (self._pk, sk), None)

    def __contains__(self, sk: object) -> bool:
        return isinstance(sk, str) and self._table.store.has(self._table.owner, (self._pk, sk))

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())

    def __bool__(self) -> bool:
        """True, even without rows: the engine asks it after each row that it deletes, to forget the empty."""
        return True

    def values(self) -> Any:
        return self._rows().values()

    def items(self) -> Any:
        return self._rows().items()

    def __deepcopy__(self, memo: Any) -> dict[str, Item]:
        return self._rows()

    def _rows(self) -> dict[str, Item]:
        return self._table.store.partition(self._table.owner, self._pk)


class TableRows(MutableMapping[str, Partition]):
    """The partitions of a table. As in the engine's own, a partition that is asked for is there, if empty."""

    def __init__(self, store: Rows, table: dict[str, Any]) -> None:
        self.store = store
        self._table = table
        self._identity = table["TableId"]
        self.owner = store.number(self._identity, _layout(table))

    def __getitem__(self, pk: str) -> Partition:
        return Partition(self, pk)

    def get(self, pk: str, default: Any = None) -> Partition:
        return Partition(self, pk)

    def setdefault(self, pk: str, default: Any = None) -> Partition:
        return Partition(self, pk)

    def __setitem__(self, pk: str, rows: MutableMapping[str, Item]) -> None:
        del self[pk]
        for sk, item in rows.items():
            self.put((pk, sk), item)

    def __delitem__(self, pk: str) -> None:
        for sk in self.store.partition(self.owner, pk):
            self.store.put(self.owner, (pk, sk), None)

    def __contains__(self, pk: object) -> bool:
        return isinstance(pk, str) and bool(self.store.partition(self.owner, pk))

    def __iter__(self) -> Iterator[str]:
        return iter(self.store.partitions(self.owner))

    def __len__(self) -> int:
        return len(self.store.partitions(self.owner))

    def put(self, key: Key, item: Item) -> None:
        """Write a row, with its partitions in the table's indexes."""
        self.fit()
        self.store.put(self.owner, key, item, *self._place(item))

    def members(self, index: str, value: Any) -> list[Key]:
        """The rows in a partition of an index."""
        return self.store.members(self.owner, index, value)

    def fit(self) -> Layout:
        """Have all rows noted in the table's present indexes; returns these."""
        layout = _layout(self._table)
        if layout != self.store.layout(self._identity):
            self.store.lay_out(self._identity, layout, self._place)
        return layout

    def expired(self, now: float) -> list[Key]:
        """Some of the rows that expired."""
        self.fit()
        return self.store.expired(self.owner, now)

    def _place(self, item: Item) -> tuple[list[tuple[str, bytes]], float | None]:
        """The partitions of a row in indexes, and when it expires."""
        engine, layout = module("ministack.services.dynamodb"), self.store.layout(self._identity)
        parts = [
            (name, part_of(value))
            for name, hashes, ranges in layout.indexes
            if (value := engine._index_partition(item, list(hashes), list(ranges))) is not None
        ]
        expires = None
        if layout.expiry in item:
            with contextlib.suppress(ValueError, TypeError):
                expires = float(engine._extract_key_val(item[layout.expiry]))
        return parts, expires


class _Members:
    """The partitions of an index, in the place of the engine's dictionary."""

    def __init__(self, rows: TableRows, index: str) -> None:
        self._rows, self._index = rows, index

    def get(self, value: Any, default: Any = ()) -> Iterable[Key]:
        return self._rows.members(self._index, value)


def _layout(table: dict[str, Any]) -> Layout:
    engine = module("ministack.services.dynamodb")
    region, account = table["TableArn"].split(":")[3:5]
    setting = engine._ttl_settings.get_scoped(account, region, table["TableName"]) or {}
    enabled = setting.get("TimeToLiveStatus") == "ENABLED"
    schemas = engine._index_key_schemas(table)
    return Layout(
        tuple((name, tuple(hashes), tuple(ranges)) for name, hashes, ranges in schemas),
        setting.get("AttributeName", "") if enabled else "",
    )


def rows_are_kept_on_disk(store: Rows, changed: Callable[[], None]) -> None:
    """Have the engine read and write the rows of its tables in `store`."""
    engine = module("ministack.services.dynamodb")
    set_item, index_item, members = engine._set_item, engine._index_item, engine._index_members

    def adopt(table: dict[str, Any]) -> None:
        """Move a table's rows from memory to the store."""
        if not isinstance(table["items"], TableRows):
            plain = table["items"]
            table.setdefault("TableId", str(uuid.uuid4()))
            rows = table["items"] = TableRows(store, table)
            for pk, partition in plain.items():
                rows[pk] = partition

    def set_adopted(table: dict[str, Any], pk: str, sk: str, item: Item) -> Any:
        adopt(table)
        return set_item(table, pk, sk, item)

    def index_plain(table: dict[str, Any], pk: str, sk: str, item: Item, add: bool) -> None:
        if not isinstance(table["items"], TableRows):
            index_item(table, pk, sk, item, add)

    def index_members(table: dict[str, Any]) -> Any:
        rows = table["items"]
        if not isinstance(rows, TableRows):
            return members(table)
        return {name: _Members(rows, name) for name, _, _ in rows.fit().indexes}

    def replaced(table: dict[str, Any]) -> None:
        """Take in rows that came all at once in the place of others."""
        if not isinstance(table["items"], TableRows):
            before = TableRows(store, table)
            for pk in list(before):
                del before[pk]
            adopt(table)
        engine._update_counts(table)

    engine._set_item, engine._index_item = set_adopted, index_plain
    engine._index_members, engine._items_replaced = index_members, replaced
    for table in list(engine._tables.all_values()):
        adopt(table)
    store.present = lambda: [table.get("TableId", "") for table in list(engine._tables.all_values())]
    _expire_from_now_on(engine, changed)


def _expire_from_now_on(engine: Any, changed: Callable[[], None]) -> None:
    """Remove rows once they expired. The engine's own thread for it, which reads every row, ends."""

    def sleep(seconds: float) -> None:
        if threading.current_thread().name == "dynamodb-ttl-reaper":
            raise SystemExit
        time.sleep(seconds)

    def expire() -> None:
        while True:
            time.sleep(EXPIRY_SECONDS)
            try:
                for table in list(engine._tables.all_values()):
                    if isinstance(table["items"], TableRows):
                        remove_expired(table)
            except Exception:
                log.exception("rows that expired could not be removed")

    def remove_expired(table: dict[str, Any]) -> None:
        while expired := table["items"].expired(time.time()):
            for pk, sk in expired:
                engine._remove_item(table, pk, sk)
            changed()
            if len(expired) < EXPIRED_AT_ONCE:
                break

    engine.time = types.SimpleNamespace(**{**vars(time), "sleep": sleep})
    threading.Thread(target=expire, daemon=True, name="expiry").start()
