"""Examines a stack and its account, and names every obstacle to predicting a file.

Each check asks one question of AWS and becomes one `Check`: `ok`, `warning` (predictions work, something else
does not), `problem` (predictions do not work) or `unchecked` (the caller may not look, or the embedded cloud
has no such thing). A check that fails never hides the ones after it. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from protloc.stack.account import USABLE, Account, outputs_of
from protloc.stack.naming import BadStackName, check_stack_name
from protloc.stack.parameters import defaults, template

OK, WARNING, PROBLEM, UNCHECKED = "ok", "warning", "problem", "unchecked"

OTHER_FUNCTIONS = 6
"""Invocations left beside those of `predict`: two of receive, two of split, one of query and of sweep."""

DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403")
ABSENT = ("UnknownOperationException", "InvalidAction", "UnsupportedOperation", "NotImplemented", "501")


@dataclass(frozen=True)
class Check:
    """One question and its answer; `remedy` is for a warning or a problem."""

    name: str
    state: str
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class Doctor:
    """The examination of one stack, deployed or not yet."""

    account: Account
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the deployment that comes."""

    def examine(self) -> Iterator[Check]:
        """All checks in the order in which their problems are best solved."""
        of_the_stack = (self.deployment, self.buckets, self.endpoint, self.model, self.permissions)
        yield from self.account_checks()
        yield from map(self._answer, of_the_stack)

    def account_checks(self) -> Iterator[Check]:
        """The checks that need no stack, of all that one needs to be deployed and to work."""
        of_the_account = (
            self.credentials,
            self.name,
            self.endpoint_quota,
            self.training_quota,
            self.concurrency,
            self.image,
        )
        yield from map(self._answer, of_the_account)

    def _client(self, service: str) -> Any:
        return self.account.client(service)

    def _answer(self, check: Callable[[], Check]) -> Check:
        name = check.__name__.replace("_", " ")
        try:
            return check()
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in DENIED:
                return Check(name, UNCHECKED, f"these credentials may not ask: {message}")
            if self.account.embedded and code in ABSENT:
                return Check(name, UNCHECKED, "the embedded cloud has no such service")
            return Check(name, PROBLEM, f"{error.operation_name}: {message or code}")
        except BotoCoreError as error:
            if name == "credentials":
                remedy = "set up a profile, or AWS_ACCESS_KEY_ID and its secret"
                return Check(name, PROBLEM, str(error), remedy)
            return Check(name, UNCHECKED, str(error))

    # ── account and region ──────────────────────────────────

    def name(self) -> Check:
        try:
            check_stack_name(self.account.stack)
        except BadStackName as error:
            return Check("name", PROBLEM, str(error), "deploy under another name: make deploy STACK=name")
        return Check("name", OK, f"every name made from {self.account.stack} fits")

    def credentials(self) -> Check:
        caller = self._client("sts").get_caller_identity()
        detail = f"{caller['Arn']} in account {caller['Account']}, region {self.account.region}"
        return Check("credentials", OK, detail)

    @cached_property
    def _description(self) -> Mapping[str, Any] | None:
        """The stack as CloudFormation describes it, None where there is none of this name."""
        try:
            stacks = self._client("cloudformation").describe_stacks(StackName=self.account.stack)["Stacks"]
        except ClientError as error:
            if "does not exist" not in error.response["Error"].get("Message", ""):
                raise
            return None
        return stacks[0] if stacks else None

    @cached_property
    def _outputs(self) -> dict[str, str]:
        return outputs_of(self._description or {})

    @cached_property
    def _parameters(self) -> dict[str, str]:
        """The template's defaults, over them those of the stack, over these the chosen ones."""
        values = defaults()
        for parameter in (self._description or {}).get("Parameters", []):
            if parameter["ParameterKey"] in values:
                values[parameter["ParameterKey"]] = parameter.get("ParameterValue", "")
        values |= self.chosen
        launcher = template()["Mappings"]["Launchers"].get(values["TrainingLauncher"], {})
        values["TrainingInstanceType"] = values["TrainingInstanceType"] or launcher.get("Instance", "")
        return values

    @property
    def _deploying(self) -> str:
        """The command that deploys the stack, or mends it."""
        return "protloc up" if self.account.embedded else f"make deploy STACK={self.account.stack}"

    def deployment(self) -> Check:
        if self._description is None:
            return Check(
                "deployment",
                PROBLEM,
                f"there is no stack {self.account.stack} in {self.account.region}",
                self._deploying + ("" if self.account.embedded else ", or name its region (AWS_REGION)"),
            )
        status = self._description["StackStatus"]
        if status not in USABLE:
            reason = self._description.get("StackStatusReason", "")
            return Check(
                "deployment",
                PROBLEM,
                f"the stack is {status}" + (f": {reason}" if reason else ""),
                f"aws cloudformation describe-stack-events --stack-name {self.account.stack}",
            )
        if "UploadsBucket" not in self._outputs:
            detail = f"the stack {self.account.stack} is not one of protloc"
            return Check("deployment", PROBLEM, detail, "name another")
        return Check("deployment", OK, f"the stack is {status}")

    # ── quotas: a new account has 0 of many instance types ──

    def endpoint_quota(self) -> Check:
        instance = self._parameters["InferenceInstanceType"]
        instances = int(self._parameters["MaxInferenceInstances"])
        return self._instances("endpoint quota", f"{instance} for endpoint usage", instances, PROBLEM)

    def training_quota(self) -> Check:
        usage = "spot training job" if self._parameters["TrainingSpot"] == "true" else "training job"
        name = f"{self._parameters['TrainingInstanceType']} for {usage} usage"
        return self._instances("training quota", name, int(self._parameters["TrainingInstances"]), WARNING)

    def _instances(self, check: str, quota: str, wanted: int, if_none: str) -> Check:
        """Quotas are found by name, as SageMaker's own error names them (ResourceLimitExceeded)."""
        if self.account.embedded:
            return Check(check, UNCHECKED, "the embedded cloud has no quotas")
        value = self._quota(quota)
        where = f"console: Service Quotas, Amazon SageMaker, “{quota}”"
        if value is None:
            return Check(check, UNCHECKED, f"there is no quota of the name “{quota}”", where)
        if value < 1:
            return Check(check, if_none, f"“{quota}” is 0: nothing can start", f"ask for {wanted}; {where}")
        if value < wanted:
            return Check(check, WARNING, f"“{quota}” is {value:g}, the stack may ask for {wanted}", where)
        return Check(check, OK, f"“{quota}” is {value:g}, the stack may ask for {wanted}")

    def _quota(self, name: str) -> float | None:
        """An applied quota of SageMaker, or AWS's default where none is applied."""
        client = self._client("service-quotas")
        for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
            for page in client.get_paginator(operation).paginate(ServiceCode="sagemaker"):
                for quota in page["Quotas"]:
                    if quota["QuotaName"] == name:
                        return float(quota["Value"])
        return None

    def concurrency(self) -> Check:
        limit = self._client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
        predicting = int(self._parameters["PredictConcurrency"])
        detail = f"the account runs {limit} functions at once, {predicting} of them may be predict"
        if limit < predicting + OTHER_FUNCTIONS:
            return Check(
                "concurrency",
                WARNING,
                detail + "; the API and the sweep may have to wait",
                "deploy with a lower PredictConcurrency, or ask for more: console: Service Quotas, "
                "AWS Lambda, “Concurrent executions”",
            )
        return Check("concurrency", OK, detail)

    # ── its surroundings ────────────────────────────────────

    def image(self) -> Check:
        if self.account.embedded:
            return Check("image", UNCHECKED, "the embedded cloud serves models without a container")
        repository, _, tag = self._parameters["InferenceImage"].partition(":")
        registries = template()["Mappings"]["Registries"]
        if self.account.region not in registries:
            # CloudFormation looks it up whichever branch of the condition is taken
            # (github.com/aws-cloudformation/aws-cloudformation-templates/issues/271).
            detail = f"the template knows no registry of AWS's containers in {self.account.region}"
            remedy = "add the region and its registry's account to the template's Registries, also where "
            return Check(
                "image", PROBLEM, detail, remedy + "ImageAccount names another; or take another region"
            )
        registry = self._parameters["ImageAccount"] or registries[self.account.region]["Account"]
        missing = self._client("ecr").batch_get_image(
            registryId=registry, repositoryName=repository, imageIds=[{"imageTag": tag}]
        )["failures"]
        if missing:
            return Check(
                "image",
                PROBLEM,
                f"{repository}:{tag} is not in the registry {registry}: "
                + missing[0].get("failureReason", "not found"),
                "deploy with another InferenceImage; github.com/aws/deep-learning-containers lists them",
            )
        return Check("image", OK, f"{repository}:{tag} is there")

    def buckets(self) -> Check:
        for name in ("UploadsBucket", "ResultsBucket", "ModelsBucket"):
            if name not in self._outputs:
                return self._without_a_stack("buckets")
            self._client("s3").head_bucket(Bucket=self._outputs[name])
        status = self._client("s3").get_bucket_versioning(Bucket=self._outputs["UploadsBucket"]).get("Status")
        if status != "Enabled":
            detail, remedy = "the uploads bucket keeps no versions", self._deploying
            return Check("buckets", PROBLEM, detail, remedy)
        return Check("buckets", OK, f"files go into {self._outputs['UploadsBucket']}")

    def endpoint(self) -> Check:
        if "EndpointName" not in self._outputs:
            return self._without_a_stack("endpoint")
        endpoint = self._client("sagemaker").describe_endpoint(EndpointName=self._outputs["EndpointName"])
        status, reason = endpoint["EndpointStatus"], endpoint.get("FailureReason", "")
        if status not in ("InService", "Updating"):
            return Check(
                "endpoint",
                PROBLEM,
                f"the endpoint is {status}" + (f": {reason}" if reason else ""),
                f"aws sagemaker describe-endpoint --endpoint-name {self._outputs['EndpointName']}",
            )
        return Check("endpoint", OK, f"{self._outputs['EndpointName']} is {status}")

    def model(self) -> Check:
        if "ModelsTable" not in self._outputs:
            return self._without_a_stack("model")
        add = f"protloc models add model/default{self.account.stack_words}"
        item = self._client("dynamodb").get_item(
            TableName=self._outputs["ModelsTable"], Key={"pk": {"S": "alias"}, "sk": {"S": "active"}}
        )
        version = item.get("Item", {}).get("version", {}).get("S")
        if not version:
            return Check("model", PROBLEM, "no model version is in service: uploads wait for one", add)
        name = f"{self.account.stack}-{version}"
        try:
            component = self._client("sagemaker").describe_inference_component(InferenceComponentName=name)
        except ClientError as error:
            if "not find" not in error.response["Error"].get("Message", ""):
                raise
            # A version is hosted once, so that one that someone deleted comes back under another name only.
            remedy = (
                f"promote another of `protloc models{self.account.stack_words}`, or give this one's artifact"
                ' another "version" in its artifact.json and add it with `protloc models add`'
            )
            return Check("model", PROBLEM, f"{version} is active, but nothing hosts it", remedy)
        status = component["InferenceComponentStatus"]
        if status not in ("InService", "Updating"):
            reason = component.get("FailureReason", "")
            return Check("model", PROBLEM, f"{version} is {status}" + (f": {reason}" if reason else ""), add)
        return Check("model", OK, f"{version} is active and {status}")

    # ── permissions of the caller ───────────────────────────

    def permissions(self) -> Check:
        """Has IAM simulate the calls of `protloc predict --stack`."""
        if not self._outputs:
            return self._without_a_stack("permissions")
        caller = self._client("sts").get_caller_identity()["Arn"]
        if caller.endswith(":root"):
            return Check("permissions", OK, "the account's root may do everything")
        principal = self._principal(caller)
        partition, account = caller.split(":")[1], caller.split(":")[4]
        bucket = f"arn:{partition}:s3:::"
        api = f"arn:{partition}:execute-api:{self.account.region}:{account}:{self._outputs['ApiId']}"
        questions = {
            "s3:PutObject": f"{bucket}{self._outputs['UploadsBucket']}/any",
            "s3:GetObject": f"{bucket}{self._outputs['ResultsBucket']}/results/any",
            "execute-api:Invoke": f"{api}/v1/GET/uploads",
        }
        denied = []
        for action, resource in questions.items():
            results = self._client("iam").simulate_principal_policy(
                PolicySourceArn=principal, ActionNames=[action], ResourceArns=[resource]
            )["EvaluationResults"]
            denied += [action for result in results if result["EvalDecision"] != "allowed"]
        if denied:
            return Check(
                "permissions",
                PROBLEM,
                f"{principal} lacks {', '.join(denied)}",
                "docs/platform-engineer.md, “Permissions”, lists what a user of the stack needs",
            )
        return Check("permissions", OK, "these credentials may send files and read results")

    def _principal(self, caller: str) -> str:
        """The ARN of an IAM identity that stands behind a session's; IAM simulates no sessions."""
        if ":assumed-role/" not in caller:
            return caller
        role: str = self._client("iam").get_role(RoleName=caller.split("/")[1])["Role"]["Arn"]
        return role

    def _without_a_stack(self, name: str) -> Check:
        return Check(name, UNCHECKED, "the stack is not there yet")
