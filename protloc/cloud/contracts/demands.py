"""Lists the permissions that AWS asks of a caller besides the one named after the call.

The Service Authorization Reference, AWS's own list of actions and resources, does not hold them: each row
names the documentation that does. The cloud refuses a call without them as AWS would, and the tests hold the
template's roles to the same rows. Pure: a call and its arguments in, permissions out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

VALIDATION = "docs.aws.amazon.com/autoscaling/application/userguide/security_iam_permission_validation.html"
SCALING_ROLE = (
    "docs.aws.amazon.com/aws-managed-policy/latest/reference/"
    "AWSApplicationAutoscalingSageMakerEndpointPolicy.html"
)
SCALING_SERVICE = "sagemaker.application-autoscaling.amazonaws.com"
STATES_POLICY = "docs.aws.amazon.com/step-functions/latest/dg/sagemaker-iam.html"
REGISTRY_POLICY = (
    "docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonSageMakerModelRegistryFullAccess.html"
)
SCALING_CALLS = tuple(
    f"application-autoscaling:{name}"
    for name in (
        "RegisterScalableTarget",
        "PutScalingPolicy",
        "DeleteScalingPolicy",
        "DeregisterScalableTarget",
    )
)
JOB = "sagemaker:createTrainingJob.sync"  # an integration of Step Functions, by its name there


@dataclass(frozen=True)
class Permission:
    """One question to IAM."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    def refused(self, who: str) -> str:
        """The code that AWS answers to a caller that lacks it."""
        return (
            f"User: {who} is not authorized to perform: {self.action} on resource: {self.resource} "
            "because no identity-based policy allows it"
        )


@dataclass(frozen=True)
class Demand:
    """Actions that the caller of any of `calls` needs on `resource`, and the page that says so.

    `resource` is an ARN without its partition; its `{names}` are filled from the call's arguments, and a row
    whose names the arguments lack is not asked.
    """

    calls: tuple[str, ...]
    actions: tuple[str, ...]
    resource: str
    source: str
    context: Mapping[str, str] = field(default_factory=dict)

    def permissions(self, names: Mapping[str, list[str]]) -> Iterator[Permission]:
        lists = [name for name in re.findall(r"{(\w+)}", self.resource) if name not in ("region", "account")]
        values_known = {name: values[0] for name, values in names.items() if values}
        varying = lists[-1] if lists else "account"
        if all(name in values_known for name in lists):
            for value in names[varying]:
                resource = "arn:aws:" + self.resource.format(**{**values_known, varying: value})
                for action in self.actions:
                    yield Permission(action, resource, self.context)


DEMANDS = (
    # Before it changes anything, Application Auto Scaling tries its caller's permissions in the service that
    # is scaled and in CloudWatch. Its page names none for SageMaker: these are the permissions of its own
    # role there.
    Demand(
        SCALING_CALLS[:1],
        ("iam:CreateServiceLinkedRole",),  # in an account that scales its first endpoint
        "iam::{account}:role/aws-service-role/" + SCALING_SERVICE + "/"
        "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
        "docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html",
        {"iam:AWSServiceName": SCALING_SERVICE},
    ),
    Demand(
        SCALING_CALLS,
        ("sagemaker:DescribeInferenceComponent", "sagemaker:UpdateInferenceComponentRuntimeConfig"),
        "sagemaker:{region}:{account}:inference-component/{component}",
        f"{VALIDATION}, {SCALING_ROLE}",
    ),
    Demand(
        SCALING_CALLS,
        ("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
        "sagemaker:{region}:{account}:endpoint/{endpoint}",
        f"{VALIDATION}, {SCALING_ROLE}",
    ),
    Demand(
        SCALING_CALLS,
        ("sagemaker:DescribeEndpointConfig",),
        "sagemaker:{region}:{account}:endpoint-config/{endpoint_config}",
        f"{VALIDATION}, {SCALING_ROLE}",
    ),
    Demand(
        SCALING_CALLS,
        ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"),
        "cloudwatch:{region}:{account}:alarm:TargetTracking-inference-component/{component}-AlarmHigh",
        f"{VALIDATION}, {SCALING_ROLE}",
    ),
    Demand(
        SCALING_CALLS,
        ("cloudwatch:DescribeAlarms",),
        "cloudwatch:{region}:{account}:alarm:*",
        f"{VALIDATION}, {SCALING_ROLE}",
    ),
    # Step Functions marks the resources that it makes, and checks for its mark.
    Demand(
        (JOB,),
        (
            "sagemaker:DescribeTrainingJob",
            "sagemaker:StopTrainingJob",
            "sagemaker:AddTags",
            "sagemaker:ListTags",
        ),
        "sagemaker:{region}:{account}:training-job/{training_job}",
        STATES_POLICY,
    ),
    Demand(
        (JOB,),
        ("events:PutTargets", "events:PutRule", "events:DescribeRule"),
        "events:{region}:{account}:rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule",
        STATES_POLICY,
    ),
    # The registry reads a registered model as its caller.
    Demand(
        ("sagemaker:CreateModelPackage",),
        ("s3:GetObject",),
        "s3:::{artifact}",
        REGISTRY_POLICY,
    ),
    Demand(
        ("sagemaker:CreateModelPackage",),
        ("ecr:BatchGetImage", "ecr:DescribeImages"),
        "ecr:{repository}",
        REGISTRY_POLICY,
    ),
    # The reference lists two types of resource for the action; a request names the second in a header.
    Demand(
        ("sagemaker:InvokeEndpoint",),
        ("sagemaker:InvokeEndpoint",),
        "sagemaker:{region}:{account}:inference-component/{component}",
        "docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html",
    ),
)


def demanded(
    calls: str | tuple[str, ...],
    arguments: Mapping[str, Any],
    region: str,
    account: str,
    hosted: Mapping[str, str] | None = None,
) -> list[Permission]:
    """A permission that the caller must have besides. `calls` are the names of one call: the action's, and an
    integration's; `hosted` names the endpoint and its configuration where an inference component is meant.
    """
    names = {"region": [region], "account": [account], **_names(arguments)}
    names |= {name: [value] for name, value in (hosted or {}).items()}
    asked = (calls,) if isinstance(calls, str) else calls
    return [each for row in DEMANDS if set(asked) & set(row.calls) for each in row.permissions(names)]


def error_of(call: str, lacking: Permission) -> str:
    """The error that a call fails with: to Application Auto Scaling a request is invalid if its caller lacks
    the permissions in the other service (VALIDATION).
    """
    service = "application-autoscaling:"
    elsewhere = call.startswith(service) and not lacking.action.startswith(service)
    return "ValidationException" if elsewhere else "AccessDeniedException"


def component_of(arguments: Mapping[str, Any]) -> str | None:
    """The inference component that a request is about."""
    kind, _, name = str(arguments.get("ResourceId", "")).partition("/")
    named = arguments.get("InferenceComponentName")
    return name if kind == "inference-component" else str(named) if named else None


def call_of(
    service: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[str, Mapping[str, Any]]:
    """The action and the arguments of a request to a service of JSON."""
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if not action:
        component = headers.get("x-amzn-sagemaker-inference-component")
        return f"{service}:InvokeEndpoint", {"InferenceComponentName": component} if component else {}
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        request = {}
    return f"{service}:{action}", request if isinstance(request, dict) else {}


def _names(arguments: Mapping[str, Any]) -> dict[str, list[str]]:
    """The arguments' value of each name in a row's resource."""
    names: dict[str, list[str]] = {}
    component = component_of(arguments)
    if component:
        names["component"] = [component]
    if "TrainingJobName" in arguments:
        names["training_job"] = [str(arguments["TrainingJobName"])]
    containers = (arguments.get("InferenceSpecification") or {}).get("Containers") or []
    artifacts = [str(each["ModelDataUrl"]) for each in containers if each.get("ModelDataUrl")]
    names["artifact"] = [url.removeprefix("s3://") for url in artifacts if url.startswith("s3://")]
    names["repository"] = [
        f"{image['region']}:{image['account']}:repository/{image['name']}"
        for each in containers
        if (image := _image(str(each.get("Image", ""))))
    ]
    return names


def _image(name: str) -> re.Match[str] | None:
    """Account, region and repository of an image in ECR."""
    return re.match(r"(?P<account>\d+)\.dkr\.ecr\.(?P<region>[\w-]+)\.[\w.]+/(?P<name>[^:@]+)", name)
