"""retire: takes down versions that are drained or were left, and nothing else."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from functions.activate import NotNow, activate
from functions.receive import receive
from functions.retire import DRAINED, STOPPED, remove, retire
from functions.services.dynamodb import now_seconds
from functions.services.hosting import ComponentStays, Hosting
from functions.services.models_table import LOCK
from tests.functions.test_flow import fasta
from tests.functions.versions import alias, state, table, version
from tests.functions.world import World

# retire

GONE = ""


class Removed:
    """In place of three clients: notes the resources taken away; those named missing answer as on AWS."""

    def __init__(self) -> None:
        self.components: list[str] = []
        self.jobs: list[str] = []
        self.packages: list[str] = []
        self.failing, self.message = "", "no"
        self.kept_scaling = True
        self.statuses: dict[str, str] = {}  # of components; others are in service until they are deleted
        self.outcomes: dict[
            str, str
        ] = {}  # statuses of components after an accepted deletion; others are gone

    def delete_alarms(self, AlarmNames: list[str]) -> None:  # noqa: N803
        self.kept_scaling = False
        (name,) = AlarmNames  # of several, AWS deletes none where one is missing
        assert name.endswith(("-wake-up", "-rest"))
        if name.endswith("-rest"):  # as of a component of an older version
            raise ClientError({"Error": {"Code": "ResourceNotFound", "Message": "none"}}, "DeleteAlarms")

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
    assert retire(world.aws, hosting(removed), Machine()) == 0  # a function that read it before may be slow
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
    for deletions in (2, 3):
        with pytest.raises(ComponentStays, match=f"stack-zero .*{left_as}: an instance does not answer"):
            retire(world.aws, hosting(removed), Machine())
        assert (state(world, "zero"), removed.kept_scaling) == ("retiring", True)
        assert len(removed.components) == deletions
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


def test_a_stopped_retraining_is_cleaned_up_and_its_lock_freed(two_versions: World, removed: Removed) -> None:
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
