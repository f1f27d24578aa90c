"""The permissions that Step Functions asks of a state machine's role for one task.

Pure: resource ARN and arguments of a task in, (action, resource, context) out. The engine runs tasks as root,
so the cloud asks for these permissions before each task is dispatched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protloc.cloud.contracts.demands import Permission, demanded

NAMESPACES = {
    "sfn": "states",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "applicationautoscaling": "application-autoscaling",
    "sagemakerruntime": "sagemaker",
}
S3_ACTIONS = {
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "ListObjects": "ListBucket",
    "HeadBucket": "ListBucket",
    "DeleteObjects": "DeleteObject",
}
SAGEMAKER_KINDS = {
    "TrainingJobName": "training-job",
    "InferenceComponentName": "inference-component",
    "ModelName": "model",
    "EndpointConfigName": "endpoint-config",
    "EndpointName": "endpoint",
    "ModelPackageGroupName": "model-package-group",
}
TRANSACTION_ACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def needed(
    resource: str,
    arguments: Mapping[str, Any],
    region: str,
    account: str,
    hosted: Mapping[str, str] | None = None,
) -> list[Permission]:
    """The permissions the task `resource` needs for these arguments: those of the call, and those that AWS
    asks for besides (`demands`).
    """
    own = _own(resource, arguments, region, account)
    if not own or ":::" not in resource:
        return own
    integration = resource.split(":::", 1)[1]
    return own + demanded((own[0].action, integration), arguments, region, account, hosted)


def _own(resource: str, arguments: Mapping[str, Any], region: str, account: str) -> list[Permission]:
    """The permissions of the call itself."""
    if ":::" not in resource:
        return [Permission("lambda:InvokeFunction", resource)] if ":lambda:" in resource else []
    call = resource.split(":::", 1)[1].partition(".")[0]
    service, _, action = call.removeprefix("aws-sdk:").partition(":")
    action = action[:1].upper() + action[1:]
    namespace = NAMESPACES.get(service, service)

    def arn(path: str, of: str = namespace) -> str:
        return path if path.startswith("arn:") else f"arn:aws:{of}:{region}:{account}:{path}"

    if service == "lambda" and action == "Invoke":
        name = str(arguments.get("FunctionName", ""))
        return [
            Permission("lambda:InvokeFunction", name if name.startswith("arn:") else arn(f"function:{name}"))
        ]
    if service == "dynamodb":
        items = [
            (TRANSACTION_ACTIONS[kind], item)
            for entry in arguments.get("TransactItems", [])
            for kind, item in entry.items()
        ] or [(action, arguments)]
        return [
            Permission(f"dynamodb:{name}", _table(arn, str(item.get("TableName", "*"))))
            for name, item in items
        ]
    if service == "s3":
        bucket, key = arguments.get("Bucket", "*"), arguments.get("Key")
        return [
            Permission(
                f"s3:{S3_ACTIONS.get(action, action)}", f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
            )
        ]
    if service == "sqs":
        queue = str(arguments.get("QueueUrl", "*")).rsplit("/", 1)[-1]
        return [Permission(f"sqs:{action.removesuffix('Batch')}", arn(queue))]
    if service == "sns":
        return [Permission(f"sns:{action}", str(arguments.get("TopicArn", "*")))]
    if namespace == "events" and action == "PutEvents":
        buses = [str(entry.get("EventBusName", "default")) for entry in arguments.get("Entries", [])]
        return [
            Permission("events:PutEvents", arn(bus if bus.startswith("arn:") else f"event-bus/{bus}"))
            for bus in buses
        ]
    if namespace == "states":
        target = arguments.get("StateMachineArn") or arguments.get("ExecutionArn") or "*"
        return [Permission(f"states:{action}", str(target))]
    if namespace == "application-autoscaling":
        context = {"application-autoscaling:service-namespace": str(arguments.get("ServiceNamespace", ""))}
        target = "*" if action.startswith("Describe") else arn("scalable-target/*")
        return [Permission(f"{namespace}:{action}", target, context)]
    if namespace == "cloudwatch" and (names := _alarms(arguments)):
        return [Permission(f"cloudwatch:{action}", arn(f"alarm:{name}")) for name in names]
    if namespace == "sagemaker":
        return _sagemaker(action, arguments, arn)
    return [Permission(f"{namespace}:{action}", "*")]


def _alarms(arguments: Mapping[str, Any]) -> list[str]:
    return [*arguments.get("AlarmNames", []), *([arguments["AlarmName"]] if "AlarmName" in arguments else [])]


def _table(arn: Any, name: str) -> str:
    return str(arn(name if name.startswith("arn:") else f"table/{name}"))


def _name(name_or_arn: Any) -> str:
    return str(name_or_arn).rsplit("/", 1)[-1]


def _sagemaker(action: str, arguments: Mapping[str, Any], arn: Any) -> list[Permission]:
    """SageMaker names the resource it works on first; a role handed over needs iam:PassRole to SageMaker."""
    resources = [
        arn(f"{kind}/{_name(arguments[name])}") for name, kind in SAGEMAKER_KINDS.items() if name in arguments
    ]
    arns = resources[:1] if resources else ["*"]
    if action == "CreateModelPackage" and "ModelPackageGroupName" in arguments:
        # In a group, both count: the group, and the package, which has no number yet.
        arns.append(arn(f"model-package/{_name(arguments['ModelPackageGroupName'])}/*"))
    elif package := arguments.get("ModelPackageArn") or arguments.get("ModelPackageName"):
        arns = [arn(str(package) if str(package).startswith("arn:") else f"model-package/{package}")]
    permissions = [Permission(f"sagemaker:{action}", resource) for resource in arns]
    if action == "CreateInferenceComponent" and "EndpointName" in arguments:
        permissions.append(
            Permission("sagemaker:CreateInferenceComponent", arn(f"endpoint/{arguments['EndpointName']}"))
        )
    for name in ("RoleArn", "ExecutionRoleArn"):
        if arguments.get(name):
            permissions.append(
                Permission(
                    "iam:PassRole", str(arguments[name]), {"iam:PassedToService": "sagemaker.amazonaws.com"}
                )
            )
    if arguments.get("Tags"):
        permissions.append(Permission("sagemaker:AddTags", arns[0]))
    return permissions
