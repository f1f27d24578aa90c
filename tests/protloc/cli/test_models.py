"""Model versions: listed with their training data, promoted, rolled back, compared, and their reports."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.services.hosting import Hosting
from protloc.stack.adoption import forget_hosting
from tests.conftest import Embedded
from tests.model.tiny import build_tiny_artifact
from tests.protloc.cli.test_versions import evaluation
from tests.waiting import until


@pytest.fixture(scope="module")
def cloud(start_embedded: Any, tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """A cloud with two hosted versions: tiny-1, and the active one, tiny-2."""
    return with_two(start_embedded(), tmp_path_factory.mktemp("two"))


def with_two(cloud: Embedded, folder: Path) -> Embedded:
    artifact = build_tiny_artifact(folder / "tiny-2", "tiny-2", seed=2)
    assert cloud.protloc("models", "add", artifact, "--yes").exit_code == 0
    return cloud


@pytest.fixture
def active(cloud: Embedded) -> Iterator[None]:
    """Afterwards tiny-2 is the active version again."""
    yield
    assert cloud.protloc("models", "promote", "tiny-2").exit_code == 0


def note_version(cloud: Embedded, version: str, **fields: str) -> None:
    """Write a version into the models table as the state machine would."""
    cloud.client.client("dynamodb").put_item(
        TableName=cloud.client.outputs["ModelsTable"],
        Item={
            "pk": {"S": "version"},
            "sk": {"S": version},
            "created": {"S": "2026-11-24T03:00:00Z"},
            **{name: {"S": value} for name, value in fields.items()},
        },
    )


def store(cloud: Embedded, key: str, body: str) -> str:
    bucket = cloud.client.outputs["ModelsBucket"]
    cloud.client.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())
    return f"s3://{bucket}/{key}"


def states(cloud: Embedded) -> dict[str, str]:
    return {view["version"]: view["state"] for view in cloud.answer("models")["models"]}


def retrainings(cloud: Embedded) -> list[str]:
    """The executions of the state machine so far."""
    machine = cloud.client.outputs["RetrainStateMachine"]
    executions = cloud.client.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    return [each["executionArn"] for each in executions]


@pytest.mark.usefixtures("active")
def test_a_hosted_version_is_promoted_at_once_and_rolled_back_with_one_command(cloud: Embedded) -> None:
    before = cloud.answer("models")
    assert (before["active"], states(cloud)["tiny-1"]) == ("tiny-2", "standby")
    executions = retrainings(cloud)
    now = cloud.answer("models", "promote", "tiny-1")
    assert now == {"active": "tiny-1", "previous": "tiny-2", "revision": before["revision"] + 1}
    back = cloud.protloc("models", "rollback")
    assert back.exit_code == 0, back.stderr
    assert back.stdout == "tiny-2 is the active version again; tiny-1 stands by.\n"
    assert cloud.answer("models", "rollback")["active"] == "tiny-1"
    assert retrainings(cloud) == executions, "at once: no state machine ran"


def test_promoting_the_active_version_changes_nothing(cloud: Embedded) -> None:
    before = cloud.answer("models")["revision"]
    result = cloud.protloc("models", "promote", "tiny-2")
    assert result.stdout == "tiny-2 is the active version and answers new uploads.\n"
    assert cloud.answer("models")["revision"] == before


@pytest.mark.usefixtures("active")
def test_a_version_that_was_rejected_is_hosted_tried_and_promoted(cloud: Embedded, tmp_path: Any) -> None:
    artifact = build_tiny_artifact(tmp_path / "tiny-3", "tiny-3", seed=3)
    from model.serving.artifact import pack

    packed = pack(artifact, tmp_path / "model.tar.gz")
    bucket = cloud.client.outputs["ModelsBucket"]
    cloud.client.client("s3").upload_file(str(packed), bucket, "training/three/model.tar.gz")
    uri = f"s3://{bucket}/training/three/model.tar.gz"
    origin = {"snapshot": "0123456789abcdef", "created": "2026-10-01T00:00:00Z"}
    note_version(cloud, "tiny-3", state="rejected", reason="Q10 fell", artifact=uri, **origin)
    result = cloud.protloc("models", "promote", "tiny-3")
    assert result.exit_code == 0, result.stderr
    assert "tiny-3 is rejected (Q10 fell)" in result.stderr and "starting its server" in result.stderr
    assert cloud.answer("models")["active"] == "tiny-3"
    (view,) = (each for each in cloud.client.models()["models"] if each["version"] == "tiny-3")
    assert {name: view[name] for name in origin} == origin


@pytest.mark.parametrize(
    ("version", "fields", "message"),
    [
        ("none-such", None, "there is no model version none-such"),
        ("at-work", {"state": "training"}, "at-work is training just now"),
        ("never-made", {"state": "failed", "reason": "no data"}, "there is nothing to host"),
    ],
)
def test_a_version_that_cannot_be_promoted_is_refused_and_changes_nothing(
    cloud: Embedded, version: str, fields: dict[str, str] | None, message: str
) -> None:
    if fields is not None:
        note_version(cloud, version, **fields)
    result = cloud.protloc("models", "promote", version)
    assert result.exit_code == 2 and message in result.stderr
    assert cloud.answer("models")["active"] == "tiny-2"


def test_a_version_activated_meanwhile_is_not_overwritten(
    cloud: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protloc.stack.client import Client

    real_models = Client.models

    def as_it_was_before(client: Client) -> dict[str, Any]:
        alias = real_models(client)
        return alias | {"revision": alias["revision"] - 1}

    monkeypatch.setattr(Client, "models", as_it_was_before)
    result = cloud.protloc("models", "promote", "tiny-1")
    assert result.exit_code == 2 and "revision" in result.stderr
    monkeypatch.undo()
    assert cloud.answer("models")["active"] == "tiny-2"


@pytest.mark.usefixtures("active")
def test_an_activation_whose_answer_was_lost_is_not_taken_for_a_conflict(cloud: Embedded) -> None:
    before = cloud.client.models()["revision"]
    cloud.client.activate("tiny-1", before)
    assert cloud.client.activate("tiny-1", before)["active"] == "tiny-1"
    assert cloud.client.models()["revision"] == before + 1


def test_versions_are_listed_with_date_data_figures_state_and_reason(cloud: Embedded) -> None:
    store(cloud, "snapshots/abc/manifest.json", json.dumps({"splits": {"training": {"proteins": 4321}}}))
    note_version(
        cloud,
        "model-9",
        state="rejected",
        reason="Q10 70.0% → 65.0%\x1b[2J",
        snapshot="abc",
        metrics='{"q10": 0.65, "macro_f1": 0.5}',
    )
    output = cloud.protloc("models").stdout
    line = next(line for line in output.splitlines() if "model-9" in line)
    for word in ("rejected", "2026-11-24 03:00", "4,321", "0.650", "0.500"):
        assert word in line
    assert "model-9: Q10 70.0% → 65.0%\\x1b[2J" in output
    views = {view["version"]: view for view in cloud.answer("models")["models"]}
    assert views["model-9"]["proteins"] == 4321
    assert views["tiny-1"]["proteins"] is None


def test_two_versions_are_compared_by_the_evaluation_of_one_against_the_other(cloud: Embedded) -> None:
    where = store(cloud, "evaluations/model-8/evaluation.json", json.dumps(evaluation("tiny-2", "model-8")))
    note_version(cloud, "model-8", state="rejected", evaluation=where)
    comparison = cloud.answer("models", "compare", "tiny-2", "model-8")
    assert comparison["paired"] and comparison["figures"]["q10"]["values"] == [0.70, 0.75]
    assert "+0.040 to +0.070" in cloud.protloc("models", "compare", "tiny-2", "model-8").stdout
    comparison = cloud.answer("models", "compare", "tiny-1", "model-8")
    assert not comparison["paired"] and "tiny-1" in comparison["note"]
    assert cloud.protloc("models", "compare", "tiny-1", "none-such").exit_code == 2


def test_the_report_of_a_version_is_fetched(cloud: Embedded, tmp_path: Any) -> None:
    where = store(cloud, "evaluations/model-7/report.html", "<html>judged</html>")
    note_version(cloud, "model-7", state="rejected", report=where)
    result = cloud.protloc("models", "report", "model-7")
    assert result.stdout == "model-7.report.html\n"
    assert (tmp_path / "model-7.report.html").read_text() == "<html>judged</html>"
    assert cloud.protloc("models", "report", "model-7", "-o", "-").stdout == "<html>judged</html>"
    assert cloud.protloc("models", "report", "model-7", "-o", "no/such/folder.html").exit_code == 2
    never = cloud.protloc("models", "report", "tiny-1")
    assert never.exit_code == 2 and "never judged" in never.stderr


@pytest.mark.slow
def test_a_stack_made_again_hosts_the_version_that_was_active(start_embedded: Any, tmp_path: Path) -> None:
    """The table outlives the stack and names versions that nothing hosts any more."""
    cloud = with_two(start_embedded(), tmp_path)
    clients = cloud.client.client
    table = cloud.client.outputs["ModelsTable"]
    hosting = Hosting(clients("sagemaker"), clients("application-autoscaling"), clients("cloudwatch"))
    for version in ("tiny-1", "tiny-2"):
        component = f"{cloud.client.outputs['EndpointName']}-{version}"
        until(lambda component=component: hosting.remove(component, promised=False))
    components = {
        "pk": {"S": "lock"},
        "sk": {"S": "retraining"},
        "holder": {"S": "gone"},
        "expires": {"N": "9999999999"},
    }
    clients("dynamodb").put_item(TableName=table, Item=components | {"fence": {"N": "7"}})
    before = cloud.answer("models")
    forget_hosting(clients("dynamodb"), table)
    now = cloud.answer("models")
    assert (now["active"], now["previous"], now["revision"]) == (None, "tiny-2", before["revision"] + 1)
    assert states(cloud)["tiny-1"] == states(cloud)["tiny-2"] == "retired"
    forget_hosting(clients("dynamodb"), table)
    assert cloud.answer("models") == now
    other = build_tiny_artifact(tmp_path / "other", "other", seed=3)
    added = cloud.protloc("models", "add", other, "--if-none", "--yes")
    assert added.exit_code == 0, added.output
    assert cloud.answer("models")["active"] == "tiny-2" and states(cloud)["tiny-2"] == "in_service"


def test_a_model_of_other_locations_is_refused_before_anything_is_sent(
    cloud: Embedded, tmp_path: Path
) -> None:
    artifact = build_tiny_artifact(tmp_path / "other", "other-1")
    description = json.loads((artifact / "artifact.json").read_text())
    description["locations"][0] = "Cilium"
    (artifact / "artifact.json").write_text(json.dumps(description))
    before = retrainings(cloud)
    result = cloud.protloc("models", "add", artifact, "--yes")
    assert result.exit_code == 2 and "found 'Cilium' and no such list" in " ".join(result.output.split())
    assert retrainings(cloud) == before and "other-1" not in states(cloud)
