"""The functions of retraining: plan, smoke, activate and retire, over moto's tables and buckets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

import functions.activate
from functions.activate import NotNow, activate
from functions.domain.errors import BrokenContract, InputError
from functions.plan import NO_DATA, plan
from functions.receive import receive
from functions.retire import DRAINED, STOPPED, remove, retire
from functions.retry import NothingToRetry, retry
from functions.services.dynamodb import now_seconds
from functions.services.hosting import ComponentStays, Hosting
from functions.services.models_table import ALIAS, LATEST, LOCK, SOURCE
from functions.smoke import GOLDEN, smoke
from tests.functions.test_events import Context
from tests.functions.test_flow import fasta
from tests.functions.world import World, answer_for

LABELS = b">P1 Nucleus-S\nMKV\n"


def table(world: World) -> Any:
    return world.database.Table("ModelsTable")


def version(world: World, name: str, state: str = "in_service", **others: Any) -> None:
    item = {"pk": "version", "sk": name, "state": state, "artifact": f"s3://models/{name}", **others}
    table(world).put_item(Item=item)


def alias(world: World, name: str, previous: str = "", changed: int = 0, revision: int = 1) -> None:
    item = {"version": name, "previous": previous, "revision": revision, "changed": changed}
    table(world).put_item(Item=ALIAS | item)


def state(world: World, name: str) -> str:
    return str(world.aws.models.get(name)["state"])  # type: ignore[index]


# plan


def put(world: World, key: str, body: bytes = LABELS, bucket: str = "uploads") -> None:
    world.s3.put_object(Bucket=bucket, Key=key, Body=body)


def program(world: World, uri: str) -> None:
    table(world).put_item(Item=SOURCE | {"uri": uri})


def test_a_plan_pins_the_labels_and_the_base_data(empty_world: World) -> None:
    world = empty_world
    put(world, "labels/mine.fasta")
    put(world, "labels/mine.fasta", LABELS + b">P2 Cytoplasm-S\nMKW\n")
    put(world, "labels/notes.docx")
    put(world, "other.fasta")
    put(world, "data/base/deeploc.fasta", bucket="models")
    version(world, "one")
    alias(world, "one", revision=4)
    with pytest.raises(InputError, match="no training program"):
        plan({}, world.aws)
    program(world, "s3://models/code/1/sourcedir.tar.gz")
    planned = plan({}, world.aws)
    assert planned["source"] == "s3://models/code/1/sourcedir.tar.gz"
    assert (planned["champion"], planned["champion_artifact"], planned["revision"]) == (
        "one",
        "s3://models/one",
        4,
    )
    assert planned["nothing"] == ""
    key = f"snapshots/{planned['snapshot']}/sources.json"
    written = json.loads(world.s3.get_object(Bucket="models", Key=key)["Body"].read())
    assert [(each["uri"], each["kind"]) for each in written["sources"]] == [
        ("s3://models/data/base/deeploc.fasta", "base"),
        ("s3://uploads/labels/mine.fasta", "labels"),
    ]
    assert written["sources"][1]["size"] > len(LABELS)  # the newer one
    pinned = written["sources"][1]["version_id"]
    assert (
        world.s3.get_object(Bucket="uploads", Key="labels/mine.fasta", VersionId=pinned)["ContentLength"] > 20
    )
    assert (written["snapshot"], written["parent"]) == (planned["snapshot"], None)


def test_the_same_files_are_the_same_snapshot_and_nothing_new_once_they_were_judged(
    empty_world: World,
) -> None:
    world = empty_world
    assert plan({}, world.aws)["nothing"] == NO_DATA
    program(world, "s3://models/code/1/sourcedir.tar.gz")
    put(world, "labels/mine.fasta")
    first = plan({}, world.aws)
    put(world, "labels/mine.fasta")  # a new version with the same in it
    assert plan({}, world.aws)["snapshot"] == first["snapshot"]
    table(world).put_item(Item=LATEST | {"snapshot": first["snapshot"], "version": "two"})
    assert "two" in plan({}, world.aws)["nothing"]
    again = plan({"again": True}, world.aws)
    assert (again["snapshot"], again["nothing"]) == (first["snapshot"], "")
    put(world, "labels/more.tsv")
    more = plan({}, world.aws)
    assert more["nothing"] == "" and more["snapshot"] != first["snapshot"]
    key = f"snapshots/{more['snapshot']}/sources.json"
    assert (
        json.loads(world.s3.get_object(Bucket="models", Key=key)["Body"].read())["parent"]
        == first["snapshot"]
    )


def test_hyperparameters_are_the_stacks_with_those_of_the_input_over_them(empty_world: World) -> None:
    world = empty_world
    stacks = '{"start": "champion", "epochs": 9}'
    object.__setattr__(world.aws.settings, "training_hyperparameters", stacks)
    assert plan({}, world.aws)["hyperparameters"] == {"epochs": "9"}  # there is no champion to start from
    version(world, "one")
    alias(world, "one")
    planned = plan({"hyperparameters": {"epochs": 3, "precision": "fp32"}}, world.aws)
    assert planned["hyperparameters"] == {"start": '"champion"', "epochs": "3", "precision": '"fp32"'}
    assert plan({"hyperparameters": {"start": None}}, world.aws)["hyperparameters"] == {"epochs": "9"}
    for name in ("sagemaker_program", "model-version"):
        with pytest.raises(InputError, match=name):
            plan({"hyperparameters": {name: "x"}}, world.aws)


def test_an_artifact_needs_no_labels(empty_world: World) -> None:
    planned = plan({"artifact": "s3://models/two"}, empty_world.aws)
    assert (planned["nothing"], planned["champion"], planned["revision"]) == ("", "", 0)


# smoke


def golden(world: World, shift: float = 0.0) -> str:
    sequences = ["MKV" + "A" * n for n in range(8)]
    told = []
    for sequence in sequences:
        answer = answer_for(sequence)
        told.append(
            {
                "sequence": sequence,
                "probabilities": list(answer.probabilities),
                "membrane": answer.membrane + shift,
            }
        )
    put(world, "evaluations/two/evaluation.json", json.dumps({"golden": told}).encode(), bucket="models")
    return "s3://models/evaluations/two/evaluation.json"


def test_a_version_must_answer_as_its_evaluation_says(empty_world: World) -> None:
    world = empty_world
    tried = smoke("two", "stack-two", golden(world, 0.005), world.aws)
    assert (tried["of"], tried["compared"]) == (8, 8)
    with pytest.raises(BrokenContract, match=r"within 0\.01, found 0\.020"):
        smoke("two", "stack-two", golden(world, 0.02), world.aws)
    put(world, "evaluations/two/evaluation.json", b'{"golden": []}', bucket="models")
    with pytest.raises(BrokenContract, match="no golden answers"):
        smoke("two", "stack-two", "s3://models/evaluations/two/evaluation.json", world.aws)


def test_a_version_without_evaluation_must_answer_alone_as_in_company(
    empty_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = empty_world
    assert smoke("two", "stack-two", "", world.aws)["of"] == len(GOLDEN)
    given = world.model.invoke

    def moody(sequences: list[str], **named: str) -> Any:
        answers = given(sequences, **named)
        return answers if len(sequences) > 1 else [answer_for("A")]

    monkeypatch.setattr(world.model, "invoke", moody)
    with pytest.raises(BrokenContract, match="in company"):
        smoke("two", "stack-two", "", world.aws)


def test_a_version_must_answer_in_time(empty_world: World) -> None:
    object.__setattr__(empty_world.aws.settings, "smoke_seconds", 0.0)
    with pytest.raises(BrokenContract, match="within 0 s"):
        smoke("two", "stack-two", "", empty_world.aws)


# activate


@pytest.fixture
def two_versions(empty_world: World) -> World:
    for name in ("one", "two"):
        version(empty_world, name)
    alias(empty_world, "two", previous="one", revision=5)
    return empty_world


def test_a_rollback_is_one_write_and_can_be_taken_back(two_versions: World) -> None:
    world = two_versions
    back = activate("one", 5, world.aws)
    assert (back.version, back.previous, back.revision) == ("one", "two", 6)
    assert now_seconds() - back.changed < 60
    forth = activate("two", None, world.aws)
    assert (forth.version, forth.previous, forth.revision) == ("two", "one", 7)
    assert activate("two", 7, world.aws) == forth  # already


def test_what_is_not_in_service_or_was_changed_meanwhile_is_refused(
    two_versions: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_versions
    before = world.aws.models.alias()
    with pytest.raises(KeyError):
        activate("three", None, world.aws)
    with pytest.raises(NotNow, match="expected revision 4, found 5"):
        activate("one", 4, world.aws)
    version(world, "one", "retired")
    with pytest.raises(NotNow, match="found one retired"):
        activate("one", None, world.aws)
    version(world, "one")
    monkeypatch.setattr(world.aws.models, "alias", lambda: before._replace(revision=4))
    with pytest.raises(NotNow, match="changed just now"):  # between reading and writing
        activate("one", None, world.aws)
    monkeypatch.undo()
    assert world.aws.models.alias() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"version": "one"}', 200),
        ('{"version": "one", "revision": 5}', 200),
        ('{"version": "one", "revision": 5.0}', 200),
        ('{"version": "one", "revision": 9}', 409),
        ('{"version": "none"}', 404),
        ('{"version": ""}', 400),
        ('{"version": 3}', 400),
        ('{"version": "one", "revision": "5"}', 400),
        ('{"version": "one", "also": 1}', 400),
        ("[]", 400),
        ("{", 400),
        (None, 400),
    ],
)
def test_the_api_says_what_became_of_it(
    two_versions: World, monkeypatch: pytest.MonkeyPatch, body: str | None, status: int
) -> None:
    monkeypatch.setattr(functions.activate, "services", lambda: two_versions.aws)
    answer = functions.activate.handler({"body": body}, Context())
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])


# retire

GONE = ""


class Removed:
    """In place of three clients: notes what is taken away; what is named missing answers as AWS would."""

    def __init__(self) -> None:
        self.components: list[str] = []
        self.jobs: list[str] = []
        self.packages: list[str] = []
        self.failing, self.message = "", "no"
        self.kept_scaling = True
        self.statuses: dict[str, str] = {}  # of components; others are in service until they are deleted
        self.outcomes: dict[str, str] = {}  # what an accepted deletion makes of a component; others are gone

    def delete_alarms(self, AlarmNames: list[str]) -> None:  # noqa: N803
        self.kept_scaling = False
        assert AlarmNames[0].endswith("-wake-up")

    def deregister_scalable_target(self, **_named: str) -> None:
        self.kept_scaling = False
        raise ClientError({"Error": {"Code": "ObjectNotFoundException", "Message": "none"}}, "Deregister")

    def delete_inference_component(self, InferenceComponentName: str) -> None:  # noqa: N803
        if self.failing:
            raise ClientError(
                {"Error": {"Code": self.failing, "Message": self.message}}, "DeleteInferenceComponent"
            )
        self.describe_inference_component(InferenceComponentName)
        self.components.append(InferenceComponentName)
        self.statuses[InferenceComponentName] = self.outcomes.get(InferenceComponentName, GONE)

    def describe_inference_component(self, InferenceComponentName: str) -> dict[str, str]:  # noqa: N803
        status = self.statuses.get(InferenceComponentName, "InService")
        if status == GONE:
            message = f'Could not find inference component "{InferenceComponentName}".'
            raise ClientError(
                {"Error": {"Code": "ValidationException", "Message": message}}, "DescribeInferenceComponent"
            )
        return {"InferenceComponentStatus": status, "FailureReason": "an instance does not answer"}

    def delete_model_package(self, ModelPackageName: str) -> None:  # noqa: N803
        if ModelPackageName in self.packages:
            message = f"ModelPackage {ModelPackageName} does not exist."
            raise ClientError(
                {"Error": {"Code": "ValidationException", "Message": message}}, "DeleteModelPackage"
            )
        self.packages.append(ModelPackageName)

    def stop_training_job(self, TrainingJobName: str) -> None:  # noqa: N803
        if TrainingJobName.endswith("-snapshot"):
            message = "The request was rejected because the training job is in status Completed."
            raise ClientError(
                {"Error": {"Code": "ValidationException", "Message": message}}, "StopTrainingJob"
            )
        self.jobs.append(TrainingJobName)

    def delete_model(self, ModelName: str) -> None:  # noqa: N803
        message = f'Could not find model "{ModelName}".'
        raise ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "DeleteModel")


class Machine:
    """Executions and how they stand."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = statuses

    def describe_execution(self, executionArn: str) -> dict[str, str]:  # noqa: N803
        if executionArn not in self.statuses:
            raise ClientError(
                {"Error": {"Code": "ExecutionDoesNotExist", "Message": ""}}, "DescribeExecution"
            )
        return {"status": self.statuses[executionArn]}


@pytest.fixture
def removed() -> Iterator[Removed]:
    yield Removed()


def hosting(removed: Removed) -> Hosting:
    return Hosting(removed, removed, removed)


def test_only_drained_versions_are_taken_down(two_versions: World, removed: Removed) -> None:
    world = two_versions
    version(world, "zero")
    version(world, "pinned")
    version(world, "failed", "failed")
    alias(world, "pinned")
    receive(world.upload(fasta(3)), world.aws)  # in work, with the version it began with
    alias(world, "two", previous="one", changed=now_seconds() - 60)
    assert retire(world.aws, hosting(removed), Machine()) == 0  # whoever read the alias before may be slow
    alias(world, "two", previous="one", changed=now_seconds() - 4000)
    assert retire(world.aws, hosting(removed), Machine()) == 1
    assert removed.components == ["stack-zero"]
    assert {name: state(world, name) for name in ("zero", "one", "two", "pinned", "failed")} == {
        "zero": "retired",
        "one": "in_service",
        "two": "in_service",
        "pinned": "in_service",
        "failed": "failed",
    }
    assert world.aws.models.get("zero")["reason"] == DRAINED  # type: ignore[index]


def test_a_version_half_taken_down_is_taken_down_the_next_time(two_versions: World, removed: Removed) -> None:
    world = two_versions
    version(world, "zero")
    alias(world, "two", previous="one", changed=now_seconds() - 4000)
    removed.failing = "ThrottlingException"
    with pytest.raises(ClientError):
        retire(world.aws, hosting(removed), Machine())
    assert state(world, "zero") == "retiring"
    with pytest.raises(NotNow, match="retiring"):
        activate("zero", None, world.aws)
    removed.failing = ""
    assert retire(world.aws, hosting(removed), Machine()) == 1
    assert state(world, "zero") == "retired"


def test_a_component_that_may_not_go_yet_keeps_its_scaling_and_is_tried_again(
    two_versions: World, removed: Removed
) -> None:
    """Taken for gone, its instance would be billed for ever."""
    world = two_versions
    version(world, "zero")
    alias(world, "two", previous="one", changed=now_seconds() - 4000)
    removed.failing, removed.message = "ValidationException", "Cannot delete: it is in status Creating."
    with pytest.raises(ClientError):
        retire(world.aws, hosting(removed), Machine())
    assert (state(world, "zero"), removed.kept_scaling) == ("retiring", True)
    removed.failing = ""
    assert retire(world.aws, hosting(removed), Machine()) == 1
    assert (removed.components, removed.kept_scaling) == (["stack-zero"], False)


def test_a_version_is_retired_once_its_component_is_seen_to_be_gone(
    two_versions: World, removed: Removed
) -> None:
    """That a deletion is accepted says nothing of how it ends."""
    world = two_versions
    version(world, "stopped", "hosting", execution="stopped")
    removed.outcomes["stack-stopped"] = "Deleting"
    for _ in range(2):
        assert retire(world.aws, hosting(removed), Machine()) == 0
        assert (state(world, "stopped"), removed.kept_scaling) == ("retiring", True)
    assert removed.components == ["stack-stopped"]  # asked for once
    removed.statuses["stack-stopped"] = GONE
    assert retire(world.aws, hosting(removed), Machine()) == 1
    assert (state(world, "stopped"), removed.kept_scaling) == ("failed", False)
    assert world.aws.models.get("stopped")["reason"] == STOPPED  # type: ignore[index]


@pytest.mark.parametrize("left_as", ["Failed", "InService"])
def test_a_deletion_that_came_to_nothing_is_asked_for_again_and_told(
    two_versions: World, removed: Removed, left_as: str
) -> None:
    world = two_versions
    version(world, "zero")
    alias(world, "two", previous="one", changed=now_seconds() - 4000)
    removed.outcomes["stack-zero"] = left_as
    assert retire(world.aws, hosting(removed), Machine()) == 0
    for asked in (2, 3):
        with pytest.raises(ComponentStays, match=f"stack-zero .*{left_as}: an instance does not answer"):
            retire(world.aws, hosting(removed), Machine())
        assert (state(world, "zero"), removed.kept_scaling) == ("retiring", True)
        assert len(removed.components) == asked
    del removed.outcomes["stack-zero"]
    with pytest.raises(ComponentStays):
        retire(world.aws, hosting(removed), Machine())
    assert retire(world.aws, hosting(removed), Machine()) == 1
    assert (state(world, "zero"), removed.kept_scaling) == ("retired", False)


def test_a_version_that_fails_stands_in_no_others_way(
    two_versions: World, removed: Removed, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_versions
    for name in ("a", "b", "c"):
        version(world, name, created=name, job=f"stack-{name}")
    alias(world, "two", previous="one", changed=now_seconds() - 4000)
    table(world).put_item(Item=LOCK | {"holder": "over", "fence": 3, "expires": now_seconds() + 999})
    stop = removed.stop_training_job

    def refuse(TrainingJobName: str) -> None:  # noqa: N803
        if TrainingJobName.startswith("stack-b-"):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "StopTrainingJob")
        stop(TrainingJobName)

    monkeypatch.setattr(removed, "stop_training_job", refuse)
    with pytest.raises(ClientError, match="StopTrainingJob"):
        retire(world.aws, hosting(removed), Machine())
    assert sorted(removed.components) == ["stack-a", "stack-c"]
    assert [state(world, name) for name in ("a", "b", "c")] == ["retired", "retiring", "retired"]
    assert world.aws.models.holder() is None


def test_a_version_is_not_taken_down_while_the_alias_changes(two_versions: World, removed: Removed) -> None:
    world = two_versions
    version(world, "zero")
    before = world.aws.models.alias()
    activate("one", None, world.aws)
    assert not world.aws.models.begin_retiring("zero", before, DRAINED)
    assert state(world, "zero") == "in_service"


def test_what_a_stopped_retraining_left_is_ended_and_its_lock_freed(
    two_versions: World, removed: Removed
) -> None:
    world = two_versions
    version(world, "stopped", "hosting", execution="stopped", job="stack-7")
    version(world, "forgotten", "training", execution="forgotten")
    version(world, "running", "training", execution="running")
    version(world, "failed", "failed", execution="failed", leftover=True, reason="no memory")
    table(world).put_item(Item=LOCK | {"holder": "stopped", "fence": 3, "expires": now_seconds() + 999})
    machine = Machine(stopped="ABORTED", running="RUNNING", failed="FAILED")
    assert retire(world.aws, hosting(removed), machine) == 3
    assert removed.jobs == ["stack-7-train", "stack-7-evaluate"]
    assert sorted(removed.components) == ["stack-failed", "stack-forgotten", "stack-stopped"]
    assert [state(world, name) for name in ("stopped", "forgotten", "running")] == [
        "failed",
        "failed",
        "training",
    ]
    assert world.aws.models.get("stopped")["reason"] == STOPPED  # type: ignore[index]
    assert world.aws.models.get("failed")["reason"] == "no memory"  # type: ignore[index]
    assert world.aws.models.holder() is None
    table(world).put_item(Item=LOCK | {"holder": "running", "fence": 4, "expires": now_seconds() + 999})
    assert retire(world.aws, hosting(removed), machine) == 0
    assert world.aws.models.holder() == "running"


def test_the_state_machine_has_removed_what_it_made_of_a_version(
    running_world: World, removed: Removed
) -> None:
    """Its package at once; its scaling when the component is seen to be gone, for which it asks again."""
    aws, package = running_world.aws, "arn:aws:sagemaker:::model-package/stack/1"
    removed.outcomes["stack-bad"] = "Deleting"
    for _ in range(2):
        with pytest.raises(ComponentStays, match="stack-bad is being deleted"):
            remove("bad", package, aws, hosting(removed))
        assert (removed.packages, removed.kept_scaling) == ([package], True)
    removed.statuses["stack-bad"] = GONE
    remove("bad", "", aws, hosting(removed))
    assert (removed.components, removed.kept_scaling) == (["stack-bad"], False)


def test_a_package_that_the_state_machine_could_not_remove_is_removed_with_its_version(
    running_world: World, removed: Removed
) -> None:
    version(running_world, "bad", "failed", leftover=1, package="arn:package", reason="no")
    assert retire(running_world.aws, hosting(removed), Machine()) == 1
    assert removed.packages == ["arn:package"]


def test_an_upload_of_a_retired_version_is_not_retried(running_world: World) -> None:
    world = running_world
    identity = world.run(world.upload(fasta(3)))
    world.database.Table("UploadsTable").update_item(
        Key={"pk": identity, "sk": "upload"},
        UpdateExpression="SET failed = :one",
        ExpressionAttributeValues={":one": 1},
    )
    version(world, "test-1", "retired")
    with pytest.raises(NothingToRetry, match="test-1 is no longer there"):
        retry(identity, "2", world.aws)
    version(world, "test-1")
    assert retry(identity, "2", world.aws).status == "running"


@pytest.mark.parametrize(
    ("reasons", "calls"),
    [(["TransactionConflict", "None"], 2), (["None", "ThrottlingError"], 2), (["ConditionalCheckFailed"], 1)],
)
def test_only_what_was_found_changed_refuses_an_activation(
    reasons: list[str], calls: int, two_versions: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = two_versions.aws.models.table.meta.client
    write, made = client.transact_write_items, []

    def cancelled_once(**request: Any) -> Any:
        made.append(request)
        if len(made) > 1:
            return write(**request)
        answer: Any = {
            "Error": {"Code": "TransactionCanceledException", "Message": ""},
            "CancellationReasons": [{"Code": reason} for reason in reasons],
        }
        raise ClientError(answer, "TransactWriteItems")

    monkeypatch.setattr(client, "transact_write_items", cancelled_once)
    monkeypatch.setattr("functions.services.models_table.time.sleep", lambda _: None)
    models = two_versions.aws.models
    assert models.activate("one", models.alias()) == (calls == 2)
    assert len(made) == calls
