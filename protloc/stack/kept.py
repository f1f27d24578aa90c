"""Finds, measures and deletes resources that outlive their stack: buckets, tables and model packages."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from protloc.errors import UploadProblem
from protloc.stack.account import Account
from protloc.stack.parameters import template

BUCKET, TABLE = "AWS::S3::Bucket", "AWS::DynamoDB::Table"
BUCKET_POLICY, PACKAGE_GROUP = "AWS::S3::BucketPolicy", "AWS::SageMaker::ModelPackageGroup"
KEEPING = ("Retain", "RetainExceptOnCreate")
DELETED_AT_ONCE = 1000  # objects of one DeleteObjects request, by its documentation

# Dollars a GB and month in us-east-1: S3 Standard; DynamoDB Standard with point-in-time recovery (0.25 +
# 0.20), by AWS's price lists as of 2026-11. Other regions differ by some tens of per cent.
DOLLARS_A_GB = {BUCKET: 0.023, TABLE: 0.45}

ABSENT = (
    "NoSuchBucket",
    "NoSuchEntity",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "ObjectNotFoundException",
    "StateMachineDoesNotExist",
    "ExecutionDoesNotExist",
)
ABSENT_WORDS = ("does not exist", "Could not find", "not found", "Cannot find")


@dataclass(frozen=True)
class Remainder:
    """A resource that is still there, and its cost by its size."""

    resource: str
    kind: str
    size_bytes: int
    dollars_a_month: float

    def as_json(self) -> dict[str, str | int | float]:
        return asdict(self)


def keepers(template: Mapping[str, Any]) -> dict[str, Any]:
    """The resources of a template that outlive their stack, by logical name."""
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") in KEEPING
    }


@contextlib.contextmanager
def ignoring_absence(*words: str) -> Iterator[None]:
    """Passes over errors that say that something is not there, or already in the state that `words` name."""
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code not in ABSENT and not any(word in message for word in (*ABSENT_WORDS, *words)):
            raise


class Kept:
    """The resources that stacks of one name left or will leave."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def named(self) -> set[tuple[str, str]]:
        """Type and name of everything there is, found by the names that CloudFormation gives.

        These are STACK-LOGICALID-RANDOM, in lower case for buckets (CloudFormation user guide, "Name type"),
        and the template names package groups STACK-CREATION: so the resources of an earlier stack of this
        name are among them, and nothing of a stack whose name only begins alike.
        """
        buckets = [bucket["Name"] for bucket in self.account.client("s3").list_buckets()["Buckets"]]
        pages = self.account.client("dynamodb").get_paginator("list_tables").paginate()
        tables = [name for page in pages for name in page["TableNames"]]
        pages = self.account.client("sagemaker").get_paginator("list_model_package_groups")
        groups = [
            group["ModelPackageGroupName"]
            for page in pages.paginate(NameContains=self.account.stack)
            for group in page["ModelPackageGroupSummaryList"]
        ]
        there = {BUCKET: buckets, TABLE: tables, PACKAGE_GROUP: groups}
        forms = {(each["Type"], self._form(each["Type"], name)) for name, each in keepers(template()).items()}
        return {
            (kind, name) for kind, form in forms for name in there.get(kind, ()) if re.fullmatch(form, name)
        }

    def _form(self, kind: str, logical: str) -> str:
        """The pattern of a kept resource's name."""
        stack = re.escape(self.account.stack)
        if kind == PACKAGE_GROUP:
            return f"{stack}(-[0-9a-f]{{8}})?"
        return f"{stack}-{logical.lower() if kind == BUCKET else logical}-[0-9A-Za-z]+"

    def remainder(self, kind: str, name: str) -> Remainder | None:
        """Measures a kept resource; None where it is gone."""
        size = None
        with ignoring_absence():
            if kind == BUCKET:
                size = sum(version.get("Size", 0) for version in self._versions(name))
            elif kind == TABLE:
                table = self.account.client("dynamodb").describe_table(TableName=name)["Table"]
                size = table["TableSizeBytes"]
            else:
                self.account.client("sagemaker").describe_model_package_group(ModelPackageGroupName=name)
                size = 0
        if size is None:
            return None
        return Remainder(name, kind, size, size / 1e9 * DOLLARS_A_GB.get(kind, 0.0))

    def erase(self, kind: str, name: str) -> None:
        """Delete a kept resource and all that it holds; may be repeated."""
        with ignoring_absence():
            if kind == BUCKET:
                self._erase_bucket(name)
            elif kind == TABLE:
                dynamodb = self.account.client("dynamodb")
                dynamodb.delete_table(TableName=name)
                dynamodb.get_waiter("table_not_exists").wait(TableName=name)
            else:
                self._erase_packages(name)

    def _erase_bucket(self, bucket: str) -> None:
        s3 = self.account.client("s3")
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for upload in page.get("Uploads", []):
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        batch: list[dict[str, str]] = []
        for version in self._versions(bucket):
            batch.append({"Key": version["Key"], "VersionId": version["VersionId"]})
            if len(batch) == DELETED_AT_ONCE:
                self._delete_objects(bucket, batch)
                batch = []
        if batch:
            self._delete_objects(bucket, batch)
        s3.delete_bucket(Bucket=bucket)

    def _delete_objects(self, bucket: str, batch: list[dict[str, str]]) -> None:
        delete = {"Objects": batch, "Quiet": True}
        answer = self.account.client("s3").delete_objects(Bucket=bucket, Delete=delete)
        if errors := answer.get("Errors"):
            raise UploadProblem(f"{bucket}: {errors[0]['Key']} cannot be deleted: {errors[0]['Message']}")

    def _versions(self, bucket: str) -> Iterator[dict[str, Any]]:
        """All versions and delete markers of a bucket."""
        for page in self.account.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
            yield from page.get("Versions", [])
            yield from page.get("DeleteMarkers", [])

    def _erase_packages(self, group: str) -> None:
        sagemaker = self.account.client("sagemaker")
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        for package in [p["ModelPackageArn"] for page in pages for p in page["ModelPackageSummaryList"]]:
            sagemaker.delete_model_package(ModelPackageName=package)
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)
