"""The state machine's requests, as it would send them, against botocore's models of their services."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.predict import MAX_WAIT_SECONDS
from model.job import LAUNCHERS, Job, request
from model.launch import registry
from protloc.cloud.contracts import integrations
from protloc.cloud.contracts.tasks import refused
from protloc.cloud.contracts.tasks import task as made
from protloc.stack.retraining import MAX_NAME_CHARACTERS
from tests.retraining.machine import Asked, Machine, TaskError
from tests.template.rendering import render
from tests.template.test_template import SOURCE

BUCKET = "models-bucket"
STARTED = "2026-11-24T12:00:00.000Z"
ACCOUNT = "763104351884"
SUBSTITUTIONS = {
    "Stack": "protloc",
    "EndpointName": "protloc",
    "ModelsBucket": BUCKET,
    "ModelsTable": "models",
    "ModelRole": "arn:aws:iam::123456789012:role/protloc-model",
    "TrainingRole": "arn:aws:iam::123456789012:role/protloc-training",
    "ModelPackageGroup": "protloc",
    "PlanFunction": "arn:aws:lambda:us-east-1:123456789012:function:protloc-plan",
    "JudgeFunction": "arn:aws:lambda:us-east-1:123456789012:function:protloc-judge",
    "SmokeFunction": "arn:aws:lambda:us-east-1:123456789012:function:protloc-smoke",
    "RetireFunction": "arn:aws:lambda:us-east-1:123456789012:function:protloc-retire",
    "NotificationsTopic": "arn:aws:sns:us-east-1:123456789012:protloc",
    "InferenceImage": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4",
    "InferenceMemoryMib": 1024,
    "InferenceCores": 2,
    "InferenceAcceleratorDevices": 0,
    "MinCopies": 0,
    "MaxCopies": 2,
    "BatchesQueueName": "protloc-BatchesQueue-1A2B",
    "TrainingInstances": 1,
    "TrainingSpot": "false",
    "JobImage": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{LAUNCHERS['cpu'].image}",
    "JobInstanceType": "ml.m5.xlarge",
    "Partition": "aws",
    "Region": "us-east-1",
}
PLAN = {
    "champion": "small-1",
    "champion_artifact": f"s3://{BUCKET}/models/small-1/model.tar.gz",
    "revision": 3,
    "source": f"s3://{BUCKET}/code/0123/sourcedir.tar.gz",
    "snapshot": "0123456789abcdef",
    "nothing": "",
    "labels": "",
    "hyperparameters": {"start": '"champion"', "epochs": "3"},
}
FIGURES = {"q10": 0.7, "macro_f1": 0.6, "mcc": 0.6, "membrane_q2": 0.9, "ece": 0.02}
ANSWERS: dict[str, Any] = {
    "Lock": {"Attributes": {"fence": {"N": "7"}}},
    "LockSlot": {"Attributes": {"fence": {"N": "7"}}},
    "Plan": {"Payload": PLAN},
    "Train": {"ModelArtifacts": {"S3ModelArtifacts": f"s3://{BUCKET}/training/job/output/model.tar.gz"}},
    "Judge": {"Payload": {"promote": True, "reason": "better", "figures": FIGURES, "labels": ""}},
    "Package": {"ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/protloc/1"},
    "DescribeComponent": {"InferenceComponentStatus": "InService"},
    "ReadModel": {"CreationTime": STARTED},
    "ReadComponent": {"CreationTime": STARTED},
    "FollowJob": {
        "TrainingJobStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://{BUCKET}/training/job/output/model.tar.gz"},
    },
    "WakeUp": {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1:policyName/wake-up"},
    "Rest": {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:2:policyName/rest"},
}


def machine(launcher: str = "torchrun", **others: Any) -> Machine:
    """The state machine as a stack with this launcher has it."""
    own = LAUNCHERS[launcher]
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{own.image}"
    chosen = {"TrainingLauncher": launcher, "TrainingImage": image, "TrainingInstanceType": own.instance}
    return Machine(SUBSTITUTIONS | chosen | others, seconds=lambda: 1_764_000_000.5)


def calls(
    of: Machine, execution_input: dict[str, Any], failing: str = "", answers: dict[str, Any] | None = None
) -> Iterator[Asked]:
    """The calls of one execution; the state `failing` fails."""
    results = ANSWERS | (answers or {})
    run = of.run(
        "arn:aws:states:us-east-1:123456789012:execution:protloc-retrain:one", execution_input, STARTED
    )
    asked = next(run)
    try:
        while True:
            yield asked
            if asked.state == failing and asked.resource != "wait":
                error = "ResourceInUseException" if failing == "Train" else integrations.LOST
                prefix = integrations.service(asked.resource).prefix
                asked = run.throw(TaskError(f"{prefix}.{error}", "it does not work"))
            else:
                asked = run.send(results.get(asked.state, {}))
    except StopIteration:
        return


WAYS = {
    "retraining": ({}, ""),
    "scheduled": ({"slot": "2026-11-24T12:00:00Z"}, ""),
    "artifact": ({"artifact": f"s3://{BUCKET}/models/two/model.tar.gz", "version": "two"}, ""),
    "failing": ({}, "RestAlarm"),
    "losing an answer": ({}, "Promote"),
    "a job that is there": ({}, "Train"),
    "a model that is there": ({}, "Host"),
    "a component that is there": ({}, "AddComponent"),
}


def asked(launcher: str = "torchrun", **others: Any) -> dict[str, Asked]:
    """Every task that any of the ways leads to, by its state."""
    return {
        each.state: each
        for execution_input, failing in WAYS.values()
        for each in calls(machine(launcher, **others), execution_input, failing)
        if each.resource != "wait"
    }


ASKED = asked()


def test_the_ways_lead_through_every_task() -> None:
    tasks = {name for name, state in machine().states.items() if state["Type"] == "Task"}
    assert set(ASKED) == tasks


@pytest.mark.parametrize("name", ASKED)
def test_a_tasks_arguments_are_what_the_service_takes(name: str) -> None:
    require_valid(ASKED[name])


def test_a_component_on_gpus_asks_for_them_and_one_without_names_none() -> None:
    required = {"NumberOfCpuCoresRequired": 2, "MinMemoryRequiredInMb": 1024}
    assert ASKED["AddComponent"].arguments["Specification"]["ComputeResourceRequirements"] == required
    on_gpus = asked(InferenceAcceleratorDevices=1)["AddComponent"]
    require_valid(on_gpus)
    required["NumberOfAcceleratorDevicesRequired"] = 1
    assert on_gpus.arguments["Specification"]["ComputeResourceRequirements"] == required


def test_a_component_keeps_a_copy_where_the_endpoint_keeps_an_instance() -> None:
    """It is paid for in any case, and a call that finds no copy waits for minutes."""
    assert ASKED["ScaleToZero"].arguments["MinCapacity"] == 0
    scaling = asked(MinCopies=1)["ScaleToZero"]
    require_valid(scaling)
    assert (scaling.arguments["MinCapacity"], scaling.arguments["MaxCapacity"]) == (1, 2)
    template = render(MinInferenceInstances=2)
    substitutions = template["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert substitutions["MinCopies"] == {"Fn::If": ["KeepsNone", 0, {"Fn::If": ["OnGpus", 0, 1]}]}
    keeps_none = {"Fn::Equals": [{"Ref": "MinInferenceInstances"}, 0]}
    assert template["Conditions"]["KeepsNone"] == keeps_none


def test_a_component_that_nobody_asks_and_nothing_waits_for_gives_up_its_copies() -> None:
    """An instance idles for as long as the alarm looks: most of the price of a small upload."""
    policy, alarm = ASKED["Rest"].arguments, ASKED["RestAlarm"].arguments
    steps = policy["StepScalingPolicyConfiguration"]
    assert (steps["AdjustmentType"], steps["StepAdjustments"][0]["ScalingAdjustment"]) == ("ExactCapacity", 0)
    assert alarm["AlarmActions"] == [ANSWERS["Rest"]["PolicyARN"]]
    assert alarm["ComparisonOperator"] == "LessThanThreshold", "a step below the threshold ends at 0"
    assert steps["StepAdjustments"][0]["MetricIntervalUpperBound"] == 0
    metrics = {each["Id"]: each for each in alarm["Metrics"]}
    assert metrics.pop("asked")["Expression"] == " + ".join(f"FILL({name}, 0)" for name in metrics)
    counted = {each["MetricStat"]["Metric"]["MetricName"] for each in metrics.values()}
    assert counted == {"Invocations", "NoCapacityInvocationFailures", "ApproximateNumberOfMessagesDelayed"}
    (component,) = {
        each["MetricStat"]["Metric"]["Dimensions"][0]["Value"]
        for name, each in metrics.items()
        if name != "waiting"
    }
    assert alarm["AlarmName"] == f"{component}-rest"


def test_a_batch_that_waits_for_a_copy_asks_again_before_the_copy_is_given_up() -> None:
    """Else an endpoint that takes long to wake would be sent back to sleep for ever."""
    alarm = ASKED["RestAlarm"].arguments
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]
    (period,) = {each["MetricStat"]["Period"] for each in alarm["Metrics"] if "MetricStat" in each}
    assert alarm["EvaluationPeriods"] * period >= MAX_WAIT_SECONDS + period


def test_calls_in_vain_start_one_copy_however_long_it_takes() -> None:
    steps = ASKED["WakeUp"].arguments["StepScalingPolicyConfiguration"]
    assert (steps["AdjustmentType"], steps["StepAdjustments"][0]["ScalingAdjustment"]) == ("ExactCapacity", 1)


def require_valid(task: Asked) -> None:
    assert made(task.resource, task.arguments) is not None
    assert refused(task.resource, task.arguments, "Service") is None


# A stack's name of the most letters, the names that are made of it, and a version of the most letters behind it.
LONGEST_STACK = "s" * 22
LONGEST = {
    "Stack": LONGEST_STACK,
    "EndpointName": LONGEST_STACK,
    "ModelPackageGroup": LONGEST_STACK,
    "ModelsBucket": "b" * 63,
    "ModelsTable": f"{LONGEST_STACK}-ModelsTable-{'X' * 13}",
    "BatchesQueueName": f"{LONGEST_STACK}-BatchesQueue-{'X' * 12}",
}
LONGEST_VERSION = "v" * MAX_NAME_CHARACTERS
LONG_WAYS = {
    "a version by the time": {},
    "a version of the longest name": {"version": LONGEST_VERSION},
    "an artifact of the longest name": {
        "version": LONGEST_VERSION,
        "artifact": f"s3://{'b' * 63}/models/{LONGEST_VERSION}/model.tar.gz",
    },
}


@pytest.mark.parametrize("failing", ["", "RestAlarm"])
@pytest.mark.parametrize("way", LONG_WAYS)
def test_every_name_fits_for_the_longest_name_of_a_stack(way: str, failing: str) -> None:
    answers = {
        "Lock": {"Attributes": {"fence": {"N": str(10**9)}}},
        "Plan": {"Payload": PLAN | {"champion": "c" * MAX_NAME_CHARACTERS}},
    }
    for each in calls(machine(**LONGEST), LONG_WAYS[way], failing, answers):
        if each.resource != "wait":
            require_valid(each)


@pytest.mark.parametrize("reason", ["two\nlines\tand a tab", "ein schöner Grund – 12 %", "x" * 5000])
def test_any_verdict_of_the_judge_fits_the_registry_and_a_subject(reason: str) -> None:
    figures = FIGURES | {"mcc": -0.123456789012345678, "ece": 1.5e-9}
    payload = ANSWERS["Judge"]["Payload"] | {"reason": reason, "figures": figures}
    answers = {"Judge": {"Payload": payload}}
    for each in calls(machine(), {}, answers=answers):
        if each.resource != "wait":
            require_valid(each)


def test_a_subject_is_ascii_on_one_line_whatever_the_version_is_called() -> None:
    (notified,) = (
        each for each in calls(machine(), {"version": "π\n" + "v" * 200}) if each.state == "Notify"
    )
    assert re.fullmatch(r"[!-~][ -~]{0,98}", notified.arguments["Subject"])


def test_a_longer_name_of_a_stack_would_not_fit() -> None:
    with pytest.raises(AssertionError, match="less than or equal to 63"):
        for each in asked(Stack="s" * 41).values():
            require_valid(each)


@pytest.mark.parametrize("spot", [False, True])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_training_job_is_what_launch_makes_of_it(launcher: str, spot: bool) -> None:
    task = asked(launcher, TrainingSpot=str(spot).lower())["Train"]
    require_valid(task)
    name = task.arguments["TrainingJobName"]
    expected = request(
        Job(
            name=name,
            launcher=launcher,
            role=SUBSTITUTIONS["TrainingRole"],  # type: ignore[arg-type]
            region="us-east-1",
            registry=f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com",
            source=PLAN["source"],  # type: ignore[arg-type]
            output=f"s3://{BUCKET}/training",
            training=f"s3://{BUCKET}/snapshots/0123456789abcdef/training/",
            validation=f"s3://{BUCKET}/snapshots/0123456789abcdef/validation/",
            hyperparameters={"start": "champion", "epochs": 3, "model-version": "model-1795521600000"},
            spot=spot,
        )
    )
    channels = {each["ChannelName"]: each for each in task.arguments["InputDataConfig"]}
    assert channels.pop("champion")["DataSource"]["S3DataSource"]["S3Uri"] == PLAN["champion_artifact"]
    assert task.arguments | {"InputDataConfig": list(channels.values())} == expected


def test_without_a_champion_none_is_sent_to_the_jobs() -> None:
    plan = {"Payload": PLAN | {"champion": "", "champion_artifact": "", "revision": 0}}
    requests = {each.state: each for each in calls(machine(), {}, answers={"Plan": plan})}
    assert [each["ChannelName"] for each in requests["Train"].arguments["InputDataConfig"]] == [
        "training",
        "validation",
    ]
    assert "champion" not in requests["Evaluate"].arguments["HyperParameters"]
    alias = requests["Promote"].arguments["TransactItems"][1]["Update"]
    assert alias["ConditionExpression"].startswith("attribute_not_exists(pk)")
    require_valid(requests["Train"])
    require_valid(requests["Evaluate"])


def test_the_template_knows_the_launchers_that_launch_knows() -> None:
    launchers = SOURCE["Mappings"]["Launchers"]
    assert launchers == {
        name: {"Image": each.image, "Instance": each.instance} for name, each in LAUNCHERS.items()
    }
    assert set(SOURCE["Parameters"]["TrainingLauncher"]["AllowedValues"]) == set(LAUNCHERS)


def test_the_template_knows_the_registries_that_the_sagemaker_sdk_knows() -> None:
    """A region has its own, and an image of another region's registry is not found."""
    accounts = {region: each["Account"] for region, each in SOURCE["Mappings"]["Registries"].items()}
    assert accounts == {region: registry("cpu", region).partition(".")[0] for region in accounts}
    assert accounts["eu-south-1"] == "692866216735"
    assert SOURCE["Parameters"]["ImageAccount"]["Default"] == ""


def test_the_substitutions_are_those_of_the_template() -> None:
    substitutions = SOURCE["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert set(substitutions) == set(SUBSTITUTIONS) | {
        "TrainingLauncher",
        "TrainingImage",
        "TrainingInstanceType",
    }


@pytest.mark.parametrize("name", [name for name, each in ASKED.items() if each.resource.endswith(".sync")])
def test_what_a_job_says_of_its_failure_is_the_reason(name: str) -> None:
    cause = '{"TrainingJobName": "x", "FailureReason":"AlgorithmError: expected 20 proteins, found 3", "Status": 1}'
    assert (
        reason_after(name, TaskError("States.TaskFailed", cause))
        == "AlgorithmError: expected 20 proteins, found 3"
    )


def test_what_a_function_raised_is_the_reason() -> None:
    cause = '{"errorMessage": "the model answers differently", "errorType": "BrokenContract"}'
    assert reason_after("Smoke", TaskError("BrokenContract", cause)) == "the model answers differently"
    assert reason_after("ScaleToZero", TaskError("A.X", "no")) == "A.X: no"


def reason_after(name: str, problem: TaskError) -> str:
    run = machine().run("one", {}, STARTED)
    asked = next(run)
    try:
        while True:
            if asked.state == name and asked.resource != "wait":
                asked = run.throw(problem)
            else:
                asked = run.send(ANSWERS.get(asked.state, {}))
    except StopIteration as end:
        assert end.value.failed
        return str(end.value.output["Cause"])


def test_a_version_that_is_promoted_again_keeps_what_it_learned_from_and_when_it_was_made() -> None:
    request = WAYS["artifact"][0] | {"snapshot": "fedcba9876543210", "created": "2026-10-01T00:00:00.000Z"}
    answers = {"Plan": {"Payload": PLAN | {"snapshot": ""}}}
    (record,) = (each for each in calls(machine(), request, answers=answers) if each.state == "Record")
    fields = {name: record.arguments["Item"][name]["S"] for name in ("snapshot", "created")}
    assert fields == {name: request[name] for name in fields}
    (new,) = (each for each in calls(machine(), {}) if each.state == "Record")
    assert new.arguments["Item"]["created"] == {"S": STARTED}
    assert new.arguments["Item"]["snapshot"] == {"S": PLAN["snapshot"]}


def test_a_champions_own_labels_are_learned_and_kept_as_the_judge_has_them() -> None:
    judged = ANSWERS["Judge"]["Payload"] | {"labels": '[{"name": "A", "threshold": 0.4}]'}
    answers = {"Plan": {"Payload": PLAN | {"labels": '[{"name": "A"}]'}}, "Judge": {"Payload": judged}}
    asked = {each.state: each.arguments for each in calls(machine(), {}, answers=answers)}
    channels = {each["ChannelName"]: each["DataSource"] for each in asked["Train"]["InputDataConfig"]}
    assert list(channels) == ["training", "validation", "labels", "champion"]
    place = f"s3://{BUCKET}/snapshots/{PLAN['snapshot']}/labels/"
    assert channels["labels"]["S3DataSource"]["S3Uri"] == place
    assert asked["Record"]["Item"]["labels"] == {"S": '[{"name": "A"}]'}
    (update,) = (each["Update"] for each in asked["RecordVerdict"]["TransactItems"] if "Update" in each)
    assert update["ExpressionAttributeValues"][":labels"] == {"S": judged["labels"]}
    assert asked["Smoke"]["Payload"]["labels"] == judged["labels"]


def test_an_artifact_that_is_put_into_service_keeps_the_labels_that_it_brought() -> None:
    for brought in ("", '[{"name": "B"}]'):
        request = WAYS["artifact"][0] | {"labels": brought}
        answers = {"Plan": {"Payload": PLAN | {"snapshot": "", "labels": '[{"name": "A"}]'}}}
        asked = {each.state: each.arguments for each in calls(machine(), request, answers=answers)}
        assert asked["Record"]["Item"]["labels"] == {"S": brought}
        assert asked["Smoke"]["Payload"]["labels"] == brought
