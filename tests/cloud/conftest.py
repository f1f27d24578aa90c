"""One cloud and one test stack for the whole suite; tests that kill a cloud make their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials

from protloc.cloud import deploy, lifecycle
from protloc.cloud.connection import Cloud

STACK = Path(__file__).parent / "stack" / "template.yaml"


@dataclass(frozen=True)
class Stack:
    """A deployed test stack."""

    cloud: Cloud
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        return self.cloud.client(service)

    def caller(self) -> Credentials:
        """Credentials of the stack's role `Caller`."""
        role = self.client("sts").assume_role(RoleArn=self.outputs["Caller"], RoleSessionName="test")
        keys = role["Credentials"]
        return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def client_of_caller(self, service: str, **others: str) -> Any:
        """A client that acts as that role; `others` replace parts of its credentials."""
        caller = self.caller()
        parts = {
            "aws_access_key_id": caller.access_key,
            "aws_secret_access_key": caller.secret_key,
            "aws_session_token": caller.token,
        }
        address = {"endpoint_url": self.cloud.endpoint_url, "region_name": "us-east-1"}
        return boto3.client(service, **address, **(parts | others))  # type: ignore[call-overload]

    def allow_caller(self, name: str, actions: list[str], resource: str | list[str]) -> None:
        """Give the stack's role `Caller` a policy more."""
        statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
        document = json.dumps({"Statement": [statement]})
        self.client("iam").put_role_policy(RoleName=self._caller, PolicyName=name, PolicyDocument=document)

    def disallow_caller(self, name: str) -> None:
        self.client("iam").delete_role_policy(RoleName=self._caller, PolicyName=name)

    @property
    def _caller(self) -> str:
        return self.outputs["Caller"].rsplit("/", 1)[-1]

    def rows(self, pk: str) -> dict[str, dict[str, Any]]:
        items = self.client("dynamodb").query(
            TableName=self.outputs["Table"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )["Items"]
        return {item["sk"]["S"]: item for item in items}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("cloud")
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.delenv("PROTLOC_MODEL_SERVERS")
            started = lifecycle.up(home)
        yield started
    finally:
        print((home / "cloud.log").read_text()[-6000:])  # pytest shows it where a test failed
        lifecycle.down(home, erase=True)


@pytest.fixture(scope="session")
def stack(cloud: Cloud) -> Stack:
    return Stack(cloud, deploy.deploy(cloud, STACK, "test"))


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A cloud of the test's own, to be killed."""
    home = tmp_path / "home"
    try:
        cloud = lifecycle.up(home)
        yield Stack(cloud, deploy.deploy(cloud, STACK, "test"))
    finally:
        print((home / "cloud.log").read_text()[-6000:])  # pytest shows it where a test failed
        lifecycle.down(home, erase=True)
