"""Every policy of the stack, held to AWS's definitions: its Service Authorization Reference, and the
documentation of the permissions that a service asks of its caller (`protloc.cloud.contracts.demands`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pytest

from protloc.cloud.contracts.demands import DEMANDS, demanded
from tests.template.reference import Action, actions_of, exists
from tests.template.resolved import ACCOUNT, REGION, STACK, Resolved
from tests.template.test_template import MACHINE, as_list

Template = dict[str, Any]

MAX_STACK_NAME_LENGTH = 32

# (action, dependent action): why it is not granted beside it.
UNTAGGED = "asked for a request with tags, and ours has none"
WITHOUT_DEPENDENT = {
    ("cloudformation:DescribeStacks", "cloudformation:ListStacks"): "asked for a call that names no stack",
    ("application-autoscaling:RegisterScalableTarget", "application-autoscaling:TagResource"): UNTAGGED,
    ("sagemaker:CreateInferenceComponent", "sagemaker:AddTags"): UNTAGGED,
    ("sagemaker:CreateModel", "sagemaker:AddTags"): UNTAGGED,
    ("sagemaker:CreateModelPackage", "sagemaker:AddTags"): UNTAGGED,
}
# (action, type of resource): why a role needs no resource of a type that the reference requires.
WITHOUT_TYPE = {
    (
        "states:DescribeExecution",
        "express",
    ): "the state machine is a standard one, and has no express executions",
}
# (service, `aws:` key): where AWS says that the service sends the key when it calls on somebody's behalf.
SENT_BY_SERVICES = {
    (
        "budgets.amazonaws.com",
        "aws:SourceAccount",
    ): "cost-management/latest/userguide/budgets-sns-policy.html",
    ("cloudwatch.amazonaws.com", "aws:SourceAccount"): "sns/latest/dg/sns-access-policy-use-cases.html",
    (
        "events.amazonaws.com",
        "aws:SourceArn",
    ): "eventbridge/latest/userguide/eb-use-resource-based.html#eb-sqs-permissions",
    (
        "sagemaker.amazonaws.com",
        "aws:SourceAccount",
    ): "sagemaker/latest/dg/security-confused-deputy-prevention.html",
    (
        "scheduler.amazonaws.com",
        "aws:SourceAccount",
    ): "scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html",
    ("states.amazonaws.com", "aws:SourceAccount"): "step-functions/latest/dg/procedure-create-iam-role.html",
    ("apigateway.amazonaws.com", "aws:SourceArn"): "lambda/latest/dg/services-apigateway.html",
}
# "You can't use Condition blocks in Amazon SNS topic policies for EventBridge": EventBridge's user guide, quoted by
# several public repositories; the example of eb-use-resource-based.html#eb-sns-permissions has none either.
SENDS_NO_KEY_TO = {("events.amazonaws.com", "sns:Publish")}
IN_EVERY_REQUEST = {"aws:SecureTransport"}


class Statement(NamedTuple):
    """One statement of a policy, as it stands in a stack."""

    owner: str
    sid: str
    effect: str
    actions: list[str]
    resources: list[str]
    conditions: dict[str, dict[str, Any]]
    services: list[str]

    @property
    def keys(self) -> set[str]:
        return {key for block in self.conditions.values() for key in block}


def read(owner: str, statement: dict[str, Any], resources: list[str] | None = None) -> Statement:
    assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement)
    principal = statement.get("Principal", {})
    return Statement(
        owner,
        statement.get("Sid", ""),
        statement["Effect"],
        as_list(statement["Action"]),
        as_list(statement["Resource"]) if resources is None else resources,
        statement.get("Condition", {}),
        as_list(principal.get("Service", [])) if isinstance(principal, dict) else [],
    )


def of_roles(template: Resolved) -> Iterator[Statement]:
    for kind in ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for name, resource in template.resources(kind):
            policies = resource.get("Policies", []) if kind == "AWS::IAM::Role" else [resource]
            for policy in policies:
                for statement in as_list(policy["PolicyDocument"]["Statement"]):
                    yield read(name, statement)


def of_resources(template: Resolved) -> Iterator[Statement]:
    """Policies of resources: of buckets, queues and topics, of who may assume a role or call a function."""
    for kind in (
        "AWS::S3::BucketPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::SNS::TopicPolicy",
        "AWS::Events::EventBusPolicy",
    ):
        for name, policy in template.resources(kind):
            for statement in as_list(policy["PolicyDocument"]["Statement"]):
                yield read(name, statement)
    for name, role in template.resources("AWS::IAM::Role"):
        for statement in as_list(role["AssumeRolePolicyDocument"]["Statement"]):
            yield read(name, statement, [f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{name}"])
    for name, permission in template.resources("AWS::Lambda::Permission"):
        function = (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{permission['FunctionName'].rsplit(':', 1)[-1]}"
        )
        source = {"aws:SourceArn": permission["SourceArn"]} if "SourceArn" in permission else {}
        yield Statement(
            name,
            "",
            "Allow",
            [permission["Action"]],
            [function],
            {"ArnLike": source},
            [permission["Principal"]],
        )


@pytest.fixture(params=[True, False], ids=["every condition", "no condition"])
def stack(request: pytest.FixtureRequest, rendered: Template) -> Resolved:
    """The stack as it is deployed, with everything that is optional and without."""
    return Resolved(rendered, met=request.param)


def named(statement: Statement) -> list[str]:
    """The actions of a statement, each wildcard as the actions it stands for."""
    return [
        name
        for pattern in statement.actions
        for name in (actions_of(pattern) if "*" in pattern else [pattern])
    ]


def test_every_action_exists(stack: Resolved) -> None:
    unknown = [
        (each.owner, each.sid, action)
        for each in (*of_roles(stack), *of_resources(stack))
        for action in each.actions
        if not (actions_of(action) if "*" in action else exists(action))
    ]
    assert unknown == []


def test_every_action_can_be_granted_on_every_resource_beside_it(stack: Resolved) -> None:
    """On another resource it is as if the statement were not there."""
    wrong = []
    for each in of_roles(stack):
        for action in map(Action, named(each)):
            for resource in each.resources:
                fits = bool(action.kinds_of(resource)) if action.kinds else resource == "*"
                if not (fits or resource == "*"):
                    wrong.append((each.owner, each.sid, action.name, resource))
    assert wrong == []


def test_every_resource_policy_names_what_it_stands_on(stack: Resolved) -> None:
    wrong = []
    for each in of_resources(stack):
        actions = [Action(name) for name in named(each)]
        for resource in each.resources:
            if resource != "*" and not any(action.kinds_of(resource) for action in actions):
                wrong.append((each.owner, each.sid, resource))
        if not any("*" in pattern for pattern in each.actions):
            wrong += [
                (each.owner, each.sid, action.name)
                for action in actions
                if not any(resource == "*" or action.kinds_of(resource) for resource in each.resources)
            ]
    assert wrong == []


def test_every_type_of_resource_that_a_call_needs_is_granted(stack: Resolved) -> None:
    granted: dict[tuple[str, str], set[str]] = {}
    for each in of_roles(stack):
        for action in map(Action, named(each)):
            kinds = granted.setdefault((each.owner, action.name), set())
            for resource in each.resources:
                kinds |= set(action.kinds) if resource == "*" else action.kinds_of(resource)
    missing = {
        (role, name, kind)
        for (role, name), kinds in granted.items()
        for kind in Action(name).required
        if kind not in kinds
    }
    excused = {(name, kind) for _, name, kind in missing} & set(WITHOUT_TYPE)
    assert {each for each in missing if each[1:] not in excused} == set()
    assert excused == set(WITHOUT_TYPE)


def test_every_condition_is_one_that_the_request_can_meet(stack: Resolved) -> None:
    """A key that a request never carries makes an Allow grant nothing."""
    wrong = []
    for each in (*of_roles(stack), *of_resources(stack)):
        for key in each.keys - IN_EVERY_REQUEST:
            for name in named(each):
                if key.startswith("aws:Source"):
                    met = any((service, key) in SENT_BY_SERVICES for service in each.services)
                    met = met and not any((service, name) in SENDS_NO_KEY_TO for service in each.services)
                else:
                    met = Action(name).has_condition(key)
                if not met:
                    wrong.append((each.owner, each.sid, name, key))
    assert wrong == []


def allows(statements: list[Statement], action: str, resource: str, context: dict[str, str]) -> bool:
    """True if one of the statements grants the action on the resource to a request with these keys."""
    return any(
        each.effect == "Allow"
        and action in named(each)
        and any(fnmatchcase(resource, pattern) for pattern in each.resources)
        and all(
            operator in ("StringEquals", "StringLike", "ArnEquals", "ArnLike")
            and any(fnmatchcase(context.get(key, ""), str(value)) for value in as_list(values))
            for operator, block in each.conditions.items()
            for key, values in block.items()
        )
        for each in statements
    )


def roles(stack: Resolved) -> dict[str, list[Statement]]:
    by_role: dict[str, list[Statement]] = {}
    for each in of_roles(stack):
        by_role.setdefault(each.owner, []).append(each)
    return by_role


def test_dependent_actions_are_granted_beside_their_action(stack: Resolved) -> None:
    missing = set()
    for statements in roles(stack).values():
        granted: dict[str, set[str]] = {}
        for each in statements:
            for name in named(each):
                granted.setdefault(name, set()).update(each.resources)
        for name, resources in granted.items():
            for other in Action(name).dependents:
                same = (
                    other.partition(":")[0] == name.partition(":")[0]
                )  # then it is about the same resources
                beside = granted.get(other, set())
                if not beside or (same and not beside & (resources | {"*"})):
                    missing.add((name, other))
    assert missing == set(WITHOUT_DEPENDENT)


def test_every_policy_fits_its_limit(stack: Resolved) -> None:
    """10,240 characters for all inline policies of a role, 2,048 for who may assume it, 6,144 for a managed
    policy, without white space:
    docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
    """
    for name, role in stack.resources("AWS::IAM::Role"):
        documents = [policy["PolicyDocument"] for policy in role["Policies"]]
        assert sum(map(length, documents)) <= 10_240, name
        assert length(role["AssumeRolePolicyDocument"]) <= 2_048, name
    for name, policy in stack.resources("AWS::IAM::ManagedPolicy"):
        assert length(policy["PolicyDocument"]) <= 6_144, name


def length(document: dict[str, Any]) -> int:
    longest = (
        json.dumps(document).replace(STACK, "n" * MAX_STACK_NAME_LENGTH).replace(REGION, "ap-southeast-2")
    )
    return len("".join(longest.split()))


IMAGE = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "sagemaker:createTrainingJob.sync": {"TrainingJobName": f"{STACK}-1700000000000-train"},
    "sagemaker:createModel": {"ModelName": f"{STACK}-model-1"},
    "sagemaker:CreateModelPackage": {
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": IMAGE,
                    "ModelDataUrl": f"s3://{STACK}-modelsbucket/training/{STACK}-1-train/output/model.tar.gz",
                }
            ]
        }
    },
    "sagemaker:InvokeEndpoint": {"InferenceComponentName": f"{STACK}-model-1"},
} | {
    f"application-autoscaling:{name}": {"ResourceId": f"inference-component/{STACK}-model-1"}
    for name in (
        "RegisterScalableTarget",
        "PutScalingPolicy",
        "DeleteScalingPolicy",
        "DeregisterScalableTarget",
    )
}
HOSTED = {"endpoint": STACK, "endpoint_config": f"{STACK}-endpointconfig"}


def calls(role: str, statements: list[Statement]) -> set[str]:
    """The calls of a role by name: its actions, and for the state machine's its integrations."""
    names = {name for each in statements for name in named(each)}
    if role == "RetrainRole":
        resources = [state.get("Resource", "") for state in MACHINE["States"].values()]
        names |= {resource.split(":::")[1] for resource in resources if ":::" in resource}
    return names


def test_permissions_that_only_documentation_names_are_granted(stack: Resolved) -> None:
    missing = set()
    for role, statements in roles(stack).items():
        for call in calls(role, statements) & set(ARGUMENTS):
            for each in demanded(call, ARGUMENTS[call], REGION, ACCOUNT, HOSTED):
                if not allows(statements, each.action, each.resource, dict(each.context)):
                    missing.add((role, call.split(":")[1], each.action, each.resource.split(":", 5)[5]))
    assert missing == set()


def test_every_row_of_the_documentation_is_asked_of_somebody(rendered: Template) -> None:
    stack = Resolved(rendered)
    called = {call for role, statements in roles(stack).items() for call in calls(role, statements)}
    for row in DEMANDS:
        assert set(row.calls) & called, row
        for call in row.calls:
            demanded_actions = [
                each.action for each in demanded(call, ARGUMENTS[call], REGION, ACCOUNT, HOSTED)
            ]
            assert set(row.actions) <= set(demanded_actions), row
        assert row.source, row


def test_an_alarm_of_scaling_may_have_any_name(rendered: Template) -> None:
    """Application Auto Scaling tries its caller's rights on alarms with names that it does not document."""
    for role, statements in roles(Resolved(rendered)).items():
        if any(name.startswith("application-autoscaling:") for name in calls(role, statements)):
            for action in ("PutMetricAlarm", "DeleteAlarms", "DescribeAlarms"):
                assert allows(statements, f"cloudwatch:{action}", "*", {}), (role, action)


@pytest.mark.parametrize(
    ("resource", "arn", "fits"),
    [
        (
            "arn:aws:dynamodb:r:1:table/t",
            "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}",
            True,
        ),
        (
            "arn:aws:dynamodb:r:1:table/t/index/i",
            "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}",
            False,
        ),
        (
            "arn:aws:dynamodb:r:1:table/t/*",
            "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}",
            False,
        ),
        ("arn:aws:s3:::b", "arn:${Partition}:s3:::${BucketName}/${ObjectName}", False),
        ("arn:aws:s3:::b/*", "arn:${Partition}:s3:::${BucketName}/${ObjectName}", True),
        ("arn:aws:s3:::b/a/b", "arn:${Partition}:s3:::${BucketName}/${ObjectName}", True),
        ("arn:aws:s3:::b/*", "arn:${Partition}:s3:::${BucketName}", False),
    ],
)
def test_a_resource_fits_an_arn_of_the_reference(resource: str, arn: str, fits: bool) -> None:
    from tests.template.reference import overlap

    assert overlap(resource, arn) is fits


def test_the_reference_is_read_whole() -> None:
    assert exists("sagemaker:InvokeEndpoint") and not exists("sqs:SendMessageBatch")
    assert Action("dynamodb:ListStreams").kinds == []
    assert "iam:PassRole" in Action("sagemaker:CreateTrainingJob").dependents
    assert (
        json.dumps(sorted(Action("sagemaker:InvokeEndpoint").kinds)) == '["endpoint", "inference-component"]'
    )
