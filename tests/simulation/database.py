"""DynamoDB in memory, shaped like boto3's resource: as much of it as the functions call."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from boto3.dynamodb.conditions import ConditionExpressionBuilder

from tests.simulation.expressions import Item, Substitutes, compile_condition, compile_update, tokens
from tests.simulation.surroundings import Calm, Surroundings, refusal

Key = tuple[str, str]
Listener = Callable[[Item | None, Item | None], None]  # an item before and after

SETTLING_SECONDS = 2.0
"""The time for which an eventually consistent read of a table may miss a change."""
ITEM_BYTES, PAGE_BYTES = 400 * 1024, 1024 * 1024
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"""
_WRITE_LIMIT, _READ_LIMIT = 25, 100


class Table:
    """Items by partition and sort key, with indexes that follow a little later."""

    def __init__(
        self, name: str, keys: Key, indexes: dict[str, Key], surroundings: Surroundings, expiry: str = ""
    ) -> None:
        self.name, self.keys, self.indexes, self.expiry = name, keys, indexes, expiry
        self.page_items = 1_000
        self.item_bytes, self.page_bytes = ITEM_BYTES, PAGE_BYTES
        self.listeners: list[Listener] = []
        self.database: Database | None = None
        self.items: dict[str, dict[str, Item]] = {}
        self._earlier: dict[Key, list[tuple[float, Item | None]]] = {}
        """Earlier states of an item that may still be read, each with its end; the newest last."""
        self._indexed: dict[tuple[str, str], dict[Key, None]] = {}
        """Keys of the items that have, or had, a value of an index's partition key."""
        self._surroundings = surroundings

    # Calls of the functions

    def put_item(self, *, Item: Item, ConditionExpression: Any = "") -> Item:  # noqa: N803
        def apply() -> dict[str, Any]:
            self._require("dynamodb.PutItem", self._current(key) or {}, ConditionExpression, {})
            self._check("dynamodb.PutItem", new)
            self._store(key, new)
            return {}

        new = stored(Item)
        key = self._key("dynamodb.PutItem", new)
        return self._surroundings.step("dynamodb.PutItem", (self.name, *key), apply)

    def get_item(self, *, Key: Item, ConsistentRead: bool = False) -> Item:  # noqa: N803
        def apply() -> dict[str, Any]:
            item = self._current(key) if ConsistentRead else self._seen(key)
            return {} if item is None else {"Item": copied(item)}

        key = self._key("dynamodb.GetItem", Key)
        return self._surroundings.step("dynamodb.GetItem", (self.name, *key), apply)

    def update_item(
        self,
        *,
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: Any = "",  # noqa: N803
        ExpressionAttributeNames: dict[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: Item | None = None,  # noqa: N803
    ) -> Item:
        def apply() -> dict[str, Any]:
            old = self._current(key) or {}
            self._require("dynamodb.UpdateItem", old, condition, substitutes)
            new = dict(old) or {self.keys[0]: key[0], self.keys[1]: key[1]}
            change(new, old, substitutes)
            self._check("dynamodb.UpdateItem", new)
            self._store(key, new)
            return {}

        key = self._key("dynamodb.UpdateItem", Key)
        condition, of_condition = _as_text(ConditionExpression)
        change = compile_update(UpdateExpression)
        substitutes = {**(ExpressionAttributeNames or {}), **stored(ExpressionAttributeValues or {})}
        substitutes |= of_condition
        used = {*tokens(UpdateExpression), *tokens(condition)}
        if unused := set(substitutes) - used:
            raise refusal("dynamodb.UpdateItem", "ValidationException", f"unused in expressions: {unused}")
        about = (self.name, *key, UpdateExpression)
        return self._surroundings.step("dynamodb.UpdateItem", about, apply)

    def query(
        self,
        *,
        KeyConditionExpression: Any,  # noqa: N803
        IndexName: str = "",  # noqa: N803
        FilterExpression: Any = None,  # noqa: N803
        ProjectionExpression: str = "",  # noqa: N803
        ConsistentRead: bool = False,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        Limit: int = 0,  # noqa: N803
        ExclusiveStartKey: Item | None = None,  # noqa: N803
    ) -> Item:
        if IndexName and ConsistentRead:
            raise refusal("dynamodb.Query", "ValidationException", "an index is never consistent")
        partition, sort = self.indexes[IndexName] if IndexName else self.keys
        order = (sort, *self.keys)

        def place(item: Item) -> tuple[str, ...]:
            return tuple(item[name] for name in order)

        def apply() -> dict[str, Any]:
            readable = self._readable(partition, sort, IndexName, ConsistentRead, value, beginning)
            matching = sorted((item for item in readable if holds(KeyConditionExpression, item)), key=place)
            if not ScanIndexForward:
                matching.reverse()
            if ExclusiveStartKey:
                start = place(ExclusiveStartKey)
                matching = [
                    i for i in matching if (place(i) > start if ScanIndexForward else place(i) < start)
                ]
            limit = min(Limit or self.page_items, self._fitting(matching))
            page = matching[:limit]
            kept = [copied(i) for i in page if FilterExpression is None or holds(FilterExpression, i)]
            if ProjectionExpression:
                kept = [
                    {name: i[name] for name in ProjectionExpression.split(", ") if name in i} for i in kept
                ]
            answer: dict[str, Any] = {"Items": kept}
            if len(page) == limit:
                answer["LastEvaluatedKey"] = {name: page[-1][name] for name in (partition, *order)}
            return answer

        value = _text_of(KeyConditionExpression, "=", partition)
        if not value:
            raise NotImplementedError(f"a query without {partition}")
        beginning = _text_of(KeyConditionExpression, "begins_with", sort)
        return self._surroundings.step("dynamodb.Query", (self.name, IndexName, value), apply)

    # How it is kept

    def _readable(
        self, partition: str, sort: str, index: str, consistent: bool, value: str, beginning: str
    ) -> list[Item]:
        if index:
            seconds, keys = (
                self._surroundings.index_seconds(),
                list(self._indexed.get((partition, value), ())),
            )
            states = [self._seen(key, seconds) for key in keys]
            return [i for i in states if i is not None and i.get(partition) == value and sort in i]
        if consistent:  # an upload of many shards has thousands of items, of which a query wants a few
            return [item for key, item in self.items.get(value, {}).items() if key.startswith(beginning)]
        states = [self._seen((value, sort_key)) for sort_key in self.items.get(value, ())]
        return [item for item in states if item is not None]

    def _fitting(self, items: list[Item]) -> int:
        """Count the items that make up a page, one at least."""
        if self.page_bytes == PAGE_BYTES and len(items) < 1_000:
            return len(items) + 1
        total = 0
        for number, item in enumerate(items):
            total += size_of(item)
            if total > self.page_bytes:
                return max(number, 1)
        return len(items) + 1

    def _current(self, key: Key) -> Item | None:
        return self.items.get(key[0], {}).get(key[1])

    def _seen(self, key: Key, seconds: float = SETTLING_SECONDS) -> Item | None:
        """The item as an eventually consistent read finds it: as it is, or was within so many seconds."""
        changes = self._earlier.get(key)
        if changes and changes[-1][0] > self._surroundings.clock() - seconds:
            moment = self._surroundings.clock() - seconds
            for changed, before in changes:
                if changed > moment and self._surroundings.sees_the_past():
                    return before
        return self._current(key)

    def _store(self, key: Key, new: Item) -> None:
        self._replace(key, new)
        if self.expiry and isinstance(new.get(self.expiry), Decimal):
            seconds = float(new[self.expiry]) - self._surroundings.clock()
            if seconds < 86_400:
                self._surroundings.later(max(seconds, 0.0), partial(self._expire, key, new))

    def _expire(self, key: Key, item: Item) -> None:
        """Delete an item by itself, unless it was written again since."""
        if self._current(key) is item:
            self._replace(key, None)

    def _replace(self, key: Key, new: Item | None) -> None:
        old, now = self._current(key), self._surroundings.clock()
        if new is None:
            self.items.get(key[0], {}).pop(key[1], None)
        else:
            self.items.setdefault(key[0], {})[key[1]] = new
            for partition, _ in self.indexes.values():
                if partition in new:
                    self._indexed.setdefault((partition, new[partition]), {})[key] = None
        changes = self._earlier.setdefault(key, [])
        changes.append((now, old))
        horizon = now - max(SETTLING_SECONDS, self._surroundings.index_seconds())
        while changes[0][0] < horizon:
            changes.pop(0)
        if old != new:
            for listener in self.listeners:
                listener(old, new)

    def _check(self, operation: str, item: Item) -> None:
        """Refuse an item that DynamoDB would not keep."""
        for names in self.indexes.values():
            for name in names:
                if name in item and (not isinstance(item[name], str) or not item[name]):
                    raise refusal(operation, "ValidationException", f"the index key {name} is no text")
        for name, value in item.items():
            if isinstance(value, set) and not value:
                raise refusal(operation, "ValidationException", f"{name} is an empty set")
        if (self.item_bytes < ITEM_BYTES or len(item) > 100) and size_of(item) > self.item_bytes:
            raise refusal(operation, "ValidationException", "Item size has exceeded the maximum allowed")

    def _require(self, operation: str, item: Item, condition: Any, substitutes: Substitutes) -> None:
        if not condition:
            return
        text = isinstance(condition, str)
        if not (compile_condition(condition)(item, substitutes) if text else holds(condition, item)):
            raise refusal(operation, "ConditionalCheckFailedException", "The conditional request failed")

    def _key(self, operation: str, item: Item) -> Key:
        partition, sort = (item.get(name) for name in self.keys)
        if not partition or not sort:
            raise refusal(operation, "ValidationException", "a key is missing or empty")
        return str(partition), str(sort)


class _NoTable:
    """A table that is not there, as of a function that was not told its name: any call is refused."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, operation: str) -> Any:
        raise refusal(f"dynamodb.{operation}", "ValidationException", f"there is no table {self.name!r}")


class Database:
    """Tables by name, and the two calls that go to several items at once."""

    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self.tables: dict[str, Table] = {}
        self._surroundings = surroundings or Calm()

    def create(self, name: str, keys: Key, indexes: dict[str, Key], expiry: str = "") -> Table:
        table = self.tables[name] = Table(name, keys, indexes, self._surroundings, expiry)
        table.database = self
        return table

    def Table(self, name: str) -> Any:  # noqa: N802 - boto3's name
        return self.tables.get(name) or _NoTable(name)

    def batch_write_item(self, *, RequestItems: dict[str, list[Any]]) -> dict[str, Any]:  # noqa: N803
        ((name, requests),) = RequestItems.items()
        table = self.tables[name]
        puts = [stored(r["PutRequest"]["Item"]) if "PutRequest" in r else None for r in requests]
        named = [item or r["DeleteRequest"]["Key"] for item, r in zip(puts, requests, strict=True)]
        keys = [table._key("dynamodb.BatchWriteItem", item) for item in named]
        _require_batch("dynamodb.BatchWriteItem", keys, _WRITE_LIMIT)

        for item in filter(None, puts):
            table._check("dynamodb.BatchWriteItem", item)

        def write(done: int) -> list[int]:
            """Write so many of the items, whichever; return the places of the others."""
            places = self._surroundings.shuffled(list(range(len(requests))))
            for place in places[:done]:
                if (item := puts[place]) is None:
                    table._replace(keys[place], None)
                else:
                    table._store(keys[place], item)
            return sorted(places[done:])

        def apply() -> dict[str, Any]:
            undone = write(len(requests) - self._surroundings.left_undone(len(requests)))
            unwritten = [requests[place] for place in undone]
            return {"UnprocessedItems": {name: unwritten} if unwritten else {}}

        def half() -> None:
            write(len(requests) // 2)

        return self._surroundings.step("dynamodb.BatchWriteItem", (name, len(puts)), apply, half)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((name, request),) = RequestItems.items()
        table, requested = self.tables[name], request["Keys"]
        keys = [table._key("dynamodb.BatchGetItem", item) for item in requested]
        _require_batch("dynamodb.BatchGetItem", keys, _READ_LIMIT)

        def apply() -> dict[str, Any]:
            places = self._surroundings.shuffled(list(range(len(keys))))
            done = len(keys) - self._surroundings.left_undone(len(keys))
            read = table._current if request.get("ConsistentRead") else table._seen
            items = [read(keys[place]) for place in places[:done]]
            unread = [requested[place] for place in places[done:]]
            undone = {name: {**request, "Keys": unread}} if unread else {}
            return {
                "Responses": {name: [copied(item) for item in items if item is not None]},
                "UnprocessedKeys": undone,
            }

        return self._surroundings.step("dynamodb.BatchGetItem", (name, len(keys)), apply)


def _require_batch(operation: str, keys: list[Key], limit: int) -> None:
    if not keys or len(keys) > limit:
        raise refusal(operation, "ValidationException", f"{len(keys)} items, at most {limit}")
    if len(set(keys)) < len(keys):
        raise refusal(operation, "ValidationException", "Provided list of item keys contains duplicates")


def holds(condition: Any, item: Item) -> bool:
    """True if one of boto3's condition objects holds of an item."""
    expression = condition.get_expression()
    operator, values = expression["operator"], expression["values"]
    if operator in ("AND", "OR"):
        return (all if operator == "AND" else any)(holds(value, item) for value in values)
    actual = item.get(values[0].name)
    match operator:
        case "=":
            return bool(actual == values[1])
        case "begins_with":
            return actual is not None and str(actual).startswith(values[1])
        case "BETWEEN":
            return actual is not None and bool(values[1] <= actual <= values[2])
        case "<=":
            return actual is not None and bool(actual <= values[1])
        case "attribute_exists":
            return values[0].name in item
        case "attribute_not_exists":
            return values[0].name not in item
    raise NotImplementedError(operator)


def _as_text(condition: Any) -> tuple[str, Substitutes]:
    """A condition as boto3 sends it, and the values of its placeholders."""
    if isinstance(condition, str):
        return condition, {}
    built = ConditionExpressionBuilder().build_expression(condition)
    values = stored(built.attribute_value_placeholders)
    return built.condition_expression, {**built.attribute_name_placeholders, **values}


def _text_of(condition: Any, operator: str, name: str) -> str:
    """The text that a condition compares an attribute with by this operator; empty where it does not."""
    expression = condition.get_expression()
    parts = expression["values"] if expression["operator"] == "AND" else [condition]
    for part in parts:
        inner = part.get_expression()
        if inner["operator"] == operator and inner["values"][0].name == name:
            return str(inner["values"][1])
    return ""


_KEPT_AS_IT_IS = (str, bool, Decimal, bytes, type(None))


def stored(value: Any) -> Any:
    """A value as DynamoDB keeps it: every number a Decimal, every sequence a list."""
    if type(value) in _KEPT_AS_IT_IS:
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, dict):
        return {k: v if type(v) in _KEPT_AS_IT_IS else stored(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [stored(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return {stored(inner) for inner in value}
    raise TypeError(f"expected what DynamoDB takes, found {type(value).__name__}")


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v if type(v) in _KEPT_AS_IT_IS else copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return set(value) if isinstance(value, set) else value


def size_of(value: Any) -> int:
    """Bytes of a value, about as DynamoDB counts them: names and texts as UTF-8, 3 more for a list or map.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return 3 + sum(1 + len(name.encode()) + size_of(inner) for name, inner in value.items())
    if isinstance(value, (list, set)):
        return 3 + sum(1 + size_of(inner) for inner in value)
    if isinstance(value, Decimal):
        return 1 + (len(value.as_tuple().digits) + 1) // 2
    return len(value) if isinstance(value, bytes) else 1
