"""Retraining on the embedded cloud, for the suites that look at its good and its bad ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import Embedded
from tests.model.tiny import write_labelled
from tests.waiting import until

# A model that learns `write_labelled` well within seconds, from nothing.
QUICK = {
    "start": None,
    "frozen-layers": "0",
    "hidden": 32,
    "layers": 0,
    "max-residues": 510,
    "epochs": 4,
    "batch-size": 8,
}


def execute(cloud: Embedded, request: dict[str, Any]) -> dict[str, Any]:
    """Run the state machine to its end; give its output, or that it failed and why."""
    machine = cloud.client.client("stepfunctions")
    arn = cloud.client.outputs["RetrainStateMachine"]
    name = machine.start_execution(stateMachineArn=arn, input=json.dumps(request))["executionArn"]
    return ending(cloud, name)


def ending(cloud: Embedded, execution: str) -> dict[str, Any]:
    machine = cloud.client.client("stepfunctions")

    def ended() -> Any:
        description = machine.describe_execution(executionArn=execution)
        return description if description["status"] != "RUNNING" else None

    states = until(ended, lambda: entered(cloud, execution))
    if states["status"] == "SUCCEEDED":
        return dict(json.loads(states["output"]))
    return {"outcome": states.get("error", states["status"]), "reason": states.get("cause", "")}


def entered(cloud: Embedded, execution: str) -> list[str]:
    """The states an execution has entered."""
    events = cloud.client.client("stepfunctions").get_execution_history(
        executionArn=execution, maxResults=1000
    )["events"]
    return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]


def put_labels(cloud: Embedded, folder: Any, proteins: int = 200, test: int = 60, seed: int = 0) -> None:
    """Drop labelled proteins into the bucket."""
    path = write_labelled(folder / f"mine-{seed}.fasta", proteins, test=test, seed=seed)
    cloud.client.client("s3").upload_file(
        str(path), cloud.client.outputs["UploadsBucket"], f"labels/{path.name}"
    )


def model(cloud: Embedded, version: str) -> dict[str, Any]:
    """A model version as the API shows it."""
    return next(view for view in cloud.client.models()["models"] if view["version"] == version)


def remains(cloud: Embedded) -> dict[str, set[str]]:
    """Everything in SageMaker, scaling and alarms that hosts or registers a version."""
    sagemaker = cloud.client.client("sagemaker")
    scaling = cloud.client.client("application-autoscaling")
    alarms = cloud.client.client("cloudwatch")
    components = sagemaker.list_inference_components()["InferenceComponents"]
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    (group,) = sagemaker.list_model_package_groups(NameContains="protloc-")["ModelPackageGroupSummaryList"]
    name = group["ModelPackageGroupName"]
    packages = sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
    return {
        "components": {
            each["InferenceComponentName"]
            for each in components
            if each["InferenceComponentStatus"] != "Deleting"
        },
        "models": {each["ModelName"] for each in sagemaker.list_models()["Models"]},
        "targets": {each["ResourceId"] for each in targets},
        "alarms": {
            each["AlarmName"]
            for each in alarms.describe_alarms()["MetricAlarms"]
            if each["AlarmName"].endswith(("-wake-up", "-rest"))
        },
        "packages": {each["ModelPackageArn"] for each in packages},
    }


def lock(cloud: Embedded) -> str | None:
    """The holder of the lock."""
    response = cloud.client.client("dynamodb").get_item(
        TableName=cloud.client.outputs["ModelsTable"],
        Key={"pk": {"S": "lock"}, "sk": {"S": "retraining"}},
        ConsistentRead=True,
    )
    return response.get("Item", {}).get("holder", {}).get("S")  # type: ignore[no-any-return]


@contextmanager
def function_with(cloud: Embedded, function: str, **variables: str) -> Iterator[None]:
    """A function while its environment has other variables."""
    client = cloud.client.client("lambda")
    name = f"protloc-{function}"
    before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": before | variables})
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": before})
