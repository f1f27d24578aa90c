"""Takes a stack down, in the order in which AWS lets go of its parts.

The state machine makes resources that CloudFormation does not know of: training jobs, inference components
with their scaling and alarms, models, packages. An endpoint with components cannot be deleted, nor a
component that is being created, nor a policy that people hold, and a schedule could start it all anew. So:
schedule, executions, jobs, components, models, attachments, the stack; then, if asked, the resources that the
stack keeps. Each step takes those that are there, so a teardown that was cut off is simply repeated, also
when the stack itself is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from protloc.errors import UploadProblem, UsageProblem
from protloc.stack.account import Account
from protloc.stack.kept import BUCKET, PACKAGE_GROUP, TABLE, Kept, Remainder, ignoring_absence

Tell = Callable[[str], None]

POLL_SECONDS = 2.0
GONE_SECONDS = 3600.0
"""A component in creation can only be deleted once it is in service or has failed: up to half an hour."""


@dataclass
class Teardown:
    """The taking down of one stack; `tell` hears each step in words."""

    account: Account
    tell: Tell
    _clients: dict[str, Any] = field(default_factory=dict)

    def run(self, erase: bool = False) -> list[Remainder]:
        """Take the stack down; return the remaining resources. Raises UsageProblem if there never was one."""
        stack_id, resources = self._resources()
        store = Kept(self.account)
        listed = {(kind, name.rsplit("/", 1)[-1]) for kind, name in resources}
        stays = sorted(store.named() | {each for each in listed if each[0] in (BUCKET, TABLE, PACKAGE_GROUP)})
        for machine in (name for kind, name in resources if kind == "AWS::StepFunctions::StateMachine"):
            self._stop_retraining(machine)
        self._remove_hosting()
        for policy in (name for kind, name in resources if kind == "AWS::IAM::ManagedPolicy"):
            self._take_from_people(policy)
        self._delete_stack(stack_id)
        if erase:
            for kind, name in stays:
                self.tell(f"erasing {name}")
                store.erase(kind, name)
            self._delete_logs()
        return [rest for kind, name in stays if (rest := store.remainder(kind, name)) is not None]

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.account.client(service)
        return self._clients[service]

    def _resources(self) -> tuple[str, set[tuple[str, str]]]:
        """The stack's id, and type and id of everything it made; of a deleted one, too, for 90 days."""
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
            (resource["ResourceType"], resource["PhysicalResourceId"])
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource.get("PhysicalResourceId")
        }
        return newest["StackId"], listed

    # ── jobs and models of the stack ────────────────────────

    def _stop_retraining(self, machine: str) -> None:
        self._switch_off_schedule()
        states = self._client("stepfunctions")
        running: list[str] = []
        with ignoring_absence():
            pages = states.get_paginator("list_executions").paginate(
                stateMachineArn=machine, statusFilter="RUNNING"
            )
            running = [execution["executionArn"] for page in pages for execution in page["executions"]]
        for execution in running:
            self.tell(f"stopping the retraining {execution.rsplit(':', 1)[-1]}")
            with ignoring_absence():
                states.stop_execution(executionArn=execution, cause="the stack is taken down")
        sagemaker = self._client("sagemaker")
        pages = sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains=self.account.stack, StatusEquals="InProgress"
        )
        for job in [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]:
            if self._is_own(job):
                self.tell(f"stopping the training job {job}")
                with ignoring_absence("in status"):  # it may have ended just now
                    sagemaker.stop_training_job(TrainingJobName=job)

    def _switch_off_schedule(self) -> None:
        """Keep the schedule from starting another retraining; everything else of it stays as it is."""
        scheduler = self._client("scheduler")
        with ignoring_absence():
            schedule = scheduler.get_schedule(Name=f"{self.account.stack}-retrain")
            if schedule["State"] == "ENABLED":
                settings = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
                scheduler.update_schedule(**{name: schedule[name] for name in settings}, State="DISABLED")

    def _remove_hosting(self) -> None:
        """Remove the components, wait until they are gone, then remove scaling, alarms and models.

        A component that stays keeps its scaling, and so costs nothing while it is idle. A model, which is
        named as its component, goes last: another run finds the component by it.
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
            for alarm in ("wake-up", "rest"):  # one call each: of several, none goes where one is missing
                with ignoring_absence():
                    self._client("cloudwatch").delete_alarms(AlarmNames=[f"{name}-{alarm}"])
            with ignoring_absence():
                self._client("application-autoscaling").deregister_scalable_target(
                    ServiceNamespace="sagemaker",
                    ResourceId=f"inference-component/{name}",
                    ScalableDimension="sagemaker:inference-component:DesiredCopyCount",
                )
            with ignoring_absence():
                sagemaker.delete_model(ModelName=name)

    def _components(self) -> list[str]:
        """The components on the stack's endpoint, which is named as the stack."""
        pages = self._client("sagemaker").get_paginator("list_inference_components")
        names: list[str] = []
        with ignoring_absence():
            for page in pages.paginate(EndpointNameEquals=self.account.stack):
                names += [component["InferenceComponentName"] for component in page["InferenceComponents"]]
        return names

    def _is_own(self, name: str) -> bool:
        """True of a name that begins with the stack's: NameContains also gives those of other stacks."""
        return name.startswith(f"{self.account.stack}-")

    def _take_from_people(self, policy: str) -> None:
        """Detach a policy of the stack from all that hold it; while it is attached it cannot be deleted."""
        iam = self._client("iam")
        holders: list[tuple[str, str]] = []
        with ignoring_absence():
            for page in iam.get_paginator("list_entities_for_policy").paginate(
                PolicyArn=policy, PolicyUsageFilter="PermissionsPolicy"
            ):
                for kind in ("Group", "Role", "User"):
                    holders += [(kind, holder[f"{kind}Name"]) for holder in page[f"Policy{kind}s"]]
        for kind, name in holders:
            self.tell(f"taking {policy.rsplit('/', 1)[-1]} from {name}")
            with ignoring_absence():
                getattr(iam, f"detach_{kind.lower()}_policy")(**{f"{kind}Name": name, "PolicyArn": policy})

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

    def _delete_logs(self) -> None:
        """Delete the log groups of the stack's name: those of SageMaker, and those of late functions."""
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
                        with ignoring_absence():
                            logs.delete_log_group(logGroupName=name)
        jobs = "/aws/sagemaker/TrainingJobs"  # one group for all jobs of the account
        with ignoring_absence():
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=jobs, logStreamNamePrefix=f"{stack}-"
            )
            for stream in [s["logStreamName"] for page in pages for s in page["logStreams"]]:
                logs.delete_log_stream(logGroupName=jobs, logStreamName=stream)
