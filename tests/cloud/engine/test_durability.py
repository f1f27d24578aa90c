"""The cloud keeps acknowledged objects through a full disk, a damaged or a lost file, or names those lost."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from protloc.cli.main import main
from protloc.cloud import connection, lifecycle
from protloc.cloud.connection import Cloud
from protloc.cloud.engine.generations import BEFORE, STATE
from tests.cloud.conftest import Stack
from tests.cloud.test_lifecycle import killed, saved
from tests.cloud.test_stack import put_another, send
from tests.waiting import until


@contextlib.contextmanager
def full_disk(cloud: Cloud) -> Iterator[None]:
    """No file of the cloud's process, nor of those it starts, can take another byte: EFBIG stands for ENOSPC."""
    _, most = resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE, (most, most))


def report(cloud: Cloud) -> dict[str, Any]:
    return connection.health(cloud.port, cloud.home) or {}


def put(stack: Stack, key: str, body: bytes, attempts: int = 1) -> dict[str, Any]:
    client = stack.cloud.client("s3", retries={"total_max_attempts": attempts})
    answer: dict[str, Any] = client.put_object(Bucket=stack.outputs["Bucket"], Key=key, Body=body)
    return answer


def read(stack: Stack, key: str, **version: str) -> bytes:
    answer = stack.client("s3").get_object(Bucket=stack.outputs["Bucket"], Key=key, **version)
    return bytes(answer["Body"].read())


def test_an_object_that_is_not_on_disk_is_refused_and_leaves_nothing(own_stack: Stack) -> None:
    first = put(own_stack, "in/kept.fasta", b">a\nM")["VersionId"]
    saved(own_stack)
    with full_disk(own_stack.cloud):
        for key in ("in/kept.fasta", "in/new.fasta"):
            with pytest.raises(ClientError) as refused:
                put(own_stack, key, b">b\nMK")
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        with pytest.raises(ClientError, match="NoSuchKey"):
            read(own_stack, "in/new.fasta")
        assert read(own_stack, "in/kept.fasta") == b">a\nM"
    until(lambda: not report(own_stack.cloud)["save_failure"])
    bucket = own_stack.outputs["Bucket"]
    versions = own_stack.client("s3").list_object_versions(Bucket=bucket, Prefix="in/")["Versions"]
    assert [(each["Key"], each["VersionId"]) for each in versions] == [("in/kept.fasta", first)]
    put_another(own_stack)  # whose event comes after any that was sent before
    assert not [key for key in own_stack.rows("message") if "in/new.fasta" in key]
    again = killed(own_stack)
    assert read(again, "in/kept.fasta", VersionId=first) == b">a\nM"


def test_while_the_state_cannot_be_saved_nothing_more_is_taken_and_status_tells(own_stack: Stack) -> None:
    cloud = own_stack.cloud
    saved(own_stack)
    with full_disk(cloud):
        own_stack.client("sqs").create_queue(QueueName="last")
        until(lambda: report(cloud)["save_failure"])
        with pytest.raises(ClientError, match="cannot save its state") as refused:
            cloud.client("sqs", retries={"total_max_attempts": 1}).create_queue(QueueName="more")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        status = lifecycle.status(cloud.home)
        assert (status["state"], "File too large" in status["not_saved"]) == ("running", True)
        with pytest.raises(lifecycle.NotKeptError, match="the cloud goes on"):
            lifecycle.down(cloud.home, only_if_saved=True)
        assert connection.find(cloud.home) == cloud
    until(lambda: not report(cloud)["save_failure"])
    assert "not_saved" not in lifecycle.status(cloud.home)
    identity = send(own_stack)
    until(lambda: identity in own_stack.rows("message"))
    assert lifecycle.down(cloud.home)
    again = lifecycle.up(cloud.home)
    assert again.client("sqs").get_queue_url(QueueName="last")


def test_an_end_that_could_not_save_says_what_is_not_kept(own_stack: Stack) -> None:
    cloud = own_stack.cloud
    saved(own_stack)
    with full_disk(cloud):
        own_stack.client("sqs").create_queue(QueueName="last")
        ended = CliRunner().invoke(main, ["down", "--home", str(cloud.home)])
    assert ended.exit_code == 1
    assert "what changed last is not kept" in ended.output
    again = lifecycle.up(cloud.home)
    with pytest.raises(ClientError, match="NonExistentQueue"):
        again.client("sqs").get_queue_url(QueueName="last")
    assert lifecycle.down(cloud.home), "an orderly end has nothing to tell"


def test_a_delivery_that_met_a_full_disk_is_made_again_at_once_and_not_counted(own_stack: Stack) -> None:
    saved(own_stack)
    with full_disk(own_stack.cloud):
        identity = send(own_stack)
        until(lambda: report(own_stack.cloud)["save_failure"])
    row = until(lambda: own_stack.rows("message").get(identity))
    assert int(row["received"]["S"]) <= 2, "the one that was under way, and the one that succeeded"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def older(path: Path) -> None:
    shutil.copy(path.with_name(BEFORE), path)


LOSSES = {
    "a flipped bit": (lambda home: flip(home / "state" / STATE), "damaged"),
    "a torn file": (lambda home: os.truncate(home / "state" / STATE, 1000), "damaged"),
    "no file": (lambda home: (home / "state" / STATE).unlink(), "missing"),
    "no folder": (lambda home: shutil.rmtree(home / "state"), "missing"),
    "an older file": (lambda home: older(home / "state" / STATE), "older than the files"),
    "no objects": (lambda home: shutil.rmtree(home / "s3"), "files are missing"),
}


# `make test` loses something of each kind; `make test-all` all the rest.
QUICK = ("a flipped bit",)


@pytest.mark.parametrize(
    "loss", [loss if loss in QUICK else pytest.param(loss, marks=pytest.mark.slow) for loss in LOSSES]
)
def test_a_damaged_state_is_reported_and_never_taken_for_an_empty_cloud(own_stack: Stack, loss: str) -> None:
    home = own_stack.cloud.home
    saved(own_stack)  # with its bucket, as the state before the last
    put(own_stack, "in/a.fasta", b">a\nM")
    lifecycle.down(home)
    spoil, message = LOSSES[loss]
    spoil(home)
    with pytest.raises(lifecycle.CloudError, match=message) as refused:
        lifecycle.up(home)
    assert "protloc up --recover" in str(refused.value)
    assert lifecycle.status(home)["state"] == "stopped"
    cloud = lifecycle.up(home, recover=True)
    buckets = cloud.client("s3").list_buckets()["Buckets"]
    if loss == "no folder":
        (aside,) = home.glob("s3.without-state.*")
        assert not buckets
        assert [path.read_bytes() for path in aside.rglob("a.fasta")] == [b">a\nM"]
    else:
        assert buckets
    lifecycle.down(home)
    lifecycle.up(home)


def test_a_body_that_is_gone_is_an_error_and_no_empty_object(own_stack: Stack) -> None:
    put(own_stack, "in/a.fasta", b">a\nM")
    for path in (own_stack.cloud.home / "s3").rglob("a.fasta"):
        path.write_bytes(b">")
    client = own_stack.cloud.client("s3", retries={"total_max_attempts": 1})
    with pytest.raises(ClientError, match="InternalError"):
        client.get_object(Bucket=own_stack.outputs["Bucket"], Key="in/a.fasta")
