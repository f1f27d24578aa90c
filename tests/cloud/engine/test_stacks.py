"""The embedded CloudFormation does as AWS's where the engine's does not."""

from __future__ import annotations

import json
from typing import Any

from protloc.cloud.connection import Cloud
from tests.waiting import until

NOTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}


def test_a_stack_whose_policy_somebody_holds_cannot_be_deleted(cloud: Cloud) -> None:
    iam, stacks = cloud.client("iam"), cloud.client("cloudformation")
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": NOTHING}}
    body = {"Resources": {"Policy": policy}, "Outputs": {"Policy": {"Value": {"Ref": "Policy"}}}}
    stack = stacks.create_stack(
        StackName="held", TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_IAM"]
    )["StackId"]
    assert end_of(stacks, stack) == "CREATE_COMPLETE"
    attachment = {
        "PolicyArn": stacks.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"][0]["OutputValue"]
    }
    iam.create_user(UserName="holder")
    iam.attach_user_policy(UserName="holder", **attachment)
    stacks.delete_stack(StackName=stack)
    assert end_of(stacks, stack) == "DELETE_FAILED"
    reasons = [
        each.get("ResourceStatusReason", "")
        for each in stacks.describe_stack_events(StackName=stack)["StackEvents"]
    ]
    assert any("attached to entities" in reason for reason in reasons), reasons
    iam.detach_user_policy(UserName="holder", **attachment)
    iam.delete_user(UserName="holder")
    stacks.delete_stack(StackName=stack)
    assert end_of(stacks, stack) == "DELETE_COMPLETE"


def end_of(stacks: Any, stack: str) -> str:
    """The status in which the current operation of a stack ends."""

    def status() -> str:
        return str(stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])

    until(lambda: not status().endswith("IN_PROGRESS"))
    return status()
