"""DynamoDB for the four tables: values as it holds them, and batch writes that leave no item out."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.domain.errors import ProtlocError
from functions.services.wire import Database, Table

if TYPE_CHECKING:
    from boto3.dynamodb.conditions import ConditionBase

Item = dict[str, Any]

_WRITE_BATCH = 25
_READ_BATCH = 100
_FILTERED_READS, _FILTERED_ITEMS = 10, 1000
_ATTEMPTS = 8


class TableBusy(ProtlocError):
    """DynamoDB left part of a request undone, again and again."""


def now_seconds() -> int:
    return int(time.time())


def now_milliseconds() -> int:
    return int(time.time() * 1000)


def now_iso() -> str:
    return iso(now_seconds())


def iso(seconds: int) -> str:
    """A moment as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def one_page(
    table: Table, keys: tuple[str, ...], size: int, start: Item | None, **query: Any
) -> tuple[list[Any], Item | None]:
    """At most `size` items of a query, and where the next page begins: None if nothing follows.

    `keys` are the attributes of the index's key and of the table's. DynamoDB applies a filter after it has
    read; the page is then the first of at most `_FILTERED_READS` reads that gives any row, and a following
    page is likely and not sure.
    """
    filtered = "FilterExpression" in query
    for _ in range(_FILTERED_READS if filtered else 1):
        if start:
            query["ExclusiveStartKey"] = start
        # One more than asked for tells whether another page has anything in it.
        page = table.query(Limit=_FILTERED_ITEMS if filtered else size + 1, **query)
        items, start = page["Items"], page.get("LastEvaluatedKey")
        if len(items) > size:
            return items[:size], {name: items[size - 1][name] for name in keys}
        if items or not start:
            break
    return items, start


def to_item(value: Any) -> Any:
    """Floats as Decimals, which is how DynamoDB takes numbers; nothing that is None."""
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, dict):
        return {key: to_item(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [to_item(inner) for inner in value]
    return value


def from_item(value: Any) -> Any:
    """The reverse of `to_item`; sets become sorted lists."""
    if isinstance(value, Decimal):
        return (
            int(value)
            if value == value.to_integral_value() and value.as_tuple().exponent == 0
            else float(value)
        )
    if isinstance(value, dict):
        return {key: from_item(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [from_item(inner) for inner in value]
    if isinstance(value, set):
        return sorted(from_item(inner) for inner in value)
    return value


def to_text(numbers: Iterable[float]) -> str:
    """Several numbers as one value: an item of ten numbers takes ten times the work of one text."""
    return " ".join(map(repr, numbers))


def from_text(value: Any) -> list[float]:
    """The reverse of `to_text`, also of the list of numbers that older releases kept."""
    return [float(number) for number in (value.split() if isinstance(value, str) else value)]


def is_condition_failure(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def put_new(table: Table, item: Item) -> bool:
    """Put an item unless its key is taken; say whether it was put."""
    return put_if(table, item, "attribute_not_exists(pk)")


def put_if(table: Table, item: Item, condition: "ConditionBase | str") -> bool:
    """Put an item; False where the condition does not hold of the one that is there."""
    return _written(table.put_item, Item=item, ConditionExpression=condition)


def update_if(table: Table, **request: Any) -> bool:
    """Update an item; False where its condition does not hold: another worker was there before."""
    return _written(table.update_item, **request)


def _written(write: Callable[..., Any], **request: Any) -> bool:
    try:
        write(**request)
    except ClientError as error:
        if not is_condition_failure(error):
            raise
        return False
    return True


def update(
    table: Table,
    key: Item,
    values: Item,
    condition: "ConditionBase | None" = None,
    *,
    once: Item | None = None,
    add: Item | None = None,
    remove: Iterable[str] = (),
) -> bool:
    """Set an item's attributes to `values`, those `once` that it lacks; `add` to sets; `remove` attributes.

    False where the condition does not hold. Every name is substituted, as many are reserved words:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
    """
    once, add = once or {}, add or {}
    sets = [f"#{name} = :{name}" for name in values]
    sets += [f"#{name} = if_not_exists(#{name}, :{name})" for name in once]
    clauses = {
        "SET": sets,
        "ADD": [f"#{name} :{name}" for name in add],
        "REMOVE": [f"#{name}" for name in remove],
    }
    request: dict[str, Any] = {
        "Key": key,
        "UpdateExpression": " ".join(
            f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts
        ),
        "ExpressionAttributeNames": {f"#{name}": name for name in (*values, *once, *add, *remove)},
        "ExpressionAttributeValues": {f":{name}": value for name, value in (values | once | add).items()},
    }
    if condition is not None:
        request["ConditionExpression"] = condition
    return update_if(table, **request)


def put_all(database: Database, table_name: str, items: Iterable[Item]) -> None:
    """Put every item, 25 a call, repeating those that a call leaves unprocessed."""
    _write_all(database, table_name, ({"PutRequest": {"Item": item}} for item in items))


def delete_all(database: Database, table_name: str, keys: Iterable[Item]) -> None:
    """Delete the items of these keys, as `put_all` puts them."""
    _write_all(database, table_name, ({"DeleteRequest": {"Key": key}} for key in keys))


def _write_all(database: Database, table_name: str, writes: Iterable[Item]) -> None:
    for group in _grouped(writes, _WRITE_BATCH):
        requests: dict[str, Any] = {table_name: group}
        for attempt in range(_ATTEMPTS):
            requests = dict(database.batch_write_item(RequestItems=requests).get("UnprocessedItems", {}))
            if not requests:
                break
            time.sleep(0.05 * 2**attempt)
        else:
            raise TableBusy(f"{table_name}: {len(requests[table_name])} items were not written")


def get_all(database: Database, table_name: str, keys: Iterable[Item]) -> Iterator[Item]:
    """Yield the items that exist for these distinct keys, in any order, 100 a call."""
    for group in _grouped(keys, _READ_BATCH):
        requests: dict[str, Any] = {table_name: {"Keys": group}}
        for attempt in range(_ATTEMPTS):
            answer = database.batch_get_item(RequestItems=requests)
            yield from answer["Responses"].get(table_name, [])
            requests = dict(answer.get("UnprocessedKeys", {}))
            if not requests:
                break
            time.sleep(0.05 * 2**attempt)
        else:
            raise TableBusy(f"{table_name}: some items were not read")


def query_all(table: Table, **query: Any) -> Iterator[Item]:
    """Yield every item of a query, page after page."""
    while True:
        page = table.query(**query)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _grouped(values: Iterable[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    for value in values:
        group.append(value)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
