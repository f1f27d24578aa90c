"""One cloud and one test stack for the whole suite; tests that kill a cloud make their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud import deploy, lifecycle
from protloc.cloud.lifecycle import Cloud

STACK = Path(__file__).parent / "stack" / "template.yaml"


@dataclass(frozen=True)
class Stack:
    """A deployed test stack."""

    cloud: Cloud
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        return self.cloud.client(service)

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
        yield lifecycle.up(home)
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
