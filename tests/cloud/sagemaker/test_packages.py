"""The model registry: packages are numbered, described, approved, and never renumbered."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud.sagemaker.service import SageMaker
from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.test_sagemaker import IMAGE, refused

PREFIX = "arn:aws:sagemaker:us-east-1:000000000000"


@pytest.fixture
def group(stack: Stack) -> str:
    name = f"group-{uuid.uuid4().hex[:8]}"
    answer = stack.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    assert answer["ModelPackageGroupArn"] == f"{PREFIX}:model-package-group/{name}"
    return name


def create(stack: Stack, group: str, **more: Any) -> str:
    arn: str = stack.client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        **more,
    )["ModelPackageArn"]
    return arn


def numbers(stack: Stack, group: str, **more: Any) -> list[int]:
    listing = stack.client("sagemaker").list_model_packages(ModelPackageGroupName=group, **more)
    return [package["ModelPackageVersion"] for package in listing["ModelPackageSummaryList"]]


def test_packages_of_a_group_are_numbered_and_a_number_is_given_once(stack: Stack, group: str) -> None:
    client = stack.client("sagemaker")
    first, second = create(stack, group), create(stack, group)
    assert first == f"{PREFIX}:model-package/{group}/1"
    assert numbers(stack, group) == [2, 1]
    client.delete_model_package(ModelPackageName=second)
    assert create(stack, group) == f"{PREFIX}:model-package/{group}/3"
    assert numbers(stack, group, SortOrder="Ascending") == [1, 3]


def test_a_package_says_what_it_was_made_with_and_waits_for_approval(stack: Stack, group: str) -> None:
    client = stack.client("sagemaker")
    statistics = {"S3Uri": "s3://bucket/evaluation.json", "ContentType": "application/json"}
    name = create(
        stack,
        group,
        ModelPackageDescription="trained",
        CustomerMetadataProperties={"version": "v1", "fence": "3"},
        ModelMetrics={"ModelQuality": {"Statistics": statistics}},
        ModelCard={"ModelCardContent": "{}", "ModelCardStatus": "Draft"},
        ClientToken="once",
    )
    description = client.describe_model_package(ModelPackageName=name)
    assert description["ModelApprovalStatus"] == "PendingManualApproval"
    assert (description["ModelPackageStatus"], description["ModelPackageVersion"]) == ("Completed", 1)
    assert description["ModelMetrics"]["ModelQuality"]["Statistics"] == statistics
    assert (
        description["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == "s3://bucket/model.tar.gz"
    )
    client.update_model_package(
        ModelPackageArn=name,
        ModelApprovalStatus="Approved",
        ApprovalDescription="judged",
        CustomerMetadataProperties={"promoted": "yes"},
        CustomerMetadataPropertiesToRemove=["fence"],
    )
    description = client.describe_model_package(ModelPackageName=name)
    assert (description["ModelApprovalStatus"], description["ApprovalDescription"]) == ("Approved", "judged")
    assert description["CustomerMetadataProperties"] == {"version": "v1", "promoted": "yes"}
    assert numbers(stack, group, ModelApprovalStatus="Approved") == [1]
    assert numbers(stack, group, ModelApprovalStatus="Rejected") == []


def test_a_package_asked_for_twice_with_one_token_is_made_once(stack: Stack, group: str) -> None:
    assert create(stack, group, ClientToken="same") == create(stack, group, ClientToken="same")
    assert numbers(stack, group) == [1]


def test_missing_objects_and_denied_calls_are_refused_as_aws_does(stack: Stack, group: str) -> None:
    client, missing = stack.client("sagemaker"), f"{PREFIX}:model-package/{group}/7"
    for call in (
        lambda: client.describe_model_package(ModelPackageName=missing),
        lambda: client.update_model_package(ModelPackageArn=missing, ModelApprovalStatus="Approved"),
        lambda: client.delete_model_package(ModelPackageName=missing),
        lambda: client.describe_model_package_group(ModelPackageGroupName="none"),
        lambda: create(stack, "none"),
        lambda: create(stack, group, ModelPackageName="both"),
        lambda: client.create_model_package_group(ModelPackageGroupName=group),
        lambda: create(stack, group, ModelApprovalStatus="Perhaps"),
    ):
        assert refused(call)["Error"]["Code"] == "ValidationException"


def test_a_group_goes_only_when_its_packages_are_gone(stack: Stack, group: str) -> None:
    client, package = stack.client("sagemaker"), create(stack, group)
    response = refused(lambda: client.delete_model_package_group(ModelPackageGroupName=group))
    assert response["Error"]["Code"] == "ConflictException"
    client.delete_model_package(ModelPackageName=package)
    client.delete_model_package_group(ModelPackageGroupName=group)
    listed = client.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]
    assert listed == []


def test_a_template_makes_a_group(stack: Stack) -> None:
    description = stack.client("sagemaker").describe_model_package_group(
        ModelPackageGroupName=stack.outputs["Packages"]
    )
    assert (description["ModelPackageGroupStatus"], description["ModelPackageGroupDescription"]) == (
        "Completed",
        "Versions",
    )


def test_a_role_needs_the_permission_on_the_group_and_its_packages(stack: Stack, group: str) -> None:
    own = [f"{PREFIX}:model-package-group/{group}", f"{PREFIX}:model-package/{group}/*"]
    stack.allow_caller("own", ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackageGroup"], own)
    client = stack.client_of_caller("sagemaker")
    client.describe_model_package_group(ModelPackageGroupName=group)
    package = client.create_model_package(ModelPackageGroupName=group)["ModelPackageArn"]
    for call in (
        lambda: client.describe_model_package(ModelPackageName=package),
        lambda: client.create_model_package(ModelPackageGroupName=stack.outputs["Packages"]),
        lambda: client.describe_model_package_group(ModelPackageGroupName=stack.outputs["Packages"]),
    ):
        assert "AccessDenied" in refused(call)["Error"]["Code"]
    stack.disallow_caller("own")


def test_the_registry_is_part_of_the_saved_state(tmp_path: Path) -> None:
    def service(folder: Path) -> SageMaker:
        def none(role: str) -> Any:
            raise AssertionError("no file is read")

        return SageMaker(folder, none, none)

    first, again = service(tmp_path), service(tmp_path)
    first.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"})
    first.call("CreateModelPackage", {"ModelPackageGroupName": "g"})
    again.restore(json.loads(json.dumps(first.state())))
    made = again.call("CreateModelPackage", {"ModelPackageGroupName": "g"})
    assert made["ModelPackageArn"].endswith(":model-package/g/2")
