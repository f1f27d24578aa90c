"""DynamoDB's requests and answers with Python's values instead of the typed ones of the wire.

The part of boto3's resource that the functions use, under the same names: a resource takes 60 ms of a
processor to make, a fifth of a cold start, and copies each request and walks it by its description.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.conditions import ConditionBase, ConditionExpressionBuilder

ITEMS = ("Item", "Key", "ExpressionAttributeValues", "ExclusiveStartKey", "LastEvaluatedKey", "Attributes")
CONDITIONS = ("ConditionExpression", "FilterExpression", "KeyConditionExpression")


def to_wire(value: Any) -> dict[str, Any]:
    """A value as DynamoDB's API has it; TypeError for a float, which it would take for another number.

    >>> to_wire({"name": "P1", "sizes": [1, Decimal("0.5")], "none": None})
    {'M': {'name': {'S': 'P1'}, 'sizes': {'L': [{'N': '1'}, {'N': '0.5'}]}, 'none': {'NULL': True}}}
    """
    match value:
        case str():
            return {"S": value}
        case bool():  # an int, too
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
        case list() | tuple():
            return {"L": [to_wire(inner) for inner in value]}
        case dict():
            return {"M": item_to_wire(value)}
        case set() | frozenset() if value:
            typed = [to_wire(inner) for inner in value]
            kind, *others = {kind for each in typed for kind in each}
            if not others and kind in ("S", "N"):
                return {f"{kind}S": [each[kind] for each in typed]}
        case bytes():
            return {"B": value}
    raise TypeError(f"expected a value that DynamoDB holds, found {type(value).__name__}")


def item_to_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_wire(value) for name, value in item.items()}


def from_wire(typed: Mapping[str, Any]) -> Any:
    """The reverse of `to_wire`: numbers are Decimals."""
    ((kind, value),) = typed.items()
    match kind:
        case "N":
            return Decimal(value)
        case "L":
            return [from_wire(inner) for inner in value]
        case "M":
            return item_from_wire(value)
        case "SS":
            return set(value)
        case "NS":
            return set(map(Decimal, value))
        case "NULL":
            return None
    return value


def item_from_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: from_wire(value) for name, value in item.items()}


def request_to_wire(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request about one table, or a part of a transaction: its items typed, boto3's conditions as text."""
    typed = dict(request)
    builder = ConditionExpressionBuilder()
    for name in CONDITIONS:
        if isinstance(condition := typed.get(name), ConditionBase):
            built = builder.build_expression(condition, is_key_condition=name == "KeyConditionExpression")
            typed[name] = built.condition_expression
            for kind, new in (
                ("ExpressionAttributeNames", built.attribute_name_placeholders),
                ("ExpressionAttributeValues", built.attribute_value_placeholders),
            ):
                if new:  # DynamoDB refuses an empty one
                    typed[kind] = typed.get(kind, {}) | new
    return {name: item_to_wire(value) if name in ITEMS else value for name, value in typed.items()}


def answer_from_wire(answer: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: item_from_wire(value) if name in ITEMS else value for name, value in answer.items()
    }
    if "Items" in values:
        values["Items"] = [item_from_wire(item) for item in values["Items"]]
    return values


class Table:
    """One table, by the names of boto3's `Table`."""

    def __init__(self, database: "Database", name: str) -> None:
        self.database, self.name = database, name

    def get_item(self, **request: Any) -> dict[str, Any]:
        return self._call(self.database.client.get_item, request)

    def put_item(self, **request: Any) -> dict[str, Any]:
        return self._call(self.database.client.put_item, request)

    def update_item(self, **request: Any) -> dict[str, Any]:
        return self._call(self.database.client.update_item, request)

    def query(self, **request: Any) -> dict[str, Any]:
        return self._call(self.database.client.query, request)

    def _call(self, operation: Any, request: dict[str, Any]) -> dict[str, Any]:
        return answer_from_wire(operation(TableName=self.name, **request_to_wire(request)))


class Database:
    """The tables of one client, by the names of boto3's resource."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def Table(self, name: str) -> Table:  # noqa: N802
        return Table(self, name)

    def batch_write_item(self, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        """Put and delete items; those left unprocessed come back in the form of the request."""
        answer = self.client.batch_write_item(RequestItems=_writes(RequestItems, item_to_wire))
        return {"UnprocessedItems": _writes(answer.get("UnprocessedItems", {}), item_from_wire)}

    def batch_get_item(self, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        """Read items by their keys; keys that are left undone come back as they were given."""
        answer = self.client.batch_get_item(RequestItems=_keys(RequestItems, item_to_wire))
        tables = answer.get("Responses", {})
        return {
            "Responses": {table: [item_from_wire(item) for item in items] for table, items in tables.items()},
            "UnprocessedKeys": _keys(answer.get("UnprocessedKeys", {}), item_from_wire),
        }

    def transact_write_items(self, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        parts = [{kind: request_to_wire(part) for kind, part in each.items()} for each in TransactItems]
        self.client.transact_write_items(TransactItems=parts)


def _writes(requests: Mapping[str, Any], convert: Any) -> dict[str, Any]:
    """The writes of a batch, `{"PutRequest": {"Item": …}}` or `{"DeleteRequest": {"Key": …}}`, converted."""
    return {
        table: [
            {kind: {name: convert(item) for name, item in part.items()} for kind, part in write.items()}
            for write in writes
        ]
        for table, writes in requests.items()
    }


def _keys(requests: Mapping[str, Any], convert: Any) -> dict[str, Any]:
    return {
        table: {**request, "Keys": [convert(key) for key in request["Keys"]]}
        for table, request in requests.items()
    }
