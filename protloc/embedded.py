"""The embedded cloud made ready for use: running, deployed, and with a model version in service.

`ready` starts the missing parts and is quick when there are none; `running` only looks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from model.serving.artifact import read_artifact
from protloc.cloud import connection, deploy, lifecycle, locks, private
from protloc.errors import Unreachable, UploadProblem
from protloc.project import PROJECT
from protloc.stack import executions, retraining
from protloc.stack.account import USABLE, Account, aws_account
from protloc.stack.activation import promote
from protloc.stack.client import Client
from protloc.stack.versions import add, follow

DEFAULT_MODEL = PROJECT / "model" / "default"

ANSWER_SECONDS = 600
"""For an answer of the API: a function that starts on a machine with far too much to do takes long."""

READY_SECONDS = 1800.0
"""For another command to make the home ready, a model version put into service included."""

Tell = Callable[[str], None]


def ready(
    home: Path,
    tell: Tell,
    port: int | None = None,
    model: Path = DEFAULT_MODEL,
    recover: bool = False,
    idle_seconds: float | None = None,
) -> Client:
    """A client of the cloud of `home`, running, deployed as the project stands, and able to answer."""
    with _one_at_a_time(home, tell):
        try:
            started = connection.find(home) is None
            if started:
                tell(f"starting the embedded cloud in {home}")
            cloud = lifecycle.up(home, port, recover, idle_seconds)
            is_deployed = _is_deployed(cloud)
            if not is_deployed:
                tell("deploying template.yaml into it")
            client = _client(cloud, deploy.deploy(cloud, parameters=parameters()))
        except lifecycle.CloudError as error:
            raise Unreachable(str(error)) from None
        except deploy.DeployError as error:
            raise Unreachable(f"{error}; see {home / 'cloud.log'}") from None
        if started and is_deployed:
            executions.settle(client)  # executions cancelled just before the cloud ended
            for version in retraining.versions_at_work(client):
                tell(f"{version} goes on; follow it: protloc retrain --follow")
        if active_model(client) is None:
            _put_into_service(client, model, tell)
        elif _is_news(client, model):
            tell(f"protloc comes with another model than those there: `protloc models add {model}` adds it")
        return client


def parameters() -> dict[str, str]:
    """The template's parameters on this machine: no more batches at once than it has processors, no GPU."""
    return {
        "PredictConcurrency": str(min(max(os.cpu_count() or 2, 2), 10)),
        "TrainingLauncher": "cpu",
    }


def running(home: Path) -> Client | None:
    """A client of the cloud of `home` as it is: None unless it runs and can answer."""
    cloud = connection.find(home)
    if cloud is None or not _is_deployed(cloud):
        return None
    return _client(cloud, connection.stack_outputs(cloud))


def account_of(stack: str | None, home: Path) -> Account:
    """The account of a stack in AWS, or of the running embedded cloud. Raises Unreachable, NoRegionError."""
    if stack:
        return aws_account(stack)
    cloud = connection.find(home.resolve())
    if cloud is None:
        raise Unreachable(f"the embedded cloud of {home.resolve()} is not up; start it with `protloc up`")
    return Account(connection.STACK, cloud.region, cloud.client, True, "")


def active_model(client: Client) -> str | None:
    key = {"pk": {"S": "alias"}, "sk": {"S": "active"}}
    response = client.client("dynamodb").get_item(
        TableName=client.outputs["ModelsTable"], Key=key, ConsistentRead=True
    )
    version: str | None = response.get("Item", {}).get("version", {}).get("S")
    return version or None


def _is_deployed(cloud: connection.Cloud) -> bool:
    stacks = cloud.client("cloudformation").list_stacks()["StackSummaries"]
    return any(stack["StackName"] == connection.STACK and stack["StackStatus"] in USABLE for stack in stacks)


def _client(cloud: connection.Cloud, outputs: dict[str, str]) -> Client:
    api_url = cloud.api_url(outputs["ApiId"], outputs["ApiUrl"].rstrip("/").rsplit("/", 1)[-1])
    return Client(outputs, api_url, cloud.session, cloud.client, answer_seconds=ANSWER_SECONDS)


def _put_into_service(client: Client, model: Path, tell: Tell) -> None:
    """Put the shipped model into service, or the one before; or wait for the process that does."""
    if not model.is_dir():
        raise UploadProblem(f"no model in {model}; put one into service with `protloc models add ARTIFACT`")
    now = client.models()
    for view in now["models"]:
        if view["state"] != "hosting":
            continue
        if execution := executions.running(client, view["version"]):
            follow(client, execution, view["version"], tell)
            return
    if before := now["previous"]:  # of a stack that was taken down
        promote(client, before, tell)
    else:
        add(client, str(model), tell)


def _is_news(client: Client, model: Path) -> bool:
    """True if this cloud has never seen the shipped model, as after an update of protloc."""
    if not model.is_dir():
        return False
    versions = {view["version"] for view in client.models()["models"]}
    return read_artifact(model).version not in versions


@contextlib.contextmanager
def _one_at_a_time(home: Path, tell: Tell) -> Iterator[None]:
    """Two commands that find a cold home make it ready one after the other."""
    with contextlib.ExitStack() as stack:
        try:
            private.folder(home)
            stack.enter_context(locks.held(home / "ready.lock", READY_SECONDS, tell))
        except OSError as error:
            raise Unreachable(f"{home} cannot be made: {error.strerror}") from None
        except (locks.LockedError, private.NotPrivate) as error:
            raise Unreachable(str(error)) from None
        yield
