"""AWS around the state machine, in memory: the models table, SageMaker's lists of resources, and the messages sent.

Every call of the state machine goes through `call`, which acts at once as the service would, or raises the
error that Step Functions would see. The functions it invokes are the real ones where they touch the models
table; the results of jobs and of the judge are drawn by the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from functions.plan import NO_DATA, NOTHING_NEW
from functions.retire import remove
from functions.services.hosting import ComponentStays, Hosting
from functions.services.models_table import ModelsTable
from protloc.cloud.contracts import integrations
from tests.retraining.machine import Asked, TaskError
from tests.simulation.database import Database, Table, copied, stored
from tests.simulation.expressions import compile_condition, compile_update
from tests.simulation.surroundings import refusal

_READ = TypeDeserializer().deserialize
MODELS = "models"


class Cloud:
    """All that executions share. `seconds` is the time; `random` draws the results of jobs, judges and services."""

    def __init__(self, random: Random, seconds: Callable[[], float]) -> None:
        self.random, self.seconds = random, seconds
        self.database = Database()
        self.table = self.database.create(MODELS, ("pk", "sk"), {})
        self.models = ModelsTable(Transacting(self.table))  # type: ignore[arg-type]
        self.components: dict[str, float] = {}  # name → when it was made
        self.hosted: dict[str, float] = {}  # SageMaker models
        self.targets: set[str] = set()
        self.alarms: set[str] = set()
        self.packages: dict[str, str] = {}  # ARN → approval
        self.tokens: dict[str, str] = {}  # of packages
        self.jobs: set[str] = set()
        self.labels = 0  # the content of labels/, as a number that grows with every change
        self.hosting = Hosting(*[Control(self)] * 3)
        self.undeleted = 0.0  # how many of the deletions that are accepted come to nothing

    def call(self, asked: Asked) -> Any:
        """Answer as the service does; raises TaskError."""
        name = asked.resource.split(":::")[1].removeprefix("aws-sdk:").replace(".sync", "").replace(":", "_")
        arguments = asked.arguments
        try:
            return getattr(self, f"_{name}")(arguments)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            raise TaskError(integrations.error(asked.resource, code), message) from None

    # DynamoDB

    def _dynamodb_updateItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self._write([("Update", request)])
        item = self.table._current(tuple(_item(request["Key"]).values()))  # type: ignore[arg-type]
        return {"Attributes": {name: _typed(value) for name, value in (item or {}).items()}}

    def _dynamodb_getItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        item = self.table._current(tuple(_item(request["Key"]).values()))  # type: ignore[arg-type]
        return {} if item is None else {"Item": {name: _typed(value) for name, value in item.items()}}

    def _dynamodb_putItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self._write([("Put", request)])
        return {}

    def _dynamodb_transactWriteItems(self, request: dict[str, Any]) -> Any:  # noqa: N802
        parts = [(kind, part) for each in request["TransactItems"] for kind, part in each.items()]
        try:
            self._write(parts)
        except ClientError:
            raise refusal("dynamodb.TransactWriteItems", "TransactionCanceledException") from None
        return {}

    def _write(self, parts: list[tuple[str, dict[str, Any]]]) -> None:
        write(self.table, [(kind, _plain(part)) for kind, part in parts])

    # Lambda: the real functions, as far as they touch the table

    def _lambda_invoke(self, request: dict[str, Any]) -> Any:
        function, payload = request["FunctionName"], request["Payload"]
        if function == "plan":
            return {"Payload": self._plan(payload)}
        if function == "judge":
            figures, promote = {"q10": 0.7}, self.random.random() < 0.7
            return {"Payload": {"promote": promote, "reason": "judged", "figures": figures, "labels": ""}}
        if function == "retire":
            return {"Payload": self._remove(payload)}
        if payload["component"] not in self.components or self.random.random() < 0.05:
            raise TaskError("BrokenContract", '{"errorMessage": "the model answers differently"}')
        return {"Payload": {}}

    def _remove(self, payload: dict[str, Any]) -> dict[str, Any]:
        aws: Any = SimpleNamespace(settings=SimpleNamespace(component=lambda version: f"protloc-{version}"))
        try:
            remove(payload["version"], payload["package"], aws, self.hosting)
        except ComponentStays as error:
            raise TaskError("ComponentStays", str(error)) from None
        return {}

    def _plan(self, payload: dict[str, Any]) -> dict[str, Any]:
        """As `functions.plan` does, with a number for the content of the buckets."""
        alias = self.models.alias()
        champion = self.models.get(alias.version) if alias.version else None
        latest = self.models.latest()
        snapshot = "" if payload["artifact"] else f"snapshot-{self.labels}"
        nothing = ""
        if snapshot and not self.labels:
            nothing = NO_DATA
        elif snapshot and latest.get("snapshot") == snapshot and not payload["again"]:
            nothing = NOTHING_NEW.format(version=latest["version"])
        return {
            "champion": alias.version,
            "champion_artifact": champion["artifact"] if champion else "",
            "revision": alias.revision,
            "source": "s3://models/code/0123/sourcedir.tar.gz",
            "snapshot": snapshot,
            "nothing": nothing,
            "labels": "",
            "hyperparameters": {},
        }

    # SageMaker, scaling, alarms, notifications

    def _sagemaker_createTrainingJob(self, request: dict[str, Any]) -> Any:  # noqa: N802
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise refusal("sagemaker.CreateTrainingJob", "ResourceInUse")
        self.jobs.add(name)
        return _artifact(name)

    def _sagemaker_describeTrainingJob(self, request: dict[str, Any]) -> Any:  # noqa: N802
        name = request["TrainingJobName"]
        if name not in self.jobs:
            raise refusal(
                "sagemaker.DescribeTrainingJob", "ValidationException", "Requested resource not found."
            )
        chosen = self.random.choices(("Completed", "InProgress", "Failed"), (6, 3, 1))[0]
        return {"TrainingJobStatus": chosen, "FailureReason": "no memory", **_artifact(name)}

    def _sagemaker_createModel(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if request["ModelName"] in self.hosted:
            raise refusal("sagemaker.CreateModel", "ValidationException", "already existing")
        self.hosted[request["ModelName"]] = self.seconds()
        return {}

    def _sagemaker_describeModel(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if request["ModelName"] not in self.hosted:
            raise refusal("sagemaker.DescribeModel", "ValidationException", "Could not find model.")
        return {"CreationTime": iso(self.hosted[request["ModelName"]])}

    def _sagemaker_createModelPackage(self, request: dict[str, Any]) -> Any:  # noqa: N802
        token = request.get("ClientToken", str(len(self.packages)))
        if token not in self.tokens:
            self.tokens[token] = f"arn:aws:sagemaker:::model-package/protloc/{len(self.tokens) + 1}"
            self.packages[self.tokens[token]] = request["ModelApprovalStatus"]
        return {"ModelPackageArn": self.tokens[token]}

    def _sagemaker_updateModelPackage(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.packages[request["ModelPackageArn"]] = request["ModelApprovalStatus"]
        return {}

    def _sagemaker_createInferenceComponent(self, request: dict[str, Any]) -> Any:  # noqa: N802
        name = request["InferenceComponentName"]
        if name in self.components:
            raise refusal("sagemaker.CreateInferenceComponent", "ValidationException", "already existing")
        self.components[name] = self.seconds()
        return {}

    def _sagemaker_describeInferenceComponent(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if request["InferenceComponentName"] not in self.components:
            raise refusal("sagemaker.DescribeInferenceComponent", "ValidationException", "Could not find it.")
        chosen = self.random.choices(("InService", "Creating", "Failed"), (6, 3, 1))[0]
        made = iso(self.components[request["InferenceComponentName"]])
        return {"InferenceComponentStatus": chosen, "FailureReason": "no memory", "CreationTime": made}

    def _applicationautoscaling_registerScalableTarget(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.targets.add(request["ResourceId"])
        return {}

    def _applicationautoscaling_putScalingPolicy(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return {"PolicyARN": "arn:policy"}

    def _cloudwatch_putMetricAlarm(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.alarms.add(request["AlarmName"])
        return {}

    def _sns_publish(self, _request: dict[str, Any]) -> Any:
        return {}


class Control:
    """boto3's clients for hosting a version, as `Hosting` calls them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def delete_alarms(self, AlarmNames: list[str]) -> None:  # noqa: N803
        self._cloud.alarms -= set(AlarmNames)

    def deregister_scalable_target(self, ResourceId: str, **_others: str) -> None:  # noqa: N803
        if ResourceId not in self._cloud.targets:
            raise refusal("autoscaling.DeregisterScalableTarget", "ObjectNotFoundException")
        self._cloud.targets.remove(ResourceId)

    def delete_inference_component(self, InferenceComponentName: str) -> None:  # noqa: N803
        self.describe_inference_component(InferenceComponentName)
        if self._cloud.random.random() >= self._cloud.undeleted:
            del self._cloud.components[InferenceComponentName]

    def describe_inference_component(self, InferenceComponentName: str) -> dict[str, str]:  # noqa: N803
        if InferenceComponentName not in self._cloud.components:
            raise refusal("sagemaker.DescribeInferenceComponent", "ValidationException", "Could not find it.")
        return {"InferenceComponentStatus": "InService"}

    def delete_model_package(self, ModelPackageName: str) -> None:  # noqa: N803
        if self._cloud.packages.pop(ModelPackageName, None) is None:
            raise refusal("sagemaker.DeleteModelPackage", "ValidationException", "Could not find it.")

    def stop_training_job(self, TrainingJobName: str) -> None:  # noqa: N803
        if TrainingJobName not in self._cloud.jobs:
            raise refusal("sagemaker.StopTrainingJob", "ValidationException", "Requested resource not found.")

    def delete_model(self, ModelName: str) -> None:  # noqa: N803
        if ModelName not in self._cloud.hosted:
            raise refusal("sagemaker.DeleteModel", "ValidationException", "Could not find it.")
        del self._cloud.hosted[ModelName]


class Transacting:
    """The simulation's table with the transactions that `ModelsTable` asks its database for."""

    def __init__(self, table: Table) -> None:
        self._table, self.name = table, table.name
        self.get_item, self.update_item, self.query = table.get_item, table.update_item, table.query
        self.database = SimpleNamespace(transact_write_items=self._transact)

    def _transact(self, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        parts = [(kind, stored(part)) for each in TransactItems for kind, part in each.items()]
        try:
            write(self._table, parts)
        except ClientError:
            raise refusal("dynamodb.TransactWriteItems", "TransactionCanceledException") from None


def write(table: Table, parts: list[tuple[str, dict[str, Any]]]) -> None:
    """All of it or nothing. Raises ConditionalCheckFailedException."""
    written = []
    for kind, part in parts:
        key = part["Item"] if kind == "Put" else part["Key"]
        place = (str(key["pk"]), str(key["sk"]))
        old = table._current(place) or {}
        names = {**part.get("ExpressionAttributeNames", {}), **part.get("ExpressionAttributeValues", {})}
        condition = part.get("ConditionExpression")
        if condition and not compile_condition(condition)(old, names):
            raise refusal(
                "dynamodb.Write", "ConditionalCheckFailedException", "The conditional request failed"
            )
        if kind == "Put":
            written.append((place, part["Item"]))
        elif kind == "Update":
            new = copied(old) or dict(zip(("pk", "sk"), place, strict=True))
            compile_update(part["UpdateExpression"])(new, old, names)
            written.append((place, new))
    for place, new in written:
        table._store(place, new)


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a request with its values as they are stored, out of DynamoDB's JSON."""
    return {
        name: _item(value) if name in ("Key", "Item", "ExpressionAttributeValues") else value
        for name, value in part.items()
    }


def _item(typed: dict[str, Any]) -> dict[str, Any]:
    return {name: _READ(value) for name, value in typed.items()}


def _artifact(job: str) -> dict[str, Any]:
    return {"ModelArtifacts": {"S3ModelArtifacts": f"s3://models/training/{job}/output/model.tar.gz"}}


def iso(seconds: float) -> str:
    """A time as Step Functions gives it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _typed(value: Any) -> dict[str, str]:
    return {"N": str(value)} if isinstance(value, Decimal) else {"S": str(value)}


def hosted_versions(cloud: Cloud) -> set[str]:
    """Versions in service, by the table."""
    return {item["sk"] for item in cloud.models.all() if item["state"] == "in_service"}
