"""Services act for the stack only as far as one of its roles or policies lets them.

The engine reads and delivers on its own authority. Here a mapping is refused whose function may not read its
source, Scheduler calls as the schedule's role, and a rule reaches a queue or a topic only if the policy of
that lets EventBridge in. Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from protloc.cloud.contracts.demands import Permission
from protloc.cloud.engine.access import AccessLog
from protloc.cloud.engine.names import ACCOUNT, REGION, module

log = logging.getLogger("protloc.cloud")

READING = {
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
    "sqs": ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"),
    # docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
    "dynamodb": ("DescribeStream", "GetRecords", "GetShardIterator"),
}
CALLING = {
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
}
EVENTBRIDGE = "events.amazonaws.com"


def services_need_to_be_let_in(access: AccessLog) -> None:
    """Put every check in place, once per process. `access` is told of each permission that is checked."""
    mappings_need_a_role_that_reads(access)
    targets_are_reached_with_leave(access)


def mapping_permissions(properties: Mapping[str, Any]) -> Iterator[Permission]:
    """The permissions that a function's role needs before Lambda makes a mapping or configures calls."""
    source = str(properties.get("EventSourceArn", ""))
    service = source.split(":")[2] if source else ""
    for action in READING.get(service, ()):
        yield Permission(f"{service}:{action}", source)
    if service == "dynamodb":
        yield Permission("dynamodb:ListStreams", "*")
    for outcome in (properties.get("DestinationConfig") or {}).values():
        destination = str(outcome.get("Destination", ""))
        if ":sqs:" in destination or ":sns:" in destination:
            yield Permission(CALLING[destination.split(":")[2]], destination)


def mappings_need_a_role_that_reads(access: AccessLog) -> None:
    """A mapping is made only where the function's role may read the source and send failed records on."""
    kinds = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS
    functions = module("ministack.services.lambda_svc")._functions

    def check(properties: Mapping[str, Any]) -> None:
        name = str(properties.get("FunctionName", "")).rsplit(":function:", 1)[-1].split(":")[0]
        role = str(functions[name]["config"]["Role"])
        lacking = access.lacking(role, name, mapping_permissions(properties))
        if lacking is not None:
            raise ValueError(
                f"InvalidParameterValueException: the function's execution role lacks a permission. {lacking}"
            )

    def checked(create: Callable[..., Any], position: int) -> Callable[..., Any]:
        def create_checked(*arguments: Any) -> Any:
            check(arguments[position])
            return create(*arguments)

        return create_checked

    for kind in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"):
        handlers = kinds[kind]
        handlers["create"] = checked(handlers["create"], 1)
        handlers["update"] = checked(handlers["update"], 2)


def targets_are_reached_with_leave(access: AccessLog) -> None:
    """A schedule's call needs its role, a rule's the policy of its target; a refused call goes to the
    target's dead letters.
    """
    bus, evaluator = module("ministack.services.eventbridge"), module("ministack.core.iam_evaluator")
    queues, topics = module("ministack.services.sqs"), module("ministack.services.sns")
    deliver = bus._invoke_target

    def let_in(arn: str, rule: Mapping[str, Any]) -> str | None:
        service = arn.split(":")[2]
        if service not in ("sqs", "sns"):
            return None
        document = queues.queue_policy_for_arn(arn) if service == "sqs" else topics.topic_policy_for_arn(arn)
        # To a queue EventBridge says for which rule it comes, to a topic nothing: "You can't use Condition
        # blocks in Amazon SNS topic policies for EventBridge" (its user guide, eb-use-resource-based).
        named = {"aws:sourcearn": rule.get("Arn", ""), "aws:sourceaccount": ACCOUNT}
        evaluation = evaluator.EvalContext(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            region=REGION,
            action=CALLING[service],
            resource_arn=arn,
            secure_transport=True,
            service_context=named if service == "sqs" else {},
        )
        policy = document[0] if document else ""
        if evaluator.evaluate_resource_policy(policy, evaluation, service=EVENTBRIDGE).decision == "Allow":
            return None
        return f"the policy of {arn} does not let {EVENTBRIDGE} in"

    def may_call(target: Mapping[str, Any], rule: Mapping[str, Any]) -> str | None:
        action = CALLING.get(target["Arn"].split(":")[2])
        permissions = [Permission(action, target["Arn"])] if action else []
        lacking = access.lacking(
            str(target.get("RoleArn", "")), str(rule.get("Name", "schedule")), permissions
        )
        return str(lacking) if lacking else None

    def deliver_with_leave(target: dict[str, Any], event: dict[str, Any], rule: Any, *rest: Any) -> Any:
        scheduled = event.get("Source") == "aws.scheduler"
        refused = may_call(target, rule) if scheduled else let_in(target.get("Arn", "::"), rule)
        if refused is None:
            return deliver(target, event, rule, *rest)
        log.warning("not delivered: %s", refused)
        letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        if letters:
            role = {"RoleArn": target["RoleArn"]} if "RoleArn" in target else {}
            return deliver_with_leave({"Arn": letters, **role}, event, rule, *rest)
        return None

    bus._invoke_target = deliver_with_leave
