"""A new stack under the name of a deleted one takes over the buckets and tables that the deleted one left.

A stack that is deleted leaves its buckets, their policies and its tables (`RetainExceptOnCreate`), under
names that CloudFormation made up; plainly created again, it would begin with new, empty ones. So the new
stack is made by an import of these resources, and everything else is added by the deployment that follows, as
an update. CloudFormation does not change a resource that it imports.

`adopt` does that with a template, `take_over` with the project's, which also notes that no model version is
hosted any more, so that the last one can be hosted again.

Sources: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-new-stack.html (a change set
of type IMPORT for a stack that is not there); API_DescribeStackEvents (events of a deleted stack, by its id,
for 90 days).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from protloc.stack.account import Account
from protloc.stack.kept import BUCKET, BUCKET_POLICY, TABLE, keepers
from protloc.stack.naming import check_stack_name
from protloc.stack.parameters import template

# The properties that name a resource to CloudFormation: `primaryIdentifier` of its registry schema.
IDENTIFIERS = {BUCKET: "BucketName", BUCKET_POLICY: "Bucket", TABLE: "TableName"}
GONE = "DELETE_COMPLETE"
CHANGE_SET = "adopt-what-was-kept"
UNHOSTED = "the stack that hosted it was taken down"
POLL_SECONDS = 1.0
LIMIT_SECONDS = 300.0


class AdoptionFailed(Exception):
    """The import was refused, with CloudFormation's reason."""


def left_by_deleted(client: Any, stack: str) -> Iterator[dict[str, str]]:
    """Physical names, by logical ones, that each deleted stack of this name left; the last deleted first."""
    pages = client.get_paginator("list_stacks").paginate(StackStatusFilter=[GONE])
    deleted = [each for page in pages for each in page["StackSummaries"] if each["StackName"] == stack]
    for each in sorted(deleted, key=lambda each: each["CreationTime"], reverse=True):
        pages = client.get_paginator("describe_stack_events").paginate(StackName=each["StackId"])
        yield {
            event["LogicalResourceId"]: event["PhysicalResourceId"]
            for page in pages
            for event in page["StackEvents"]
            if event["ResourceStatus"] == "DELETE_SKIPPED"
        }


def adopt(
    session: Callable[[str], Any],
    template: Mapping[str, Any],
    stack: str,
    before: Callable[[Mapping[str, str]], object],
) -> list[str]:
    """Make the stack of the resources that the last one left; gives their names, none where none were left.

    `session` gives clients by their service's name; `before` is called with the names by logical ones, before
    anything is imported. Raises `AdoptionFailed`.
    """
    client = session("cloudformation")
    declared = {name: each for name, each in keepers(template).items() if each["Type"] in IDENTIFIERS}
    names: dict[str, str] = {}
    for old in left_by_deleted(client, stack):
        names = {
            name: old[_named_by(declared, name)] for name in declared if _named_by(declared, name) in old
        }
        names = {n: value for n, value in names.items() if _is_there(session, declared[n]["Type"], value)}
        if names:
            break
    else:
        return []
    before(names)
    body = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {name: declared[name] for name in names},
    }
    client.create_change_set(
        StackName=stack,
        ChangeSetName=CHANGE_SET,
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps(body),
        ResourcesToImport=[
            {
                "ResourceType": declared[name]["Type"],
                "LogicalResourceId": name,
                "ResourceIdentifier": {IDENTIFIERS[declared[name]["Type"]]: value},
            }
            for name, value in names.items()
        ],
    )
    _until(lambda: _change_set(client, stack), "CREATE_COMPLETE")
    client.execute_change_set(StackName=stack, ChangeSetName=CHANGE_SET)
    _until(lambda: _stack(client, stack), "IMPORT_COMPLETE")
    return sorted(set(names.values()))


def take_over(account: Account) -> list[str]:
    """`adopt` for the project's own template, unless the stack is there. Raises `BadStackName` as well."""
    check_stack_name(account.stack)
    client = account.client("cloudformation")
    pages = client.get_paginator("list_stacks").paginate()
    there = [
        each
        for page in pages
        for each in page["StackSummaries"]
        if each["StackName"] == account.stack and each["StackStatus"] != GONE
    ]
    if not all(_is_empty(client, each) for each in there):
        return []

    def make_way(names: Mapping[str, str]) -> None:
        for each in there:
            client.delete_stack(StackName=each["StackId"])
            _until(lambda id_=each["StackId"]: _stack(client, id_), GONE)  # type: ignore[misc]
        note_unhosted(account.client, names)

    return adopt(account.client, template(), account.stack, make_way)


def _is_empty(client: Any, summary: Mapping[str, Any]) -> bool:
    """True of a stack left by a refused import: the SAM CLI takes it for a new one and makes all anew."""
    if summary["StackStatus"] not in ("REVIEW_IN_PROGRESS", "IMPORT_ROLLBACK_COMPLETE"):
        return False
    return not client.list_stack_resources(StackName=summary["StackId"])["StackResourceSummaries"]


def note_unhosted(session: Callable[[str], Any], names: Mapping[str, str]) -> None:
    """`forget_hosting` for the table of models among the names by logical ones, if there is one."""
    if table := names.get("ModelsTable"):
        forget_hosting(session("dynamodb"), table)


def forget_hosting(dynamodb: Any, table: str) -> None:
    """Note in a table of models that they are hosted no more; may be repeated.

    The stack that hosted them is gone, and so are its executions, of which one may have held the lock. The
    version that was active becomes the one before, which the deployment hosts again.
    """
    request = {
        "TableName": table,
        "KeyConditionExpression": "pk = :version",
        "ExpressionAttributeValues": {":version": {"S": "version"}},
    }
    for page in dynamodb.get_paginator("query").paginate(**request, ConsistentRead=True):
        for item in page["Items"]:
            _update(
                dynamodb,
                table,
                {"pk": item["pk"], "sk": item["sk"]},
                "SET #state = :retired, reason = :reason",
                "#state = :in_service",
                {"#state": "state"},
                {
                    ":retired": {"S": "retired"},
                    ":in_service": {"S": "in_service"},
                    ":reason": {"S": UNHOSTED},
                },
            )
    _update(
        dynamodb,
        table,
        {"pk": {"S": "alias"}, "sk": {"S": "active"}},
        "SET previous = #version, #version = :none, revision = revision + :one, changed = :now",
        "attribute_exists(pk) AND #version <> :none",
        {"#version": "version"},
        {":none": {"S": ""}, ":one": {"N": "1"}, ":now": {"N": str(int(time.time()))}},
    )
    _update(
        dynamodb,
        table,
        {"pk": {"S": "lock"}, "sk": {"S": "retraining"}},
        "SET expires = :never REMOVE holder",
        "attribute_exists(holder)",
        {},
        {":never": {"N": "0"}},
    )


def _update(
    dynamodb: Any,
    table: str,
    key: Mapping[str, Any],
    update: str,
    condition: str,
    names: Mapping[str, str],
    values: Mapping[str, Any],
) -> None:
    """Update an item where it still meets the condition."""
    with contextlib.suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
            **({"ExpressionAttributeNames": names} if names else {}),
        )


def _named_by(declared: Mapping[str, Any], name: str) -> str:
    """The resource whose physical name identifies this one: of a policy its bucket."""
    properties = declared[name].get("Properties", {})
    return str(properties["Bucket"]["Ref"]) if declared[name]["Type"] == BUCKET_POLICY else name


def _is_there(session: Callable[[str], Any], kind: str, name: str) -> bool:
    try:
        if kind == TABLE:
            session("dynamodb").describe_table(TableName=name)
        elif kind == BUCKET:
            session("s3").head_bucket(Bucket=name)
        else:
            session("s3").get_bucket_policy(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in (
            "404",
            "NoSuchBucket",
            "NoSuchBucketPolicy",
            "ResourceNotFoundException",
        ):
            return False
        raise
    return True


def _change_set(client: Any, stack: str) -> tuple[str, str]:
    change_set = client.describe_change_set(StackName=stack, ChangeSetName=CHANGE_SET)
    return change_set["Status"], change_set.get("StatusReason", "")


def _stack(client: Any, stack: str) -> tuple[str, str]:
    description = client.describe_stacks(StackName=stack)["Stacks"][0]
    return description["StackStatus"], description.get("StackStatusReason", "")


def _until(status: Callable[[], tuple[str, str]], wanted: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        now, reason = status()
        if now == wanted:
            return
        if not now.endswith(("IN_PROGRESS", "PENDING")) or time.monotonic() > deadline:
            raise AdoptionFailed(f"expected {wanted}, found {now}: {reason or 'no reason was given'}")
        time.sleep(POLL_SECONDS)
