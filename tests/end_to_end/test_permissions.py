"""Every function and the state machine hold the permissions they need, and pass only by IAM."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAMPLE, Embedded
from tests.model.tiny import build_tiny_artifact
from tests.waiting import until


@pytest.fixture
def cloud(embedded: Embedded) -> Embedded:
    return embedded  # each test gives back the permissions that it takes away


@contextmanager
def without(cloud: Embedded, role: str, statement: str) -> Iterator[None]:
    """The stack while one statement is missing from the policy of one of its roles."""

    def rest(statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
        others = [each for each in statements if each["Sid"] != statement]
        assert len(others) == len(statements) - 1
        return others

    with changed(cloud, role, rest):
        yield


@contextmanager
def forbidden(cloud: Embedded, role: str, action: str, resource: str) -> Iterator[None]:
    """The stack while the policy of one of its roles denies one thing that it allows otherwise."""
    denial = {"Effect": "Deny", "Action": action, "Resource": resource}
    with changed(cloud, role, lambda statements: [*statements, denial]):
        yield


@contextmanager
def changed(
    cloud: Embedded, role: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> Iterator[None]:
    """The stack while the statements of a role's policy are others."""
    iam = cloud.client.client("iam")
    resource = cloud.client.client("cloudformation").describe_stack_resource(
        StackName="protloc", LogicalResourceId=role
    )
    name = resource["StackResourceDetail"]["PhysicalResourceId"]
    [policy] = iam.list_role_policies(RoleName=name)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    put = {"RoleName": name, "PolicyName": policy}
    iam.put_role_policy(**put, PolicyDocument=json.dumps({**whole, "Statement": change(whole["Statement"])}))
    try:
        yield
    finally:
        iam.put_role_policy(**put, PolicyDocument=json.dumps(whole))


@contextmanager
def tried_for_ever(cloud: Embedded, function: str) -> Iterator[None]:
    """The stack while a change in a stream is not given up: `sweep` would see to it half an hour later."""
    client = cloud.client.client("lambda")
    mappings = client.list_event_source_mappings(FunctionName=f"protloc-{function}")["EventSourceMappings"]
    retries = {
        each["UUID"]: each["MaximumRetryAttempts"]
        for each in mappings
        if ":dynamodb:" in each["EventSourceArn"]
    }
    for mapping in retries:
        client.update_event_source_mapping(UUID=mapping, MaximumRetryAttempts=-1)
    try:
        yield
    finally:
        for mapping, attempts in retries.items():
            client.update_event_source_mapping(UUID=mapping, MaximumRetryAttempts=attempts)


def is_logged(cloud: Embedded, function: str, words: str) -> bool:
    """True if a function has logged `words`."""
    pages = cloud.client.client("logs").get_paginator("filter_log_events")
    groups = pages.paginate(logGroupName=f"/aws/lambda/protloc-{function}")
    return any(words in event["message"] for page in groups for event in page["events"])


@pytest.mark.parametrize(
    ("function", "role", "statement"),
    [
        pytest.param("receive", "ReceiveRole", "StartUpload", marks=pytest.mark.slow),
        pytest.param("split", "SplitRole", "SendBatches", marks=pytest.mark.slow),
        ("predict", "PredictRole", "AskModel"),
        ("complete", "CompleteRole", "WriteResults"),
    ],
)
def test_a_function_without_one_permission_is_denied_and_recovers_with_it(
    cloud: Embedded, tmp_path: Path, function: str, role: str, statement: str
) -> None:
    (tmp_path / "in.fasta").write_text(f">{function}\nMKVWLLALLV{function.upper().replace('O', 'Q')}\n")
    with tried_for_ever(cloud, function):
        with without(cloud, role, statement):
            upload = cloud.answer("predict", "in.fasta", "--no-wait")["upload"]
            until(lambda: is_logged(cloud, function, "AccessDenied"))
            view = cloud.client.find_upload(upload)
            assert view is None or view["finished"] is None
        until(lambda: cloud.client.find_upload(upload))  # each time it was denied it comes again later
        answer = cloud.answer("results", upload, "--wait", "--timeout", "10m")
    assert (answer["status"], answer["predicted"]) == ("complete", 1)


def test_the_api_without_one_permission_fails_and_tells_nobody_why(cloud: Embedded) -> None:
    with without(cloud, "QueryRole", "ListUploads"):
        result = cloud.protloc("uploads")
    assert result.exit_code == 3
    assert "AccessDenied" not in result.stderr
    until(lambda: is_logged(cloud, "query", "AccessDenied"))


def test_an_explanation_without_one_permission_fails_and_tells_nobody_why(
    cloud: Embedded, tmp_path: Path
) -> None:
    (tmp_path / "why.fasta").write_text(">why\nMKVWLLALLVEXPLAINME\n")
    upload = cloud.answer("predict", "why.fasta")["upload"]
    with without(cloud, "ExplainRole", "AskModel"):
        result = cloud.protloc("explain", upload, "why")
    assert result.exit_code == 3
    assert "AccessDenied" not in result.stderr and "arn:" not in result.stderr
    until(lambda: is_logged(cloud, "explain", "AccessDenied"))
    assert cloud.protloc("explain", upload, "why").exit_code == 0


@pytest.mark.slow
def test_a_model_whose_test_is_forbidden_does_not_become_the_active_one(
    cloud: Embedded, tmp_path: Path
) -> None:
    before = cloud.answer("models")["active"]
    folder = build_tiny_artifact(tmp_path / "tiny-9", "tiny-9", seed=9)
    with without(cloud, "RetrainRole", "Smoke"):
        result = cloud.protloc("models", "add", folder, "--yes")
    assert result.exit_code == 1
    assert "AccessDenied" in result.stderr
    after = cloud.answer("models")
    assert after["active"] == before
    assert {view["version"]: view["state"] for view in after["models"]}["tiny-9"] == "failed"
    assert cloud.answer("predict", SAMPLE)["predicted"] == 46
