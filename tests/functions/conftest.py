from collections.abc import Iterator

import pytest

from tests.functions.versions import alias, version
from tests.functions.world import World, world


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def empty_world() -> Iterator[World]:
    """A stack without a model version in service."""
    with world() as made:
        yield made


@pytest.fixture
def running_world() -> Iterator[World]:
    """A stack with an active model version, and shards small enough for several a file."""
    with world(shard_bytes=2_000) as made:
        made.activate()
        yield made


@pytest.fixture
def two_versions(empty_world: World) -> World:
    for name in ("one", "two"):
        version(empty_world, name)
    alias(empty_world, "two", previous="one", revision=5)
    return empty_world
