"""The project's own stack on bad days: a deployment that fails, a stack deleted and made again, an update."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud import connection, deploy
from protloc.cloud.connection import Cloud
from protloc.cloud.deploy import PROJECT
from protloc.stack.account import Account
from protloc.stack.adoption import take_over
from protloc.stack.naming import BadStackName
from tests.waiting import until

RELEASES = sorted((PROJECT / "tests" / "template" / "releases").glob("*.json"))
BROKEN = """
  Broken:
    Type: AWS::SageMaker::EndpointConfig
    DependsOn: [RetrainStateMachine, UploadsBucketPolicy, ModelsBucketPolicy, ResultsBucketPolicy, AnswersTable]
    Properties: {ProductionVariants: [{VariantName: main, InstanceType: ml.m5.large}]}
"""


@pytest.fixture
def name(cloud: Cloud) -> Iterator[str]:
    """The name of a stack of the test's own: the resources that a stack keeps are found by the next one of its name."""
    name = f"day-{secrets.token_hex(4)}"
    yield name
    delete(cloud, name)


def delete(cloud: Cloud, name: str) -> None:
    client = cloud.client("cloudformation")
    client.delete_stack(StackName=name)
    until(lambda: name not in stacks(cloud))


def stacks(cloud: Cloud) -> dict[str, str]:
    """The status of each stack that is there."""
    pages = cloud.client("cloudformation").get_paginator("list_stacks").paginate()
    summaries = [each for page in pages for each in page["StackSummaries"]]
    return {
        each["StackName"]: each["StackStatus"]
        for each in summaries
        if each["StackStatus"] != "DELETE_COMPLETE"
    }


def left_over(cloud: Cloud, name: str) -> list[str]:
    """Everything that stays when a stack goes, by name."""
    tables = cloud.client("dynamodb").list_tables()["TableNames"]
    buckets = [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]]
    groups = cloud.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    names = [*tables, *buckets, *(group["ModelPackageGroupName"] for group in groups)]
    return [each for each in names if each.startswith(name)]


def broken(folder: Path) -> Path:
    """A copy of the project whose template has one resource more, made last, which is refused."""
    for name in ("functions", "model"):
        (folder / name).symlink_to(PROJECT / name)
    text = (PROJECT / "template.yaml").read_text()
    (folder / "template.yaml").write_text(text.replace("\nOutputs:\n", f"{BROKEN}\nOutputs:\n"))
    return folder / "template.yaml"


def test_a_first_deployment_that_fails_midway_leaves_nothing_and_the_same_name_succeeds(
    cloud: Cloud, name: str, tmp_path: Path
) -> None:
    with pytest.raises(deploy.DeployError, match="Broken"):
        deploy.deploy(cloud, broken(tmp_path), name)
    assert left_over(cloud, name) == []
    outputs = deploy.deploy(cloud, stack=name)
    assert outputs["ModelsBucket"]


def test_a_stack_deleted_and_created_again_finds_its_data(cloud: Cloud, name: str) -> None:
    first = deploy.deploy(cloud, stack=name)
    fill(cloud, first)
    delete(cloud, name)
    again = deploy.deploy(cloud, stack=name)
    assert held(cloud, again) == held(cloud, first) != {}


def test_an_update_that_fails_midway_leaves_what_was_there_and_can_be_made_again(
    cloud: Cloud, name: str, tmp_path: Path
) -> None:
    """Replaced on the way, the endpoint's old configuration is needed again."""
    before = deploy.deploy(cloud, stack=name)
    fill(cloud, before)
    larger = {"MaxInferenceInstances": "3"}
    with pytest.raises(deploy.DeployError, match=r"UPDATE_ROLLBACK_COMPLETE: .*Broken"):
        deploy.deploy(cloud, broken(tmp_path), name, larger)
    after = deploy.deploy(cloud, stack=name, parameters=larger)
    assert held(cloud, after) == held(cloud, before) != {}
    assert instances(cloud, name) == {"MinInstanceCount": 0, "MaxInstanceCount": 3, "Status": "ENABLED"}


def test_gpus_without_their_driver_are_refused_before_anything_is_made(cloud: Cloud) -> None:
    for half in (
        {"InferenceAcceleratorDevices": "1"},
        {"InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-3-1"},
    ):
        with pytest.raises(
            deploy.DeployError, match="InferenceAcceleratorDevices and InferenceAmiVersion go together"
        ):
            deploy.deploy(cloud, stack="gpus", parameters=half)
        assert "gpus" not in stacks(cloud)


def test_a_name_that_would_not_fit_is_refused_before_anything_is_made(cloud: Cloud) -> None:
    before = stacks(cloud)
    with pytest.raises(BadStackName):
        deploy.deploy(cloud, stack="a-name-of-more-than-22-letters")
    assert stacks(cloud) == before


def instances(cloud: Cloud, name: str) -> dict[str, Any]:
    """The bounds of the endpoint's scaling."""
    sagemaker = cloud.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    scaling: dict[str, Any] = variant["ManagedInstanceScaling"]
    return scaling


ROW = {"pk": {"S": "row"}, "sk": {"S": "kept"}}


def fill(cloud: Cloud, outputs: dict[str, str]) -> None:
    for name in ("UploadsBucket", "ResultsBucket", "ModelsBucket"):
        cloud.client("s3").put_object(Bucket=outputs[name], Key="labels/kept", Body=name.encode())
    for name in ("UploadsTable", "ModelsTable"):
        cloud.client("dynamodb").put_item(TableName=outputs[name], Item=ROW)


def held(cloud: Cloud, outputs: dict[str, str]) -> dict[str, Any]:
    contents: dict[str, Any] = {}
    for name in ("UploadsBucket", "ResultsBucket", "ModelsBucket"):
        body = cloud.client("s3").get_object(Bucket=outputs[name], Key="labels/kept")["Body"].read()
        contents[name] = (outputs[name], body)
    for name in ("UploadsTable", "ModelsTable"):
        rows = cloud.client("dynamodb").scan(TableName=outputs[name])["Items"]
        contents[name] = (outputs[name], rows)
    return contents


def test_a_stack_on_aws_is_begun_with_what_was_kept_before_it_is_deployed(cloud: Cloud, name: str) -> None:
    """By a command of its own, since the SAM CLI cannot import; the deployment then is an update."""
    first = deploy.deploy(cloud, stack=name)
    fill(cloud, first)
    account = Account(name, cloud.region, cloud.client, True, f" --stack {name}")
    assert take_over(account) == []  # while it is there
    delete(cloud, name)
    adopted = take_over(account)
    assert {first[name] for name in ("UploadsBucket", "ResultsBucket", "ModelsBucket")} < set(adopted)
    assert stacks(cloud)[name] == "IMPORT_COMPLETE"
    assert held(cloud, deploy.deploy(cloud, stack=name)) == held(cloud, first) != {}


@pytest.mark.parametrize("release", RELEASES, ids=[path.stem for path in RELEASES])
def test_an_update_from_an_earlier_release_keeps_every_row(cloud: Cloud, name: str, release: Path) -> None:
    create(cloud, name, release)
    before = connection.stack_outputs(cloud, name)
    fill(cloud, before)
    after = deploy.deploy(cloud, stack=name)
    assert held(cloud, after) == held(cloud, before) != {}


def create(cloud: Cloud, name: str, release: Path) -> None:
    """A stack of a release's template. Its functions are never asked, so their code stands for itself."""
    s3, cloudformation = cloud.client("s3"), cloud.client("cloudformation")
    s3.create_bucket(Bucket="artifacts")
    machine = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
    s3.put_object(Bucket="artifacts", Key="retrain.asl.json", Body=json.dumps(machine).encode())
    s3.put_object(Bucket="artifacts", Key="functions.zip", Body=deploy.zipped(PROJECT / "events", Path()))
    template = json.loads(release.read_bytes())
    if release.stem == "0.1.0":  # AWS would have refused its stream's mapping; clouds of its time did not
        (policy,) = template["Resources"]["CompleteRole"]["Properties"]["Policies"]
        missing = {"Effect": "Allow", "Action": "dynamodb:ListStreams", "Resource": "*"}
        policy["PolicyDocument"]["Statement"].append(missing)
    s3.put_object(Bucket="artifacts", Key=release.name, Body=json.dumps(template).encode())
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{cloud.endpoint_url}/artifacts/{release.name}",
        Capabilities=deploy.CAPABILITIES,
    )
    until(lambda: not stacks(cloud)[name].endswith("IN_PROGRESS"))
    assert stacks(cloud)[name] == "CREATE_COMPLETE"
