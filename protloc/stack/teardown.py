"""Takes a stack down, in the order in which AWS lets go of its parts.

The state machine makes what CloudFormation does not know of: training jobs, inference components with
their scaling and alarms, models, packages. An endpoint with components cannot be deleted, nor a component
that is being created, and a schedule could start it all anew. So: schedule, executions, jobs, components,
models, the stack; then, if asked, what the stack keeps. Each step takes what is there, so a teardown that was
cut off is simply repeated, also when the stack itself is gone already.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from protloc.errors import UploadProblem, UsageProblem
from protloc.stack.account import Account

Tell = Callable[[str], None]

POLL_SECONDS = 2.0
GONE_SECONDS = 3600.0
"""A component in creation can only be deleted once it is in service or has failed: up to half an hour."""
DELETED_AT_ONCE = 1000  # objects of one DeleteObjects request, by its documentation
PACKAGE_GROUP = "AWS::SageMaker::ModelPackageGroup"
KEPT_BUCKETS = ("UploadsBucket", "ResultsBucket", "ModelsBucket")
KEPT_TABLES = ("UploadsTable", "ModelsTable")
KEPT_TYPES = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", PACKAGE_GROUP)

# Dollars a GB and month in us-east-1: S3 Standard; DynamoDB Standard with point-in-time recovery (0.25 +
# 0.20), by AWS's price lists as of 2026-11. Other regions differ by some tens of per cent.
DOLLARS_A_GB = {"AWS::S3::Bucket": 0.023, "AWS::DynamoDB::Table": 0.45}

ABSENT = (
    "NoSuchBucket",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "ObjectNotFoundException",
    "StateMachineDoesNotExist",
    "ExecutionDoesNotExist",
)
ABSENT_WORDS = ("does not exist", "Could not find", "not found", "Cannot find")


@dataclass(frozen=True)
class Remainder:
    """A resource that is still there, and what keeping it costs by its size."""

    resource: str
    kind: str
    size_bytes: int
    dollars_a_month: float

    def as_json(self) -> dict[str, str | int | float]:
        return asdict(self)


@dataclass
class Teardown:
    """The taking down of one stack; `tell` hears each step in words."""

    account: Account
    tell: Tell
    _clients: dict[str, Any] = field(default_factory=dict)

    def run(self, erase: bool = False) -> list[Remainder]:
        """Take the stack down; return what remains of it. Raises UsageProblem where there never was one."""
        stack_id, resources = self._resources()
        kept = sorted(self.kept() | {each for each in resources if each[0] in KEPT_TYPES})
        for machine in (name for kind, name in resources if kind == "AWS::StepFunctions::StateMachine"):
            self._stop_retraining(machine)
        self._remove_hosting()
        self._delete_stack(stack_id)
        if erase:
            for kind, name in kept:
                self._erase(kind, name)
            self._delete_logs()
        return [rest for kind, name in kept if (rest := self._remainder(kind, name)) is not None]

    def kept(self) -> set[tuple[str, str]]:
        """Type and name of what outlives the stack, found by the names that CloudFormation gives.

        These are STACK-LOGICALID-RANDOM, in lower case for buckets (CloudFormation user guide, "Name type"),
        and the template names package groups STACK-CREATION: so what an earlier stack of this name left is
        among them.
        """
        stack = self.account.stack
        buckets = [bucket["Name"] for bucket in self._client("s3").list_buckets()["Buckets"]]
        pages = self._client("dynamodb").get_paginator("list_tables").paginate()
        tables = [name for page in pages for name in page["TableNames"]]
        prefixes = {
            "AWS::S3::Bucket": [f"{stack}-{name.lower()}-" for name in KEPT_BUCKETS],
            "AWS::DynamoDB::Table": [f"{stack}-{name}-" for name in KEPT_TABLES],
        }
        kept = {
            (kind, name)
            for kind, names in (("AWS::S3::Bucket", buckets), ("AWS::DynamoDB::Table", tables))
            for name in names
            if name.startswith(tuple(prefixes[kind]))
        }
        groups = self._client("sagemaker").list_model_package_groups(NameContains=stack)
        return kept | {
            (PACKAGE_GROUP, group["ModelPackageGroupName"])
            for group in groups["ModelPackageGroupSummaryList"]
            if re.fullmatch(rf"{re.escape(stack)}(-[0-9a-f]{{8}})?", group["ModelPackageGroupName"])
        }

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.account.client(service)
        return self._clients[service]

    def _resources(self) -> tuple[str, set[tuple[str, str]]]:
        """The stack's id, and type and name of everything it made; of a deleted one, too, for 90 days."""
        cloudformation = self._client("cloudformation")
        summaries = [
            summary
            for page in cloudformation.get_paginator("list_stacks").paginate()
            for summary in page["StackSummaries"]
            if summary["StackName"] == self.account.stack
        ]
        if not summaries:
            raise UsageProblem(f"there is no stack {self.account.stack} in {self.account.region}")
        newest = max(summaries, key=lambda summary: summary["CreationTime"])
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=newest["StackId"])
        listed = {
            (resource["ResourceType"], resource["PhysicalResourceId"].rsplit("/", 1)[-1])
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource.get("PhysicalResourceId")
        }
        return newest["StackId"], listed

    # ── what works for the stack ────────────────────────────

    def _stop_retraining(self, machine: str) -> None:
        self._switch_off_schedule()
        states = self._client("stepfunctions")
        running: list[str] = []
        with _ignoring_absence():
            pages = states.get_paginator("list_executions").paginate(
                stateMachineArn=machine, statusFilter="RUNNING"
            )
            running = [execution["executionArn"] for page in pages for execution in page["executions"]]
        for execution in running:
            self.tell(f"stopping the retraining {execution.rsplit(':', 1)[-1]}")
            with _ignoring_absence():
                states.stop_execution(executionArn=execution, cause="the stack is taken down")
        sagemaker = self._client("sagemaker")
        pages = sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains=self.account.stack, StatusEquals="InProgress"
        )
        for job in [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]:
            if self._is_own(job):
                self.tell(f"stopping the training job {job}")
                with _ignoring_absence("in status"):  # it may have ended just now
                    sagemaker.stop_training_job(TrainingJobName=job)

    def _switch_off_schedule(self) -> None:
        """Keep the schedule from starting another retraining; everything else of it stays as it is."""
        scheduler = self._client("scheduler")
        with _ignoring_absence():
            schedule = scheduler.get_schedule(Name=f"{self.account.stack}-retrain")
            if schedule["State"] == "ENABLED":
                settings = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
                scheduler.update_schedule(**{name: schedule[name] for name in settings}, State="DISABLED")

    def _remove_hosting(self) -> None:
        """Remove the components, wait until they are gone, then remove scaling, alarms and models.

        A component that stays keeps its scaling, and so costs nothing while it is idle. A model, which is
        named as its component, goes last: it tells another run what to look for.
        """
        sagemaker = self._client("sagemaker")
        components = self._components()
        names = set(components)
        for component in components:
            self.tell(f"taking down {component}")
        deadline = time.monotonic() + GONE_SECONDS
        while components:
            for component in components:
                try:
                    sagemaker.delete_inference_component(InferenceComponentName=component)
                except ClientError as error:  # in creation, or being deleted: asked again until it is gone
                    if error.response["Error"]["Code"] != "ValidationException":
                        raise
            components = self._components()
            if components and time.monotonic() > deadline:
                raise UploadProblem(
                    f"{', '.join(components)} cannot be deleted; repeat this later: protloc teardown"
                    f"{self.account.stack_words}"
                )
            if components:
                time.sleep(POLL_SECONDS)
        pages = sagemaker.get_paginator("list_models").paginate(NameContains=self.account.stack)
        models = [model["ModelName"] for page in pages for model in page["Models"]]
        for name in sorted(names.union(filter(self._is_own, models))):
            self._client("cloudwatch").delete_alarms(AlarmNames=[f"{name}-wake-up"])
            with _ignoring_absence():
                self._client("application-autoscaling").deregister_scalable_target(
                    ServiceNamespace="sagemaker",
                    ResourceId=f"inference-component/{name}",
                    ScalableDimension="sagemaker:inference-component:DesiredCopyCount",
                )
            with _ignoring_absence():
                sagemaker.delete_model(ModelName=name)

    def _components(self) -> list[str]:
        """The components on the stack's endpoint, which is named as the stack."""
        pages = self._client("sagemaker").get_paginator("list_inference_components")
        names: list[str] = []
        with _ignoring_absence():
            for page in pages.paginate(EndpointNameEquals=self.account.stack):
                names += [component["InferenceComponentName"] for component in page["InferenceComponents"]]
        return names

    def _is_own(self, name: str) -> bool:
        """True of a name that begins with the stack's: NameContains also gives those of other stacks."""
        return name.startswith(f"{self.account.stack}-")

    # ── the stack ───────────────────────────────────────────

    def _delete_stack(self, stack_id: str) -> None:
        cloudformation = self._client("cloudformation")
        self.tell(f"deleting the stack {self.account.stack}")
        cloudformation.delete_stack(StackName=stack_id)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=stack_id, WaiterConfig={"Delay": int(POLL_SECONDS), "MaxAttempts": 1800}
            )
        except WaiterError as error:
            events = cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
                for event in events
                if event["ResourceStatus"] == "DELETE_FAILED"
            ]
            raise UploadProblem(
                f"the stack {self.account.stack} could not be deleted ({'; '.join(reasons) or error}); "
                f"repeat this: protloc teardown{self.account.stack_words}"
            ) from None

    # ── what the stack keeps ────────────────────────────────

    def _erase(self, kind: str, name: str) -> None:
        self.tell(f"erasing {name}")
        with _ignoring_absence():
            if kind == "AWS::S3::Bucket":
                self._erase_bucket(name)
            elif kind == "AWS::DynamoDB::Table":
                self._client("dynamodb").delete_table(TableName=name)
                self._client("dynamodb").get_waiter("table_not_exists").wait(TableName=name)
            else:
                self._erase_packages(name)

    def _erase_bucket(self, bucket: str) -> None:
        s3 = self._client("s3")
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
        answer = self._client("s3").delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if errors := answer.get("Errors"):
            raise UploadProblem(f"{bucket}: {errors[0]['Key']} cannot be deleted: {errors[0]['Message']}")

    def _versions(self, bucket: str) -> Iterator[dict[str, Any]]:
        """All versions and delete markers of a bucket."""
        for page in self._client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
            yield from page.get("Versions", [])
            yield from page.get("DeleteMarkers", [])

    def _erase_packages(self, group: str) -> None:
        sagemaker = self._client("sagemaker")
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        for package in [p["ModelPackageArn"] for page in pages for p in page["ModelPackageSummaryList"]]:
            sagemaker.delete_model_package(ModelPackageName=package)
        sagemaker.delete_model_package_group(ModelPackageGroupName=group)

    def _delete_logs(self) -> None:
        """Delete the log groups of the stack's name: those of SageMaker, and what late functions left."""
        logs, stack = self._client("logs"), self.account.stack
        for prefix in (
            f"/aws/lambda/{stack}-",
            f"/aws/sagemaker/Endpoints/{stack}",
            f"/aws/sagemaker/InferenceComponents/{stack}-",
        ):
            for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
                for group in page["logGroups"]:
                    name = group["logGroupName"]
                    if name.startswith(f"{prefix.rstrip('-')}-") or name == prefix:
                        with _ignoring_absence():
                            logs.delete_log_group(logGroupName=name)
        jobs = "/aws/sagemaker/TrainingJobs"  # one group for all jobs of the account
        with _ignoring_absence():
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=jobs, logStreamNamePrefix=f"{stack}-"
            )
            for stream in [s["logStreamName"] for page in pages for s in page["logStreams"]]:
                logs.delete_log_stream(logGroupName=jobs, logStreamName=stream)

    def _remainder(self, kind: str, name: str) -> Remainder | None:
        """Measures a kept resource; None where it is gone."""
        size = None
        with _ignoring_absence():
            if kind == "AWS::S3::Bucket":
                size = sum(version.get("Size", 0) for version in self._versions(name))
            elif kind == "AWS::DynamoDB::Table":
                size = self._client("dynamodb").describe_table(TableName=name)["Table"]["TableSizeBytes"]
            else:
                self._client("sagemaker").describe_model_package_group(ModelPackageGroupName=name)
                size = 0
        if size is None:
            return None
        return Remainder(name, kind, size, size / 1e9 * DOLLARS_A_GB.get(kind, 0.0))


@contextlib.contextmanager
def _ignoring_absence(*words: str) -> Iterator[None]:
    """Passes over errors that say that something is not there, or already in the state that `words` name."""
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code not in ABSENT and not any(word in message for word in (*ABSENT_WORDS, *words)):
            raise
