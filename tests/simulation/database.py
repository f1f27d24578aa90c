"""DynamoDB in memory, shaped like boto3's resource: as much of it as the functions call."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.simulation.expressions import Item, Substitutes, compile_condition, compile_update, tokens
from tests.simulation.surroundings import Calm, Surroundings, refusal

Key = tuple[str, str]
Listener = Callable[[Item | None, Item], None]

INDEX_SECONDS = 2.0
_WRITE_LIMIT, _READ_LIMIT = 25, 100


class Table:
    """Items by partition and sort key, with indexes that follow a little later."""

    def __init__(self, name: str, keys: Key, indexes: dict[str, Key], surroundings: Surroundings) -> None:
        self.name, self.keys, self.indexes = name, keys, indexes
        self.page_items = 1_000
        self.listeners: list[Listener] = []
        self.items: dict[str, dict[str, Item]] = {}
        self._earlier: dict[Key, tuple[float, Item | None]] = {}
        self._surroundings = surroundings

    # What the functions call

    def put_item(self, *, Item: Item, ConditionExpression: Any = "") -> Item:  # noqa: N803
        def apply() -> dict[str, Any]:
            self._require("dynamodb.PutItem", self._current(key) or {}, ConditionExpression, {})
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
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeNames: dict[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: Item | None = None,  # noqa: N803
    ) -> Item:
        def apply() -> dict[str, Any]:
            old = self._current(key) or {}
            self._require("dynamodb.UpdateItem", old, ConditionExpression, substitutes)
            new = dict(old) or {self.keys[0]: key[0], self.keys[1]: key[1]}
            change(new, old, substitutes)
            self._store(key, new)
            return {}

        key = self._key("dynamodb.UpdateItem", Key)
        change = compile_update(UpdateExpression)
        substitutes = {**(ExpressionAttributeNames or {}), **stored(ExpressionAttributeValues or {})}
        used = {*tokens(UpdateExpression), *tokens(ConditionExpression)}
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
        ConsistentRead: bool = False,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        Limit: int = 0,  # noqa: N803
        ExclusiveStartKey: Item | None = None,  # noqa: N803
    ) -> Item:
        partition, sort = self.indexes[IndexName] if IndexName else self.keys
        order = (sort, *self.keys)

        def place(item: Item) -> tuple[str, ...]:
            return tuple(item[name] for name in order)

        def apply() -> dict[str, Any]:
            readable = self._readable(partition, sort, IndexName, ConsistentRead, value)
            found = sorted((item for item in readable if holds(KeyConditionExpression, item)), key=place)
            if not ScanIndexForward:
                found.reverse()
            if ExclusiveStartKey:
                start = place(ExclusiveStartKey)
                found = [i for i in found if (place(i) > start if ScanIndexForward else place(i) < start)]
            limit = Limit or self.page_items
            page = found[:limit]
            answer: dict[str, Any] = {
                "Items": [copied(i) for i in page if FilterExpression is None or holds(FilterExpression, i)]
            }
            if len(page) == limit:
                answer["LastEvaluatedKey"] = {name: page[-1][name] for name in (partition, *order)}
            return answer

        value = _equal_to(KeyConditionExpression, partition)
        return self._surroundings.step("dynamodb.Query", (self.name, IndexName, value), apply)

    # How it is kept

    def _readable(self, partition: str, sort: str, index: str, consistent: bool, value: str) -> list[Item]:
        if not index and consistent:
            return list(self.items.get(value, {}).values())
        partitions = self.items.values() if index else [self.items.get(value, {})]
        seen = [self._seen((i[self.keys[0]], i[self.keys[1]])) for each in partitions for i in each.values()]
        return [i for i in seen if i is not None and i.get(partition) == value and sort in i]

    def _current(self, key: Key) -> Item | None:
        return self.items.get(key[0], {}).get(key[1])

    def _seen(self, key: Key) -> Item | None:
        """What a read that need not be consistent finds."""
        changed, before = self._earlier.get(key, (0.0, None))
        recently = changed and self._surroundings.clock() - changed < INDEX_SECONDS
        if recently and self._surroundings.sees_the_past():
            return before
        return self._current(key)

    def _store(self, key: Key, new: Item) -> None:
        old = self._current(key)
        self.items.setdefault(key[0], {})[key[1]] = new
        self._earlier[key] = (self._surroundings.clock(), old)
        if old != new:
            for listener in self.listeners:
                listener(old, new)

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


class Database:
    """Tables by name, and the two calls that go to several items at once."""

    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self.tables: dict[str, Table] = {}
        self._surroundings = surroundings or Calm()

    def create(self, name: str, keys: Key, indexes: dict[str, Key]) -> Table:
        self.tables[name] = Table(name, keys, indexes, self._surroundings)
        return self.tables[name]

    def Table(self, name: str) -> Table:  # noqa: N802 - boto3's name
        return self.tables[name]

    def batch_write_item(self, *, RequestItems: dict[str, list[Any]]) -> dict[str, Any]:  # noqa: N803
        ((name, requests),) = RequestItems.items()
        table = self.tables[name]
        puts = [stored(request["PutRequest"]["Item"]) for request in requests]
        keys = [table._key("dynamodb.BatchWriteItem", item) for item in puts]
        _require_batch("dynamodb.BatchWriteItem", keys, _WRITE_LIMIT)

        def apply() -> dict[str, Any]:
            done = len(requests) - self._surroundings.left_undone(len(requests))
            for key, item in zip(keys[:done], puts[:done], strict=True):
                table._store(key, item)
            return {"UnprocessedItems": {name: requests[done:]} if requests[done:] else {}}

        return self._surroundings.step("dynamodb.BatchWriteItem", (name, len(puts)), apply)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((name, request),) = RequestItems.items()
        table, wanted = self.tables[name], request["Keys"]
        keys = [table._key("dynamodb.BatchGetItem", item) for item in wanted]
        _require_batch("dynamodb.BatchGetItem", keys, _READ_LIMIT)

        def apply() -> dict[str, Any]:
            done = len(keys) - self._surroundings.left_undone(len(keys))
            found = [table._seen(key) for key in keys[:done]]
            undone = {name: {"Keys": wanted[done:]}} if wanted[done:] else {}
            return {
                "Responses": {name: [copied(item) for item in found if item is not None]},
                "UnprocessedKeys": undone,
            }

        return self._surroundings.step("dynamodb.BatchGetItem", (name, len(keys)), apply)


def _require_batch(operation: str, keys: list[Key], limit: int) -> None:
    if not keys or len(keys) > limit:
        raise refusal(operation, "ValidationException", f"{len(keys)} items, at most {limit}")
    if len(set(keys)) < len(keys):
        raise refusal(operation, "ValidationException", "Provided list of item keys contains duplicates")


def holds(condition: Any, item: Item) -> bool:
    """Whether one of boto3's condition objects holds of an item."""
    expression = condition.get_expression()
    operator, values = expression["operator"], expression["values"]
    if operator in ("AND", "OR"):
        return (all if operator == "AND" else any)(holds(value, item) for value in values)
    given = item.get(values[0].name)
    match operator:
        case "=":
            return bool(given == values[1])
        case "begins_with":
            return given is not None and str(given).startswith(values[1])
        case "<=":
            return given is not None and bool(given <= values[1])
        case "attribute_exists":
            return values[0].name in item
        case "attribute_not_exists":
            return values[0].name not in item
    raise NotImplementedError(operator)


def _equal_to(condition: Any, name: str) -> str:
    expression = condition.get_expression()
    parts = expression["values"] if expression["operator"] == "AND" else [condition]
    for part in parts:
        inner = part.get_expression()
        if inner["operator"] == "=" and inner["values"][0].name == name:
            return str(inner["values"][1])
    raise NotImplementedError(f"a query without {name}")


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
