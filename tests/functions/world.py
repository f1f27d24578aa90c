"""A small world for the functions: moto's S3, SQS, DynamoDB and EventBridge, and a model that does as told."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partialmethod
from pathlib import Path
from typing import Any

import boto3
import moto.core.responses
from moto import mock_aws
from moto.core.serialize import BaseJSONSerializer

from functions.complete import complete
from functions.domain.errors import EndpointUnavailable
from functions.domain.explanation import Explanation
from functions.domain.locations import TEN, LabelSet
from functions.domain.prediction import Answer, Prediction
from functions.domain.rows import Row
from functions.domain.upload import Inflate, part_key, read_task
from functions.predict import predict
from functions.receive import receive
from functions.services import Services
from functions.services.answers_table import AnswersTable
from functions.services.cursors import Cursors
from functions.services.dynamodb import from_item
from functions.services.endpoint import Endpoint
from functions.services.models_table import ModelsTable
from functions.services.predictions_table import PredictionsTable
from functions.services.queues import Queue
from functions.services.s3 import Storage
from functions.services.settings import Settings
from functions.services.uploads_table import UploadsTable
from functions.services.wire import Database
from functions.split import inflate, split_or_abandon
from protloc.stack.parameters import template

ROOT = Path(__file__).parents[2]
VERSION = "test-1"


class ScriptedModel(Endpoint):
    """Answers by the first letter of a sequence, unless told to fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.asked: list[str] = []
        self.trouble: Callable[[list[str]], None] = lambda sequences: None

    def invoke(
        self, sequences: list[str], *, component: str, model_version: str, labels: LabelSet = TEN
    ) -> list[Answer]:
        assert component == f"stack-{model_version}"
        self.calls += 1
        self.trouble(sequences)
        self.asked += sequences
        return [
            answer_for(sequence) if labels is TEN else answer_among(sequence, labels)
            for sequence in sequences
        ]

    def explain(
        self, sequence: str, *, component: str, model_version: str, labels: LabelSet = TEN
    ) -> Explanation:
        (answer,) = self.invoke([sequence], component=component, model_version=model_version, labels=labels)
        assert isinstance(answer, Prediction)
        importance = (2.0, *(0.0 for _ in sequence[1:]))
        return Explanation(answer.location, answer.confidence, 1, importance, (0,), 0.1, 0.9)


def _serialize_structure(
    serializer: Any, serialized: Any, value: Any, shape: Any, key: str, *, _as_it_was: Any
) -> None:
    """Serialize a structure as moto does, but of a value of DynamoDB only the one member that it has.

    moto looks for each of the ten members by every spelling an attribute of an object could have, which is
    most of the time of a call.
    """
    if shape.name != "AttributeValue":
        _as_it_was(serializer, serialized, value, shape, key)
        return
    wrapper: dict[str, Any] = {}
    for name, content in value.items():
        serializer._serialize(wrapper, content, shape.members[name], name)
    serializer._default_serialize(serialized, wrapper, shape, key)


# Once a class, not once a call.
moto.core.responses.method_names_from_class = cache(moto.core.responses.method_names_from_class)
BaseJSONSerializer._serialize_type_structure = partialmethod(  # type: ignore[method-assign, assignment]
    _serialize_structure, _as_it_was=BaseJSONSerializer._serialize_type_structure
)


def answer_for(sequence: str) -> Prediction:
    chosen = ord(sequence[0]) % 10
    probabilities = tuple(0.91 if index == chosen else 0.01 for index in range(10))
    return Prediction(probabilities, 0.25, len(sequence), False)


def answer_among(sequence: str, labels: LabelSet) -> Prediction:
    """The answer of a model with labels of its own, which names one or, where it may, two that follow it."""
    count = len(labels.names)
    chosen = ord(sequence[0]) % count
    if not labels.several:
        probabilities = tuple(0.9 if at == chosen else round(0.1 / (count - 1), 4) for at in range(count))
        return Prediction(probabilities, 0.25, len(sequence), False, names=labels.names)
    both = {chosen, (chosen + len(sequence) % 2) % count}
    probabilities = tuple(0.8 if at in both else 0.1 for at in range(count))
    named = tuple(name for at, name in enumerate(labels.names) if at in both)
    sure = round(0.8 ** len(both) * 0.9 ** (count - len(both)), 4)
    return Prediction(
        probabilities, None, len(sequence), False, False, named=named, sure=sure, names=labels.names
    )


def unavailable(_sequences: list[str]) -> None:
    raise EndpointUnavailable("no capacity")


class World:
    """The services, and the deliveries that queues and streams would make."""

    def __init__(self, **settings: Any) -> None:
        resources = template()["Resources"]
        self.s3 = _client("s3")
        self.sqs = _client("sqs")
        database, tables = _database(), Database(_client("dynamodb"))
        for bucket in ("uploads", "results", "models"):
            self.s3.create_bucket(Bucket=bucket)
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for name in ("UploadsTable", "PredictionsTable", "AnswersTable", "ModelsTable"):
            properties = resources[name]["Properties"]
            attributes = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
            database.create_table(TableName=name, **{k: properties[k] for k in attributes if k in properties})

        def queue(name: str) -> Queue:
            return Queue(self.sqs, self.sqs.create_queue(QueueName=name)["QueueUrl"])

        self.model = ScriptedModel()
        self.aws = Services(
            settings=Settings(
                **(
                    dict.fromkeys(_text_settings(), "")
                    | {"stack": "stack", "uploads_bucket": "uploads", "models_bucket": "models"}
                    | settings
                )
            ),
            uploads=UploadsTable(tables.Table("UploadsTable")),
            predictions=PredictionsTable(tables, "PredictionsTable", 1),
            answers=AnswersTable(tables, "AnswersTable", 1),
            models=ModelsTable(tables.Table("ModelsTable")),
            storage=Storage(self.s3, "results"),
            uploads_queue=queue("uploads"),
            shards_queue=queue("shards"),
            batches_queue=queue("batches"),
            uploads_dead_letters=queue("uploads-dead"),
            shards_dead_letters=queue("shards-dead"),
            batches_dead_letters=queue("batches-dead"),
            endpoint=self.model,
            cursors=Cursors(lambda: b"a key of the tests"),
            events=_client("events"),
            s3=self.s3,
        )
        self.database = database

    def activate(self, version: str = VERSION, labels: LabelSet = TEN) -> None:
        if labels is not TEN:
            item = {"pk": "version", "sk": version, "state": "in_service", "labels": labels.text}
            self.database.Table("ModelsTable").put_item(Item=item)
        item = {"pk": "alias", "sk": "active", "version": version, "revision": 1, "changed": 0}
        self.database.Table("ModelsTable").put_item(Item=item)

    def upload(self, body: bytes, key: str = "a.fasta", **metadata: str) -> dict[str, Any]:
        """Put a file into the bucket; return the event S3 would send."""
        stored = self.s3.put_object(Bucket="uploads", Key=key, Body=body, Metadata=metadata)
        version = stored["VersionId"]
        detail = {
            "bucket": {"name": "uploads"},
            "object": {"key": key, "size": len(body), "version-id": version},
        }
        return {"detail": detail}

    def take(self, queue: Queue) -> list[dict[str, Any]]:
        """Every message of a queue, delayed ones too, taken off it."""
        messages = []
        for message, receipt in queue.drain(10_000):
            queue.delete(receipt)
            messages.append(message)
        return messages

    def split_shards(self) -> None:
        self.split(self.take(self.aws.shards_queue))

    def split(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            task = read_task(message)
            upload = self.aws.uploads.get(task.upload_id)
            if isinstance(task, Inflate):
                inflate(upload, self.aws)
            else:
                split_or_abandon(task, upload, self.aws)

    def run(self, event: dict[str, Any]) -> str:
        """Everything that follows from an upload, each delivery once; return the upload's id."""
        identity = receive(event, self.aws)
        assert identity is not None
        self.finish(identity)
        return identity

    def finish(self, identity: str) -> None:
        """The stream tells `complete` of every change, so completing too early would show."""
        self.split_shards()
        self.complete(identity)
        self.split_shards()  # those that a decompression sent
        self.complete(identity)
        for message in self.take(self.aws.batches_queue):
            predict(message, self.aws)
            self.complete(identity)

    def predict_batches(self) -> None:
        for message in self.take(self.aws.batches_queue):
            predict(message, self.aws)

    def lose_a_row(self, identity: str) -> None:
        """Cut the first row out of an upload's first part."""
        key = part_key(identity, 0, 0)
        part = self.s3.get_object(Bucket="results", Key=key)["Body"].read()
        self.s3.put_object(Bucket="results", Key=key, Body=part[part.index(b"\n") + 1 :])

    def complete(self, identity: str) -> None:
        if self.status(identity) == "finishing":
            complete(identity, self.aws)

    def item(self, identity: str) -> dict[str, Any]:
        """The row of an upload, attribute by attribute."""
        key = {"pk": identity, "sk": "upload"}
        stored = self.aws.uploads.table.get_item(Key=key, ConsistentRead=True)["Item"]
        item: dict[str, Any] = from_item(stored)
        return item

    def status(self, identity: str) -> str:
        return self.aws.uploads.get(identity).status

    def rows(self, identity: str) -> list[Row]:
        body = self.s3.get_object(Bucket="results", Key=f"results/{identity}/results.jsonl")["Body"].read()
        return [json.loads(line) for line in body.splitlines()]


@cache
def _client(service: str) -> Any:
    """Clients know nothing of the world they talk to, and take long to make."""
    return boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]


@cache
def _database() -> Any:
    return boto3.resource("dynamodb", region_name="us-east-1")


def _text_settings() -> list[str]:
    return [name for name, kind in Settings.__annotations__.items() if kind is str]


@contextmanager
def world(**settings: Any) -> Iterator[World]:
    with mock_aws():
        yield World(**settings)
