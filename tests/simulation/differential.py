"""The same calls made of the clients in memory and of others; both answers are brought to one form and compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from hypothesis import strategies as st

from functions.services.dynamodb import from_item, query_all
from functions.services.s3 import Storage
from tests.simulation import deployed
from tests.simulation.database import Database
from tests.simulation.messages import MessageQueue, MessageService
from tests.simulation.objects import ObjectStore

Call = tuple[str, dict[str, Any]]

_numbers = itertools.count()
TABLE = "UploadsTable"


@dataclass(frozen=True)
class Clients:
    """boto3's, pointed at something that stands for AWS."""

    database: Any
    s3: Any
    sqs: Any


def _outcome(make: Callable[[], Any], seen: Callable[[Any], Any]) -> Any:
    """The outcome of a call: the part of its answer that matters, or the code of its error."""
    try:
        return seen(make())
    except ClientError as error:
        return error.response["Error"]["Code"]


# Tables: every update, condition and query that the functions make, on a few keys

_keys = st.builds(
    lambda pk, sk: {"pk": pk, "sk": sk}, st.sampled_from("ab"), st.sampled_from(["s#1", "s#2", "t"])
)
_items = st.builds(
    lambda key, rest: key | rest,
    _keys,
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(["receiving", "running"]),
            "open": st.just("yes"),
            "listed": st.sampled_from(["1", "2", "3"]),
            "records": st.integers(0, 3),
            "inner": st.fixed_dictionaries({"list": st.lists(st.integers(0, 2), max_size=2)}),
        },
    ),
)


def _distinct(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, min_size=1, max_size=3, unique_by=lambda item: (item["pk"], item["sk"]))


_UPDATES: list[dict[str, Any]] = [
    {
        "UpdateExpression": "SET #s = :running, shards = :n REMOVE reason",
        "ConditionExpression": "#s = :receiving AND attribute_not_exists(shards)",
        "ExpressionAttributeNames": {"#s": "status"},
        "ExpressionAttributeValues": {":running": "running", ":receiving": "receiving", ":n": 2},
    },
    {
        "UpdateExpression": "ADD batches_done :b SET updated = :n",
        "ExpressionAttributeValues": {":b": {1, 2}, ":n": 5},
    },
    {
        "UpdateExpression": "SET batches = :n, kept = :k, #l = if_not_exists(#l, :n), updated = :n",
        "ConditionExpression": "attribute_not_exists(kept) AND (attribute_not_exists(batches) OR "
        "(batches > :n AND (attribute_not_exists(batches_done) OR size(batches_done) < batches)))",
        "ExpressionAttributeNames": {"#l": "lines"},
        "ExpressionAttributeValues": {":n": 1, ":k": [1]},
    },
    {
        "UpdateExpression": "SET batches = :n, #l = :n",
        "ConditionExpression": "attribute_not_exists(kept)",
        "ExpressionAttributeNames": {"#l": "lines"},
        "ExpressionAttributeValues": {":n": 3},
    },
    {
        "UpdateExpression": "SET announced = :n REMOVE #o",
        "ConditionExpression": "attribute_exists(#o)",
        "ExpressionAttributeNames": {"#o": "open"},
        "ExpressionAttributeValues": {":n": 9},
    },
    {
        "UpdateExpression": "SET reason = :r",
        "ConditionExpression": "#s IN (:a, :b)",
        "ExpressionAttributeNames": {"#s": "status"},
        "ExpressionAttributeValues": {":r": "why", ":a": "running", ":b": "complete"},
    },
    {
        "UpdateExpression": "ADD counted :one",
        "ConditionExpression": "attribute_not_exists(expires) OR expires < :one",
        "ExpressionAttributeValues": {":one": 1},
    },
    {
        "UpdateExpression": "SET reason = :r REMOVE listed",
        "ConditionExpression": "(attribute_exists(#s) AND (NOT #s IN (:a, :b)))",
        "ExpressionAttributeNames": {"#s": "status"},
        "ExpressionAttributeValues": {":r": "gone", ":a": "receiving", ":b": "deleted"},
    },
    {"UpdateExpression": "SET updated = :n", "ExpressionAttributeValues": {":n": 5, ":unused": 1}},
]
_QUERIES: list[dict[str, Any]] = [
    {"KeyConditionExpression": Key("pk").eq("a") & Key("sk").begins_with("s#"), "ConsistentRead": True},
    {
        "KeyConditionExpression": Key("pk").eq("a") & Key("sk").begins_with("s#"),
        "FilterExpression": Attr("records").exists(),
        "ConsistentRead": True,
    },
    # Read to the end: on AWS a page that is full has a next one, empty or not; elsewhere not always.
    {"KeyConditionExpression": Key("pk").eq("b"), "Limit": 2},
    {"KeyConditionExpression": Key("pk").eq("b"), "Limit": 2, "ExclusiveStartKey": {"pk": "b", "sk": "s#1"}},
    {"IndexName": "open", "KeyConditionExpression": Key("open").eq("yes")},
    {
        "KeyConditionExpression": Key("pk").eq("a") & Key("sk").between("s#2", "t"),
        "ProjectionExpression": "pk, sk",
        "ConsistentRead": True,
    },
]
_NOT_BETTER = Attr("pk").not_exists() | Attr("records").lte(1)
table_calls: st.SearchStrategy[Call] = st.one_of(
    st.builds(lambda item: ("put_item", {"Item": item}), _items),
    st.builds(
        lambda item: ("put_item", {"Item": item, "ConditionExpression": "attribute_not_exists(pk)"}), _items
    ),
    st.builds(lambda item: ("put_item", {"Item": item, "ConditionExpression": _NOT_BETTER}), _items),
    st.builds(lambda key: ("get_item", {"Key": key, "ConsistentRead": True}), _keys),
    st.builds(lambda key, update: ("update_item", {"Key": key, **update}), _keys, st.sampled_from(_UPDATES)),
    st.builds(lambda query: ("query", query), st.sampled_from(_QUERIES)),
    # A key twice in one call is an error that moto lets pass where the items differ.
    st.builds(lambda items: ("batch_write_item", {"items": items}), _distinct(_items)),
    st.builds(lambda keys: ("batch_write_item", {"deleted": keys}), _distinct(_keys)),
    st.builds(lambda keys: ("batch_get_item", {"keys": keys}), _distinct(_keys)),
)


def compare_tables(other: Clients, calls: list[Call]) -> None:
    name = f"table-{next(_numbers)}"
    properties = deployed.resources()[TABLE]["Properties"]
    attributes = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    other.database.create_table(TableName=name, **{k: properties[k] for k in attributes})
    memory = Database()
    memory.create(name, *deployed.table(TABLE))
    for call in calls:
        mine, theirs = (
            _outcome(partial(_on_table, database, name, call), _seen) for database in (memory, other.database)
        )
        assert mine == theirs, call


def _on_table(database: Any, name: str, call: Call) -> Any:
    operation, arguments = call
    if operation == "batch_write_item":
        requests = [{"PutRequest": {"Item": item}} for item in arguments.get("items", ())]
        requests += [{"DeleteRequest": {"Key": key}} for key in arguments.get("deleted", ())]
        return database.batch_write_item(RequestItems={name: requests})
    if operation == "batch_get_item":
        answer = database.batch_get_item(
            RequestItems={name: {"Keys": arguments["keys"], "ConsistentRead": True}}
        )
        items = answer["Responses"].get(name, [])
        return {
            "Items": sorted(items, key=lambda item: (item["pk"], item["sk"])),
            "all": answer["UnprocessedKeys"],
        }
    table = database.Table(name)
    return (
        {"Items": list(query_all(table, **arguments))}
        if operation == "query"
        else getattr(table, operation)(**arguments)
    )


def _seen(answer: Any) -> Any:
    names = ("Item", "Items", "UnprocessedItems", "all")
    return {name: _plain(answer[name]) for name in names if name in answer}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return from_item(value)


# Objects: a bucket with versions, named by the order in which they came

_object_keys = st.sampled_from(["a", "folder/b"])
_bodies = st.binary(max_size=12)
object_calls: st.SearchStrategy[Call] = st.one_of(
    st.builds(lambda key, body: ("put_object", {"Key": key, "Body": body}), _object_keys, _bodies),
    st.builds(
        lambda key, body: ("put_object", {"Key": key, "Body": body, "IfNoneMatch": "*"}), _object_keys, _bodies
    ),
    st.builds(lambda key: ("get_object", {"Key": key}), _object_keys),
    st.builds(
        lambda key, first, length: ("get_object", {"Key": key, "Range": f"bytes={first}-{first + length}"}),
        _object_keys,
        st.integers(0, 14),
        st.integers(0, 14),
    ),
    st.builds(lambda key, n: ("get_object", {"Key": key, "version": n}), _object_keys, st.integers(0, 3)),
    st.builds(lambda key, n: ("head_object", {"Key": key, "version": n}), _object_keys, st.integers(0, 3)),
    st.builds(lambda key: ("head_object", {"Key": key}), _object_keys),
    st.builds(lambda key: ("delete_object", {"Key": key}), _object_keys),
    st.builds(lambda key, n: ("delete_object", {"Key": key, "version": n}), _object_keys, st.integers(0, 3)),
    st.builds(lambda key, body, end: ("multipart", {"Key": key, "Body": body, "end": end}),
              _object_keys, _bodies, st.sampled_from(["complete", "abort", "twice"])),
    st.just(("list", {})),
    st.builds(lambda prefix: ("erase", {"prefix": prefix}), st.sampled_from(["a", "folder/"])),
)  # fmt: skip


def compare_objects(other: Clients, calls: list[Call]) -> None:
    bucket = f"bucket-{next(_numbers)}"
    other.s3.create_bucket(Bucket=bucket)
    other.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    memory = ObjectStore()
    memory.buckets[bucket] = {}
    versions: list[list[str]] = [[], []]
    for call in calls:
        mine, theirs = (
            _outcome(partial(_on_objects, s3, bucket, call, versions_of), lambda answer: answer)
            for s3, versions_of in zip((memory, other.s3), versions, strict=True)
        )
        assert mine == theirs, call


def _on_objects(s3: Any, bucket: str, call: Call, versions: list[str]) -> Any:
    operation, arguments = call[0], dict(call[1])
    if operation == "list":
        listed: list[dict[str, Any]] = []
        place: dict[str, str] = {}
        while True:
            page = s3.list_object_versions(Bucket=bucket, MaxKeys=3, **place)
            listed += page.get("Versions", [])
            if not page["IsTruncated"]:
                break
            place = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        return sorted((each["Key"], versions.index(each["VersionId"]), each["Size"]) for each in listed)
    if operation == "erase":
        return Storage(s3, bucket).erase(arguments["prefix"])
    if operation == "multipart":
        return _multipart(s3, bucket, arguments, versions)
    if "version" in arguments:
        number = arguments.pop("version")
        if number >= len(versions):
            return None
        arguments["VersionId"] = versions[number]
    answer = getattr(s3, operation)(Bucket=bucket, **arguments)
    if operation == "put_object":
        versions.append(answer["VersionId"])
    if operation == "get_object":
        return answer["Body"].read()
    return answer["ContentLength"] if operation == "head_object" else None


def _multipart(s3: Any, bucket: str, arguments: dict[str, Any], versions: list[str]) -> Any:
    about = {"Bucket": bucket, "Key": arguments["Key"]}
    about["UploadId"] = s3.create_multipart_upload(**about)["UploadId"]
    part = s3.upload_part(**about, PartNumber=1, Body=arguments["Body"])
    if arguments["end"] == "abort":
        s3.abort_multipart_upload(**about)
        return None
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    versions.append(s3.complete_multipart_upload(**about, MultipartUpload=parts)["VersionId"])
    return None


# Queues: one message at a time, because the order of more is nobody's promise

message_calls: st.SearchStrategy[Call] = st.sampled_from(
    [
        ("send", {"MessageBody": "one"}),
        ("send", {"MessageBody": "two", "DelaySeconds": 900}),
        ("receive", {}),
        ("delete", {}),
        ("show", {"VisibilityTimeout": 0}),
        ("show", {"VisibilityTimeout": 100}),
    ]
)


def compare_queues(other: Clients, calls: list[Call]) -> None:
    """Two queues with dead letters after two receives; a delay is never waited for."""
    number = next(_numbers)
    dead = other.sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]
    arn = other.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
    url = other.sqs.create_queue(QueueName=f"live-{number}", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    memory = MessageService()
    buried = memory.create(MessageQueue("dead"))
    memory.create(MessageQueue("live", max_receives=2, dead_letters=buried))
    mine, theirs = _Consumer(memory, "live", "dead"), _Consumer(other.sqs, url, dead)
    for call in calls:
        assert mine.make(call) == theirs.make(call), call


class _Consumer:
    def __init__(self, sqs: Any, live: str, dead: str) -> None:
        self._sqs, self._live, self._dead = sqs, live, dead
        self._receipts: list[str] = []
        self._waiting = False  # a second message could come before the first, or not

    def make(self, call: Call) -> Any:
        return _outcome(lambda: self._make(*call), lambda answer: answer)

    def _make(self, operation: str, arguments: dict[str, Any]) -> Any:
        sqs, receipts = self._sqs, self._receipts
        if operation == "send":
            if not self._waiting:
                sqs.send_message(QueueUrl=self._live, **arguments)
                self._waiting = not arguments.get("DelaySeconds")
            return None
        if operation == "receive":
            received = sqs.receive_message(QueueUrl=self._live, MaxNumberOfMessages=1, WaitTimeSeconds=0)
            dead = sqs.receive_message(QueueUrl=self._dead, MaxNumberOfMessages=1, WaitTimeSeconds=0)
            receipts += [message["ReceiptHandle"] for message in received.get("Messages", [])]
            self._waiting = self._waiting and not dead.get("Messages")
            return [
                [message["Body"] for message in answer.get("Messages", [])] for answer in (received, dead)
            ]
        if not receipts:
            return None
        about = {"QueueUrl": self._live, "ReceiptHandle": receipts[-1]}
        if operation == "show":
            sqs.change_message_visibility(**about, **arguments)
        else:
            sqs.delete_message(**about)
            self._waiting = False
        if operation == "delete" or not arguments["VisibilityTimeout"]:
            receipts.pop()  # of no more use: AWS refuses it, moto does not
        return None
