"""`protloc teardown`: nothing that costs money is left, in any state the stack may be in."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from protloc.embedded import running
from protloc.errors import UploadProblem
from protloc.stack.teardown import Teardown
from tests.conftest import SAMPLE, Embedded


def inventory(cloud: Any, endpoint: str = "protloc") -> set[str]:
    """Everything in the account that the stack or its work may have made."""
    client = cloud.client
    return {
        *(f"bucket {b['Name']}" for b in client("s3").list_buckets()["Buckets"]),
        *(f"table {name}" for name in client("dynamodb").list_tables()["TableNames"]),
        *(f"function {f['FunctionName']}" for f in client("lambda").list_functions()["Functions"]),
        *(
            f"mapping {m['UUID']}"
            for m in client("lambda").list_event_source_mappings()["EventSourceMappings"]
        ),
        *(f"queue {url}" for url in client("sqs").list_queues().get("QueueUrls", [])),
        *(f"topic {t['TopicArn']}" for t in client("sns").list_topics()["Topics"]),
        *(f"rule {r['Name']}" for r in client("events").list_rules()["Rules"]),
        *(f"schedule {s['Name']}" for s in client("scheduler").list_schedules()["Schedules"]),
        *(f"machine {m['name']}" for m in client("stepfunctions").list_state_machines()["stateMachines"]),
        *(f"role {r['RoleName']}" for r in client("iam").list_roles()["Roles"]),
        *(f"alarm {a['AlarmName']}" for a in client("cloudwatch").describe_alarms()["MetricAlarms"]),
        *_logs(client),
        *(f"secret {s['Name']}" for s in client("secretsmanager").list_secrets()["SecretList"]),
        *(f"api {a['id']}" for a in client("apigateway").get_rest_apis()["items"]),
        *_endpoint(client, endpoint),
        *(f"model {m}" for m in _names(client, "list_models", "Models", "ModelName")),
        *(
            f"component {c}"
            for c in _names(
                client, "list_inference_components", "InferenceComponents", "InferenceComponentName"
            )
        ),
        *(
            f"group {g}"
            for g in _names(
                client, "list_model_package_groups", "ModelPackageGroupSummaryList", "ModelPackageGroupName"
            )
        ),
        *(
            f"target {t['ResourceId']}"
            for t in client("application-autoscaling").describe_scalable_targets(
                ServiceNamespace="sagemaker"
            )["ScalableTargets"]
        ),
    }


def _logs(client: Callable[[str], Any]) -> list[str]:
    """Groups of logs, and of SageMaker's own, which are the account's, their streams."""
    logs, lines = client("logs"), list[str]()
    for name in [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]:
        if name == "/aws/sagemaker/TrainingJobs":
            streams = logs.describe_log_streams(logGroupName=name)["logStreams"]
            lines += [f"logs {name} {stream['logStreamName']}" for stream in streams]
        else:
            lines.append(f"logs {name}")
    return lines


def _names(client: Callable[[str], Any], operation: str, members: str, name: str) -> list[str]:
    return [member[name] for member in getattr(client("sagemaker"), operation)()[members]]


def _endpoint(client: Callable[[str], Any], name: str) -> list[str]:
    try:
        client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError:
        return []
    return [f"endpoint {name}"]


@pytest.fixture(scope="module")
def doomed(start_embedded: Callable[..., Embedded]) -> Embedded:
    """A cloud of its own, since nothing is left of its stack; with an upload, and a retraining under way."""
    cloud = start_embedded()
    cloud.answer("predict", SAMPLE)
    return cloud


HOLDERS = {"User": "somebody", "Group": "some", "Role": "somebodys"}


def hold(iam: Any, policy: str) -> None:
    """Make a user, a group and a role that hold a policy."""
    iam.create_user(UserName=HOLDERS["User"])
    iam.create_group(GroupName=HOLDERS["Group"])
    iam.create_role(RoleName=HOLDERS["Role"], AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    for kind, name in HOLDERS.items():
        getattr(iam, f"attach_{kind.lower()}_policy")(**{f"{kind}Name": name, "PolicyArn": policy})


def let_go(iam: Any) -> None:
    """Delete them, which IAM refuses while they hold anything."""
    for kind, name in HOLDERS.items():
        getattr(iam, f"delete_{kind.lower()}")(**{f"{kind}Name": name})


def test_a_stack_is_taken_down_and_erased_to_nothing(doomed: Embedded) -> None:
    client = doomed.client
    hold(client.client("iam"), client.outputs["UploadersPolicy"])
    machine = client.outputs["RetrainStateMachine"]
    request = {"artifact": "s3://nowhere/model.tar.gz", "version": "unfinished"}
    client.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(request))

    result = doomed.protloc("teardown", "--json", "--yes")
    assert result.exit_code == 0, result.stderr
    let_go(client.client("iam"))
    remains = {rest["resource"] for rest in json.loads(result.stdout)["remains"]}
    expected = {client.outputs[name] for name in ("UploadsBucket", "ResultsBucket", "ModelsBucket")}
    expected |= {client.outputs[name] for name in ("UploadsTable", "ModelsTable")}
    assert expected <= remains
    # The bucket of deployments belongs to the person who deploys, as SAM's does.
    leftovers = {each for each in inventory(client) if each != "bucket protloc-artifacts"}
    kinds = {each.split()[0] for each in leftovers}
    assert kinds <= {"bucket", "table", "group"}, leftovers
    assert {each.split()[1] for each in leftovers} == remains

    again = doomed.protloc("teardown", "--json", "--yes", "--erase")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["remains"] == []
    assert inventory(client) == {"bucket protloc-artifacts"}


class Stuck:
    """In place of all clients: a component whose deletion is accepted, and comes to nothing until it `goes`."""

    def __init__(self) -> None:
        self.components, self.models = ["protloc-stuck"], ["protloc-stuck", "protloc-idle", "other-1"]
        self.targets = {"protloc-stuck", "protloc-idle"}
        self.alarms = {"protloc-stuck-wake-up", "protloc-stuck-rest"}
        self.goes = False

    def get_paginator(self, operation: str) -> Any:
        listed = {
            "list_inference_components": {
                "InferenceComponents": [{"InferenceComponentName": name} for name in self.components]
            },
            "list_models": {"Models": [{"ModelName": name} for name in self.models]},
        }
        return SimpleNamespace(paginate=lambda **_filters: [listed[operation]])

    def delete_inference_component(self, InferenceComponentName: str) -> None:  # noqa: N803
        if self.goes:
            self.components.remove(InferenceComponentName)

    def delete_model(self, ModelName: str) -> None:  # noqa: N803
        self.models.remove(ModelName)

    def delete_alarms(self, AlarmNames: list[str]) -> None:  # noqa: N803
        self.alarms -= set(AlarmNames)

    def deregister_scalable_target(self, ResourceId: str, **_named: str) -> None:  # noqa: N803
        self.targets.remove(ResourceId.removeprefix("inference-component/"))


def test_a_component_keeps_its_scaling_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a component that stays has its instance billed by the hour."""
    stuck = Stuck()
    monkeypatch.setattr("protloc.stack.teardown.GONE_SECONDS", -1.0)
    account: Any = SimpleNamespace(stack="protloc", stack_words="", client=lambda _service: stuck)
    teardown = Teardown(account, lambda _words: None)
    with pytest.raises(UploadProblem, match="protloc-stuck cannot be deleted"):
        teardown._remove_hosting()
    assert stuck.targets == {"protloc-stuck", "protloc-idle"} and stuck.alarms
    stuck.goes = True
    teardown._remove_hosting()
    assert (stuck.components, stuck.models, stuck.targets, stuck.alarms) == ([], ["other-1"], set(), set())


@pytest.mark.slow
def test_a_cloud_whose_stack_was_taken_down_hosts_its_model_again(
    start_embedded: Callable[..., Embedded],
) -> None:
    cloud = start_embedded()
    version = cloud.answer("models")["active"]
    assert cloud.protloc("teardown", "--yes").exit_code == 0
    up = cloud.protloc("up")
    assert up.exit_code == 0, up.output
    now = cloud.answer("models")
    assert (now["active"], now["models"][0]["state"]) == (version, "in_service")
    client = running(cloud.home)
    assert client is not None
    name = f"{client.outputs['EndpointName']}-{version}"
    description = client.client("sagemaker").describe_inference_component(InferenceComponentName=name)
    assert description["InferenceComponentStatus"] == "InService"


def test_without_a_person_to_ask_nothing_is_taken_down(embedded: Embedded) -> None:
    result = embedded.protloc("teardown", "--erase")
    assert result.exit_code == 2 and "--yes" in result.stderr
    assert embedded.answer("status")["active_model"]
