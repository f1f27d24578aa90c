"""Every state of retraining failing in every way it can, over the real state machine.

After any failure, the champion still answers, nothing of the challenger is left, the lock is free, and the
reason can be read. Most tasks are made to fail by taking away the permission they need, the rest by real
faults.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.serving.artifact import pack
from protloc.embedded import running
from tests.conftest import Embedded
from tests.end_to_end.retraining import QUICK, ending, entered, lock, model, put_labels, remains
from tests.end_to_end.test_permissions import forbidden, without
from tests.model.tiny import build_tiny_artifact
from tests.waiting import until

pytestmark = pytest.mark.failures

QUICKEST = QUICK | {"epochs": 1}
BETTER = QUICK  # enough to be promoted
Trouble = Callable[[Embedded], AbstractContextManager[None]]
Act = Callable[[Embedded, str], None]


def denied(statement: str, role: str = "RetrainRole") -> Trouble:
    return lambda cloud: without(cloud, role, statement)


def no_alarm_of_ours(cloud: Embedded) -> AbstractContextManager[None]:
    """Scaling may still have its own: it needs the same permission, for other names."""
    ours = "arn:aws:cloudwatch:*:*:alarm:protloc-*"
    return forbidden(cloud, "RetrainRole", "cloudwatch:PutMetricAlarm", ours)


@dataclass(frozen=True)
class Case:
    """A way to make one execution fail."""

    fails_in: str
    reason: str
    trouble: Trouble = lambda _cloud: nullcontext()
    parameters: dict[str, Any] = field(default_factory=dict)
    during: tuple[str, Act] | None = None  # once that state is entered, do this
    outcome: str = "Failed"
    recorded: bool = True  # with the version, in the models table


def lose_the_lock(cloud: Embedded, _execution: str) -> None:
    """As if it had expired, and someone else had taken it and was done."""
    cloud.client.client("dynamodb").update_item(
        TableName=cloud.client.outputs["ModelsTable"],
        Key={"pk": {"S": "lock"}, "sk": {"S": "retraining"}},
        UpdateExpression="ADD fence :one REMOVE holder",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def change_the_alias(cloud: Embedded, _execution: str) -> None:
    cloud.client.client("dynamodb").update_item(
        TableName=cloud.client.outputs["ModelsTable"],
        Key={"pk": {"S": "alias"}, "sk": {"S": "active"}},
        UpdateExpression="ADD revision :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def stop_the_job(cloud: Embedded, _execution: str) -> None:
    sagemaker = cloud.client.client("sagemaker")

    def running() -> list[str]:
        jobs = sagemaker.list_training_jobs()["TrainingJobSummaries"]
        return [job["TrainingJobName"] for job in jobs if job["TrainingJobStatus"] == "InProgress"]

    for name in until(running):  # the state is entered before its job is there
        sagemaker.stop_training_job(TrainingJobName=name)


@contextmanager
def few_labels(cloud: Embedded) -> Iterator[None]:
    """Leave two proteins to learn from, each so many times that only the job that compares them can tell."""
    s3, bucket = cloud.client.client("s3"), cloud.client.outputs["UploadsBucket"]
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="labels/")["Contents"]]
    contents = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    few = "".join(f">N{n} Nucleus-S\nMKVAAA\n>C{n} Cytoplasm-S\nMKWCCC\n" for n in range(200))
    s3.put_object(Bucket=bucket, Key="labels/few.fasta", Body=few.encode())
    try:
        yield
    finally:
        s3.delete_object(Bucket=bucket, Key="labels/few.fasta")
        for key, body in contents.items():
            s3.put_object(Bucket=bucket, Key=key, Body=body)


TRAINED = {"hyperparameters": QUICKEST, "again": True}
GOOD = {"hyperparameters": BETTER, "again": True}
BROUGHT = {"artifact": "a good one"}

CASES = {
    "no access to the table": Case("Lock", "AccessDenied", denied("Promote"), recorded=False),
    "no plan": Case("Plan", "AccessDenied", denied("Plan")),
    "a hyperparameter that is SageMaker's": Case(
        "Plan", "sagemaker_program", parameters={"hyperparameters": {"sagemaker_program": "x"}}
    ),
    "a name that is taken": Case(
        "Record", "already in the table", parameters={"version": "tiny-1", **BROUGHT}, recorded=False
    ),
    "no snapshot": Case("Snapshot", "AccessDenied", denied("Train"), TRAINED),
    "no role for the jobs": Case("Snapshot", "AccessDenied", denied("HandOverModelRole"), TRAINED),
    "the data cannot be read": Case(
        "Snapshot", "Data download failed", denied("ReadDataAndArtifacts", "ModelRole"), TRAINED
    ),
    "too few labels": Case("Snapshot", "expected at least 20", few_labels, TRAINED),
    "a wrong setting": Case(
        "Train", "epochs", parameters={"hyperparameters": QUICK | {"epochs": "many"}, "again": True}
    ),
    "the job is stopped": Case(
        "Train",
        "",
        parameters=GOOD | {"hyperparameters": QUICK | {"epochs": 500}},
        during=("Train", stop_the_job),
    ),
    "the evaluation is stopped": Case("Evaluate", "", parameters=TRAINED, during=("Evaluate", stop_the_job)),
    "no judge": Case("Judge", "AccessDenied", denied("Judge"), TRAINED),
    "the judge cannot read": Case("Judge", "", denied("ReadFigures", "JudgeRole"), TRAINED),
    "the lock is lost in training": Case(
        "RecordVerdict", "", parameters=TRAINED, during=("Train", lose_the_lock)
    ),
    "a worse model": Case(
        "Judge",
        "floor",
        parameters={"hyperparameters": QUICK | {"learning-rate": 1e-9}, "again": True},
        outcome="KeptChampion",
    ),
    "no model": Case("Host", "AccessDenied", denied("Host"), BROUGHT),
    "no component": Case("AddComponent", "AccessDenied", denied("AddComponent"), BROUGHT),
    "an archive that is none": Case("IsInService", "did not start", parameters={"artifact": "a bad one"}),
    "no trial": Case("Smoke", "AccessDenied", denied("Smoke"), BROUGHT),
    "the trial cannot ask": Case("Smoke", "AccessDenied", denied("AskModel", "SmokeRole"), BROUGHT),
    "another version answers": Case(
        "Smoke", "expected answers of model", parameters={"version": "not-its-name", **BROUGHT}
    ),
    "no scaling": Case("ScaleToZero", "AccessDenied", denied("ScaleComponent"), BROUGHT),
    "no alarm": Case("WakeUpAlarm", "AccessDenied", no_alarm_of_ours, BROUGHT),
    "the alias changes meanwhile": Case(
        "Promote", "active version was changed", parameters=BROUGHT, during=("AddComponent", change_the_alias)
    ),
    "the lock is lost while hosting": Case(
        "Promote", "lock was lost", parameters=BROUGHT, during=("AddComponent", lose_the_lock)
    ),
}


@pytest.fixture(scope="module")
def cloud(
    start_embedded: Callable[..., Embedded], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Embedded]:
    made = start_embedded()
    folder = tmp_path_factory.mktemp("labels")
    put_labels(made, folder)
    yield made


def start(cloud: Embedded, case: Case, version: str, folder: Path) -> str:
    """Start an execution and cause the fault of the case; return its ARN."""
    parameters = {"version": version, **case.parameters}
    if "artifact" in parameters:
        parameters["artifact"] = brought(cloud, version, parameters["artifact"] == "a good one", folder)
    execution: str = cloud.client.client("stepfunctions").start_execution(
        stateMachineArn=cloud.client.outputs["RetrainStateMachine"], input=json.dumps(parameters)
    )["executionArn"]
    if case.during:
        state, act = case.during
        until(lambda: state in entered(cloud, execution), lambda: entered(cloud, execution))
        act(cloud, execution)
    return execution


def brought(cloud: Embedded, version: str, good: bool, folder: Path) -> str:
    """The address of an artifact in the bucket."""
    bucket, key = cloud.client.outputs["ModelsBucket"], f"models/{version}/model.tar.gz"
    path = folder / "model.tar.gz"
    if good:
        pack(build_tiny_artifact(folder / version, version, seed=1), path)
    else:
        path.write_bytes(b"no archive")
    cloud.client.client("s3").upload_file(str(path), bucket, key)
    return f"s3://{bucket}/{key}"


def champion_answers(cloud: Embedded) -> bool:
    """True if a new upload would be answered by the version that was there before."""
    answer = cloud.client.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="protloc",
        InferenceComponentName="protloc-tiny-1",
        ContentType="application/json",
        Body=json.dumps({"sequences": ["MKV"]}),
    )
    answers = json.loads(answer["Body"].read())
    return cloud.client.models()["active"] == "tiny-1" == answers["model_version"]


@pytest.mark.parametrize("name", CASES)
def test_after_any_failure_the_champion_answers_and_nothing_is_left(
    cloud: Embedded, tmp_path: Path, name: str
) -> None:
    case, version = CASES[name], "case-" + name.replace(" ", "-").replace("'", "")[:30].rstrip("-")
    before = remains(cloud)
    with case.trouble(cloud):
        execution = start(cloud, case, version, tmp_path)
        description = ending(cloud, execution)
    assert description["outcome"] == case.outcome, (description, entered(cloud, execution))
    assert case.reason in description["reason"] and description["reason"]
    assert case.fails_in in entered(cloud, execution)
    assert champion_answers(cloud)
    until(
        lambda: remains(cloud) == before, lambda: (remains(cloud), before)
    )  # a component takes its time to go
    assert lock(cloud) is None
    if case.recorded:
        view = model(cloud, case.parameters.get("version", version))
        assert view["state"] == ("rejected" if case.outcome == "KeptChampion" else "failed")
        assert view["reason"] == description["reason"]


@pytest.mark.parametrize(
    ("statements", "states"), [(("Approve", "Notify"), {"Approve", "Notify"}), (("Register",), {"Package"})]
)
def test_a_failure_beside_the_promotion_does_not_stop_it(
    start_embedded: Callable[..., Embedded],
    tmp_path: Path,
    statements: tuple[str, ...],
    states: set[str],
) -> None:
    cloud = start_embedded()
    put_labels(cloud, tmp_path)
    with ExitStack() as denials:
        for statement in statements:
            denials.enter_context(without(cloud, "RetrainRole", statement))
        execution = start(cloud, Case("", "", parameters=GOOD), "new-1", tmp_path)
        assert ending(cloud, execution)["outcome"] == "Promoted"
    assert states <= set(entered(cloud, execution))
    assert cloud.client.models()["active"] == "new-1" and lock(cloud) is None


def test_a_retraining_whose_cloud_is_killed_comes_to_its_end_and_the_next_one_too(
    start_embedded: Callable[..., Embedded], tmp_path: Path
) -> None:
    cloud = start_embedded()
    put_labels(cloud, tmp_path)
    execution = start(cloud, Case("", "", parameters=GOOD), "died-1", tmp_path)
    until(lambda: "Train" in entered(cloud, execution))
    os.kill(cloud.answer("status")["pid"], signal.SIGKILL)
    assert cloud.protloc("up").exit_code == 0
    again = replace(cloud, client=running(cloud.home))
    assert ending(again, execution)["outcome"] == "Promoted"
    assert lock(again) is None and model(again, "died-1")["state"] == "in_service"
    execution = start(again, Case("", "", parameters=GOOD), "next-1", tmp_path)
    assert ending(again, execution)["outcome"] in ("Promoted", "KeptChampion")


def test_the_table_has_every_task() -> None:
    definition = yaml.safe_load((Path(__file__).parents[2] / "model" / "retrain.asl.yaml").read_text())
    tasks = {name for name, state in definition["States"].items() if state["Type"] == "Task"}
    states = {case.fails_in for case in CASES.values()} | {"Approve", "Notify", "Package"}
    same_permission = {
        "LockSlot",
        "DescribeComponent",
        "FollowJob",
        "ReadComponent",
        "ReadModel",
        "FollowLoad",
        "WakeUp",
        "Rest",
        "RestAlarm",
        "ReadState",
        "RecordFailure",
        "Unlock",
    }
    assert tasks - states - same_permission - {"Remove"} == set()
