"""Requests are typed as boto3's resource types them, and answers read as it reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from functions.services.wire import Database, from_wire, to_wire

NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda number: Decimal(str(number))
).filter(lambda number: not number or -100 < number.adjusted() < 100)
VALUES = st.recursive(
    st.text()
    | st.booleans()
    | st.none()
    | NUMBERS
    | st.sets(st.text(), min_size=1, max_size=3)
    | st.sets(NUMBERS, min_size=1, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEY, OTHER = {"pk": "a", "sk": "1"}, {"pk": "b", "sk": "2"}


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        yield


@cache
def clients() -> tuple[Any, Any]:
    """boto3's resource, and a client of its own for ours."""
    session = boto3.Session("none", "none", region_name="us-east-1")
    return session.resource("dynamodb"), session.client("dynamodb")


@given(VALUES)
def test_a_value_is_typed_and_read_as_boto3_does(value: Any) -> None:
    typed = to_wire(value)
    theirs = TypeSerializer().serialize(value)
    assert TypeDeserializer().deserialize(typed) == TypeDeserializer().deserialize(theirs)
    assert from_wire(theirs) == TypeDeserializer().deserialize(theirs)
    assert list(typed) == list(theirs)


@pytest.mark.parametrize("value", [0.5, {"inner": [0.5]}, set(), object(), {1, "a"}, {None}])
def test_a_value_that_an_item_does_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="expected a value that DynamoDB holds"):
        to_wire(value)


REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "put": ("put_item", {"Item": OTHER | {"size": 1}, "ConditionExpression": "attribute_not_exists(pk)"}),
    "put on a condition": (
        "put_item",
        {"Item": OTHER, "ConditionExpression": Attr("pk").not_exists() | Attr("attempt").lte(2)},
    ),
    "get": ("get_item", {"Key": KEY, "ConsistentRead": True}),
    "query": (
        "query",
        {"KeyConditionExpression": Key("pk").eq("a") & Key("sk").begins_with("1"), "Limit": 3},
    ),
    "query from a key": (
        "query",
        {
            "KeyConditionExpression": Key("pk").eq("a"),
            "FilterExpression": Attr("size").gte(Decimal("0.5")) & Attr("names").contains("x"),
            "ExclusiveStartKey": KEY,
        },
    ),
    "update": (
        "update_item",
        {
            "Key": KEY,
            "UpdateExpression": "SET #size = :size ADD #seen :seen",
            "ExpressionAttributeNames": {"#size": "size", "#seen": "seen"},
            "ExpressionAttributeValues": {":size": 2, ":seen": {"x", "y"}},
            "ConditionExpression": Attr("size").eq(1),
            "ReturnValues": "ALL_NEW",
        },
    ),
}


def in_order(value: Any) -> Any:
    """A request's body with each set's members sorted: a set may be written in any order."""
    if isinstance(value, dict):
        return {
            key: sorted(each) if key in ("SS", "NS", "BS") else in_order(each) for key, each in value.items()
        }
    return [in_order(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_goes_out_and_its_answer_comes_back_as_through_the_resource(
    name: str, account: None
) -> None:
    resource, client = clients()
    sent: list[Any] = []
    answers = []
    operation, request = REQUESTS[name]
    for database in (resource, Database(client)):
        _make_table(resource)
        events = client.meta.events if database is not resource else resource.meta.client.meta.events
        watch = f"before-call.dynamodb.{''.join(part.title() for part in operation.split('_'))}"

        def note(params: dict[str, Any], **_: Any) -> None:
            sent.append(in_order(json.loads(params["body"])))

        events.register(watch, note)
        answer = getattr(database.Table("T"), operation)(**request)
        events.unregister(watch, note)
        answers.append({key: value for key, value in answer.items() if key != "ResponseMetadata"})
        resource.Table("T").delete()
    assert sent[0] == sent[1]
    assert answers[0] == answers[1]


def test_several_items_are_written_and_read(account: None) -> None:
    resource, client = clients()
    _make_table(resource)
    database = Database(client)
    items = [{**OTHER, "size": Decimal("0.25")}, {"pk": "c", "sk": "3", "names": ["x", None]}]
    written = database.batch_write_item(
        RequestItems={"T": [{"PutRequest": {"Item": item}} for item in items]}
    )
    assert written == {"UnprocessedItems": {}}
    keys = [OTHER, {"pk": "c", "sk": "3"}, {"pk": "none", "sk": "0"}]
    read = database.batch_get_item(RequestItems={"T": {"Keys": keys, "ConsistentRead": True}})
    assert sorted(read["Responses"]["T"], key=lambda item: str(item["pk"])) == items
    assert read["UnprocessedKeys"] == {}
    database.transact_write_items(
        [
            {
                "Update": {
                    "TableName": "T",
                    "Key": KEY,
                    "UpdateExpression": "SET a = :a",
                    "ExpressionAttributeValues": {":a": 7},
                }
            }
        ]
    )
    assert database.Table("T").get_item(Key=KEY)["Item"]["a"] == 7


def test_what_is_left_undone_comes_back_as_it_was_given() -> None:
    class Busy:
        def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803
            return {"UnprocessedItems": RequestItems}

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803
            return {"Responses": {}, "UnprocessedKeys": RequestItems}

    database = Database(Busy())
    puts = {"T": [{"PutRequest": {"Item": KEY | {"size": 1}}}]}
    gets = {"T": {"Keys": [KEY], "ConsistentRead": True}}
    assert database.batch_write_item(RequestItems=puts) == {"UnprocessedItems": puts}
    assert database.batch_get_item(RequestItems=gets) == {"Responses": {}, "UnprocessedKeys": gets}


def _make_table(resource: Any) -> None:
    resource.create_table(
        TableName="T",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    resource.Table("T").put_item(Item=KEY | {"size": 1, "names": ["x"], "seen": {"z"}})
