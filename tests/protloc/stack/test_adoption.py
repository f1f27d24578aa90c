"""Answers as AWS does where an import was refused or cut off; the embedded cloud remembers one stack of a name alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from protloc.stack import adoption
from protloc.stack.account import Account

NAME = "protloc"
DELETED, IMPORTED = (f"arn:aws:cloudformation:eu-west-1:123456789012:stack/{NAME}/{n}" for n in ("1", "2"))
WHEN = datetime(2026, 11, 25, tzinfo=UTC)


def summary(stack: str, status: str) -> dict[str, Any]:
    return {"StackId": stack, "StackName": NAME, "CreationTime": WHEN, "StackStatus": status}


def account(
    *answers: tuple[str, str, dict[str, Any], dict[str, Any] | None],
) -> tuple[Account, list[Stubber]]:
    """An account whose services give these answers in turn, each in the shape of botocore's model."""
    session = boto3.Session("a", "b", region_name="eu-west-1")
    clients: dict[str, Any] = {each[0]: session.client(each[0]) for each in answers}
    stubbers = {service: Stubber(client) for service, client in clients.items()}
    for service, operation, answer, expected in answers:
        stubbers[service].add_response(operation, answer, expected)
    for stubber in stubbers.values():
        stubber.activate()
    return Account(NAME, "eu-west-1", clients.__getitem__, False, ""), list(stubbers.values())


@pytest.mark.parametrize("status", ["REVIEW_IN_PROGRESS", "IMPORT_ROLLBACK_COMPLETE"])
def test_an_import_that_came_to_nothing_is_begun_again(status: str) -> None:
    """Passed over, it is a new stack to the SAM CLI, whose tables would be new and empty."""
    deleted = summary(DELETED, "DELETE_COMPLETE")
    skipped = {
        "StackId": DELETED,
        "EventId": "1",
        "StackName": NAME,
        "Timestamp": WHEN,
        "LogicalResourceId": "UploadsTable",
        "PhysicalResourceId": "protloc-UploadsTable-1",
        "ResourceStatus": "DELETE_SKIPPED",
    }
    stack = "cloudformation"
    table = {"Table": {"TableName": "protloc-UploadsTable-1"}}
    mine, stubbers = account(
        (stack, "list_stacks", {"StackSummaries": [summary(IMPORTED, status), deleted]}, {}),
        (stack, "list_stack_resources", {"StackResourceSummaries": []}, {"StackName": IMPORTED}),
        (stack, "list_stacks", {"StackSummaries": [deleted]}, {"StackStatusFilter": ["DELETE_COMPLETE"]}),
        (stack, "describe_stack_events", {"StackEvents": [skipped]}, {"StackName": DELETED}),
        ("dynamodb", "describe_table", table, {"TableName": "protloc-UploadsTable-1"}),
        (stack, "delete_stack", {}, {"StackName": IMPORTED}),
        (
            stack,
            "describe_stacks",
            {"Stacks": [summary(IMPORTED, "DELETE_COMPLETE")]},
            {"StackName": IMPORTED},
        ),
        (stack, "create_change_set", {}, None),
        (stack, "describe_change_set", {"Status": "CREATE_COMPLETE"}, None),
        (stack, "execute_change_set", {}, None),
        (stack, "describe_stacks", {"Stacks": [summary(IMPORTED, "IMPORT_COMPLETE")]}, {"StackName": ANY}),
    )
    assert adoption.take_over(mine) == ["protloc-UploadsTable-1"]
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


def test_a_stack_that_holds_something_is_left_alone() -> None:
    responses = {
        "LogicalResourceId": "UploadsTable",
        "ResourceType": "AWS::DynamoDB::Table",
        "LastUpdatedTimestamp": WHEN,
        "ResourceStatus": "IMPORT_COMPLETE",
    }
    mine, _ = account(
        (
            "cloudformation",
            "list_stacks",
            {"StackSummaries": [summary(IMPORTED, "IMPORT_ROLLBACK_COMPLETE")]},
            {},
        ),
        (
            "cloudformation",
            "list_stack_resources",
            {"StackResourceSummaries": [responses]},
            {"StackName": IMPORTED},
        ),
    )
    assert adoption.take_over(mine) == []
