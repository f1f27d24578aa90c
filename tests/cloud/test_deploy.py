"""A deployment is a pure function of the files."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from model import source
from protloc.cloud import deploy
from protloc.cloud.connection import Cloud
from tests.cloud.conftest import STACK, Stack


class Body(io.BytesIO):
    """An answer's body as botocore reads it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def test_the_same_files_are_the_same_package(tmp_path: Path) -> None:
    copy = shutil.copytree(STACK.parent, tmp_path / "stack")
    (copy / "functions" / "__pycache__").mkdir(exist_ok=True)
    (copy / "functions" / "__pycache__" / "x.pyc").write_bytes(b"x")
    first, second = deploy.package(STACK, {}), deploy.package(copy / "template.yaml", {})
    assert first == second


def test_a_changed_file_or_parameter_is_another_package(tmp_path: Path) -> None:
    copy = shutil.copytree(STACK.parent, tmp_path / "stack")
    before = deploy.package(copy / "template.yaml", {})[0]["Metadata"]
    assert deploy.package(copy / "template.yaml", {"Concurrency": "3"})[0]["Metadata"] != before
    (copy / "machine.asl.yaml").write_text((copy / "machine.asl.yaml").read_text() + "\n")
    assert deploy.package(copy / "template.yaml", {})[0]["Metadata"] != before


def test_parent_packages_hold_the_sources(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "split.py").write_text("x = 1\n")
    content = deploy.zipped(tmp_path / "functions", Path("functions"))
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["functions/split.py"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(deploy.DeployError, match="nowhere, which is not there"):
        deploy.zipped(tmp_path / "nowhere", Path())


def test_a_stack_that_cannot_be_made_says_what_failed(cloud: Cloud, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        "Resources:\n  Config:\n    Type: AWS::SageMaker::EndpointConfig\n    Properties:\n"
        "      ProductionVariants: [{VariantName: v, InstanceType: ml.m5.large}]\n"
    )
    with pytest.raises(deploy.DeployError, match=r"Config .*ExecutionRoleArn is required"):
        deploy.deploy(cloud, template, "broken")
    with pytest.raises(deploy.DeployError, match="Unrecognized resource types"):
        template.write_text("Resources:\n  X:\n    Type: AWS::Nothing::Here\n")
        deploy.deploy(cloud, template, "unknown")


def test_a_page_for_a_team_is_refused_with_what_there_is_instead(cloud: Cloud) -> None:
    with pytest.raises(deploy.DeployError, match=r"no page for a team \(TeamPage\).*`protloc open` serves"):
        deploy.deploy(cloud, stack="team", parameters={"TeamPage": "true", "TrainingLauncher": "cpu"})
    cloud.client("cloudformation").delete_stack(StackName="team")


def test_a_stack_whose_creation_was_asked_for_twice_is_made_once(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As botocore asks again where a connection ends before the answer."""
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: twice}}}\n")
    asked = []

    def lose_first(request: Any, **_: object) -> None:
        asked.append(request)
        if len(asked) == 1:
            assert URLLib3Session().send(request).status_code == 200
            raise ConnectionClosedError(endpoint_url=request.url)

    make = Cloud.client

    def client(of: Cloud, service: str, **settings: Any) -> Any:
        made = make(of, service, **settings)
        made.meta.events.register("before-send.cloudformation.CreateStack", lose_first)
        return made

    monkeypatch.setattr(Cloud, "client", client)
    deploy.deploy(cloud, template, "twice")
    assert len(asked) == 2
    topics = make(cloud, "sns").list_topics()["Topics"]
    assert [topic["TopicArn"].rpartition(":")[2] for topic in topics].count("twice") == 1


def test_a_changed_parameter_updates_the_stack_in_place(stack: Stack) -> None:
    outputs = deploy.deploy(stack.cloud, STACK, "test", {"Concurrency": "3"})
    assert outputs == stack.outputs
    mapping = stack.client("lambda").list_event_source_mappings(FunctionName=outputs["NoteFunction"])
    assert mapping["EventSourceMappings"][0]["ScalingConfig"] == {"MaximumConcurrency": 3}
    assert deploy.deploy(stack.cloud, STACK, "test") == stack.outputs


def test_waiting_for_a_stack_that_is_gone_ends_at_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "DEPLOY_SECONDS", 1)
    with pytest.raises(deploy.DeployError, match="stack never-there is gone"):
        deploy._wait(cloud.client("cloudformation"), "never-there")


def test_a_stack_that_cannot_be_looked_at_is_not_taken_for_one_that_is_gone(cloud: Cloud) -> None:
    client = cloud.client("cloudformation")
    client.meta.events.register(
        "before-send.cloudformation.*",
        lambda **_: AWSResponse(
            "", 403, {}, Body(b"<Response><Error><Code>AccessDenied</Code></Error></Response>")
        ),
    )
    with pytest.raises(deploy.DeployError, match="AccessDenied"):
        deploy._wait(client, "test")


def test_a_cloud_that_does_not_answer_is_an_error_of_the_deployment(tmp_path: Path) -> None:
    nowhere = Cloud(pid=0, port=9, home=tmp_path)
    with pytest.raises(deploy.DeployError, match=r"does not answer.*127\.0\.0\.1:9"):
        deploy.deploy(nowhere, STACK, "test")


def test_a_deployment_takes_as_long_as_it_goes_on(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on standing still, not on the whole."""
    monkeypatch.setattr(deploy, "DEPLOY_SECONDS", 0)
    statuses = iter(["CREATE_IN_PROGRESS"] * 3 + ["CREATE_COMPLETE"])
    monkeypatch.setattr(deploy, "_describe", lambda client, stack: {"StackStatus": next(statuses)})
    happened = iter([1, 2, 3])
    monkeypatch.setattr(deploy, "_events", lambda client, stack: next(happened))
    assert deploy._wait(cloud.client("cloudformation"), "test") == "CREATE_COMPLETE"
    statuses, happened = iter(["CREATE_IN_PROGRESS"] * 3), iter([1, 1, 1])
    with pytest.raises(deploy.DeployError, match="did not go on"):
        deploy._wait(cloud.client("cloudformation"), "test")


def test_another_program_stays_beside_the_one_that_a_retraining_pinned(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack trains with the very archive that `model.source` makes."""
    s3, bucket, table = stack.client("s3"), stack.outputs["Bucket"], stack.outputs["Table"]
    first = source.publish(stack.client, bucket, table)
    stored = s3.get_object(Bucket=bucket, Key=first.removeprefix(f"s3://{bucket}/"))["Body"].read()
    assert stored == source.archive()
    monkeypatch.setattr(source, "archive", lambda: b"of somebody else")
    second = source.publish(stack.client, bucket, table)
    assert second != first
    assert s3.get_object(Bucket=bucket, Key=first.removeprefix(f"s3://{bucket}/"))["Body"].read() == stored
    assert stack.rows("source")["training"]["uri"]["S"] == second
