"""SageMaker's model registry: groups of model packages, and the numbered packages in each.

A package is a record only: its model, its figures, and its approval. Its number in the group is never given
again, also not after it was deleted.
"""

from __future__ import annotations

import time
from typing import Any

from protloc.cloud.contracts import shapes
from protloc.cloud.sagemaker.records import Records, ServiceError, arn, invalid

CHANGEABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "ModelPackageRegistrationType",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)


def package_arn(name: str) -> str:
    """The ARN of a package named by it, or by the name of one outside any group."""
    return name if name.startswith("arn:") else arn("model-package", name)


class Packages:
    """The operations on model packages and their groups."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # ── groups ──────────────────────────────────────────────

    def do_create_model_package_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelPackageGroupName"]
        own_arn = arn("model-package-group", name)
        self._records.absent(
            "package_groups", name, "ValidationException", f"Model Package Group already exists: {own_arn}"
        )
        self._records.tables["package_groups"][name] = {
            **request,
            "ModelPackageGroupArn": own_arn,
            "ModelPackageGroupStatus": "Completed",
            "CreationTime": time.time(),
            "packages": 0,  # made so far, deleted ones too
        }
        return {"ModelPackageGroupArn": own_arn}

    def do_describe_model_package_group(self, request: dict[str, Any]) -> dict[str, Any]:
        return shapes.answer("DescribeModelPackageGroup", self._group(request["ModelPackageGroupName"]))

    def do_list_model_package_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        groups = self._records.tables["package_groups"].values()
        name_part = request.get("NameContains", "")
        matching = [group for group in groups if name_part in group["ModelPackageGroupName"]]
        return shapes.answer("ListModelPackageGroups", {"ModelPackageGroupSummaryList": matching})

    def do_delete_model_package_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
        if any(package.get("ModelPackageGroupName") == name for package in self._all()):
            raise ServiceError("ConflictException", f"Model Package Group {name} still has model packages.")
        del self._records.tables["package_groups"][name]
        return {}

    # ── packages ────────────────────────────────────────────

    def do_create_model_package(self, request: dict[str, Any]) -> dict[str, Any]:
        group_name, name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
        if (group_name is None) == (name is None):
            raise invalid("Expected one of ModelPackageGroupName and ModelPackageName.")
        token = request.get("ClientToken")
        for package in self._all():
            if token and package.get("ClientToken") == token:
                return {"ModelPackageArn": package["ModelPackageArn"]}
        now = time.time()
        package = {**request, "CreationTime": now, "LastModifiedTime": now}
        if group_name is not None:
            group = self._group(group_name)
            group["packages"] += 1
            name = f"{group['ModelPackageGroupName']}/{group['packages']}"
            package |= {
                "ModelPackageGroupName": group["ModelPackageGroupName"],
                "ModelPackageVersion": group["packages"],
                "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
            }
        own_arn = arn("model-package", str(name))
        self._records.absent(
            "packages", own_arn, "ConflictException", f"Model Package already exists: {own_arn}"
        )
        self._records.tables["packages"][own_arn] = package | {
            "ModelPackageArn": own_arn,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }
        return {"ModelPackageArn": own_arn}

    def do_describe_model_package(self, request: dict[str, Any]) -> dict[str, Any]:
        return shapes.answer("DescribeModelPackage", self._package(request["ModelPackageName"]))

    def do_list_model_packages(self, request: dict[str, Any]) -> dict[str, Any]:
        """Newest first, as AWS sorts them; without a group those outside any."""
        group = request.get("ModelPackageGroupName")
        if group is not None:
            group = self._group(group)["ModelPackageGroupName"]
        everything = request.get("ModelPackageType") == "Both"
        matching = [
            package
            for package in self._all()
            if (everything or package.get("ModelPackageGroupName") == group)
            and request.get("ModelApprovalStatus") in (None, package.get("ModelApprovalStatus"))
        ]
        matching.sort(key=lambda package: float(package["CreationTime"]))
        if request.get("SortOrder") != "Ascending":
            matching.reverse()
        return shapes.answer("ListModelPackages", {"ModelPackageSummaryList": matching})

    def do_update_model_package(self, request: dict[str, Any]) -> dict[str, Any]:
        package = self._package(request["ModelPackageArn"])
        properties = {
            **package.get("CustomerMetadataProperties", {}),
            **request.get("CustomerMetadataProperties", {}),
        }
        for name in request.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(name, None)
        package.update({name: request[name] for name in CHANGEABLE if name in request})
        package.update(CustomerMetadataProperties=properties, LastModifiedTime=time.time())
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def do_delete_model_package(self, request: dict[str, Any]) -> dict[str, Any]:
        del self._records.tables["packages"][self._package(request["ModelPackageName"])["ModelPackageArn"]]
        return {}

    def _all(self) -> list[dict[str, Any]]:
        return list(self._records.tables["packages"].values())

    def _group(self, name: str) -> dict[str, Any]:
        """A group by its name or ARN."""
        name = name.rsplit("/", 1)[-1]
        own_arn = arn("model-package-group", name)
        return self._records.find("package_groups", name, f"ModelPackageGroup {own_arn} does not exist.")

    def _package(self, name: str) -> dict[str, Any]:
        own_arn = package_arn(name)
        return self._records.find("packages", own_arn, f"ModelPackage {own_arn} does not exist.")
