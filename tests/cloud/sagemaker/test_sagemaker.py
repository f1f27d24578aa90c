"""The SageMaker room: jobs, models, components and invocations, with a model in pure Python."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from protloc.cloud.sagemaker import components
from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.models import artifact, source
from tests.waiting import Gate, until

IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/image:1"


def put(stack: Stack, key: str, body: bytes) -> str:
    stack.client("s3").put_object(Bucket=stack.outputs["Bucket"], Key=key, Body=body)
    return f"s3://{stack.outputs['Bucket']}/{key}"


def host(stack: Stack, url: str, copies: int = 1, environment: dict[str, str] | None = None) -> str:
    """Create a model and a component of it; the name of both."""
    client, name = stack.client("sagemaker"), f"m-{uuid.uuid4().hex[:8]}"
    container = {"Image": IMAGE, "ModelDataUrl": url, "Environment": environment or {}}
    client.create_model(
        ModelName=name, PrimaryContainer=container, ExecutionRoleArn=stack.outputs["HostRole"]
    )
    client.create_inference_component(
        InferenceComponentName=name,
        EndpointName=stack.outputs["Endpoint"],
        VariantName="v",
        Specification={
            "ModelName": name,
            "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 256, "NumberOfCpuCoresRequired": 1},
        },
        RuntimeConfig={"CopyCount": copies},
    )
    return name


def describe(stack: Stack, name: str) -> dict[str, Any]:
    description: dict[str, Any] = stack.client("sagemaker").describe_inference_component(
        InferenceComponentName=name
    )
    return description


def serving(stack: Stack, url: str, **more: Any) -> str:
    name = host(stack, url, **more)
    until(lambda: describe(stack, name)["InferenceComponentStatus"] == "InService")
    return name


def invoke(stack: Stack, name: str, body: Any) -> list[dict[str, Any]]:
    answer = stack.cloud.client("sagemaker-runtime", retries={"total_max_attempts": 1}).invoke_endpoint(
        EndpointName=stack.outputs["Endpoint"],
        InferenceComponentName=name,
        ContentType="application/json",
        Accept="application/json",
        Body=body if isinstance(body, bytes) else json.dumps({"sequences": body}),
    )
    assert answer["ContentType"] == "application/json"
    predictions: list[dict[str, Any]] = json.loads(answer["Body"].read())["predictions"]
    return predictions


def refused(call: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as problem:
        call()
    response: dict[str, Any] = problem.value.response
    return response


@pytest.fixture(scope="module")
def component(stack: Stack) -> str:
    return serving(stack, put(stack, "models/one/model.tar.gz", artifact()))


def test_a_component_answers_with_its_model(stack: Stack, component: str) -> None:
    assert [p["length"] for p in invoke(stack, component, ["MKT", "A"])] == [6, 2]
    assert describe(stack, component)["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 1}


def test_many_callers_at_once_are_all_answered(stack: Stack, component: str) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: invoke(stack, component, ["A" * n]), range(1, 65)))
    assert [answer[0]["length"] for answer in answers] == [2 * n for n in range(1, 65)]


def test_a_malformed_request_is_the_containers_400(stack: Stack, component: str) -> None:
    response = refused(lambda: invoke(stack, component, b'{"wrong": 1}'))
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 400
    assert json.loads(response["OriginalMessage"]) == {"error": "expected the field sequences"}


def test_a_failing_model_does_not_repeat_the_users_data(stack: Stack, component: str) -> None:
    response = refused(lambda: invoke(stack, component, ["SECRET"]))
    assert response["OriginalStatusCode"] == 500
    assert "RuntimeError" in response["OriginalMessage"]
    assert "SECRET" not in json.dumps(response)
    log = stack.cloud.home / "logs" / f"component-{component}.log"
    assert "SECRET" not in log.read_text()


def test_a_body_above_the_limit_is_refused(stack: Stack, component: str) -> None:
    response = refused(lambda: invoke(stack, component, b" " * (6 * 1024 * 1024 + 1)))
    assert response["Error"]["Code"] == "ValidationError"


def test_a_component_killed_from_outside_comes_back(stack: Stack, component: str) -> None:
    pid = invoke(stack, component, ["A"])[0]["pid"]
    os.kill(pid, signal.SIGKILL)

    def again() -> int | None:
        try:
            process_id = int(invoke(stack, component, ["A"])[0]["pid"])
        except ClientError:
            return None
        return process_id if process_id != pid else None

    assert until(again)


def test_a_request_that_kills_the_server_is_a_model_error_and_the_next_one_is_answered(
    stack: Stack, component: str
) -> None:
    assert refused(lambda: invoke(stack, component, ["KILL"]))["Error"]["Code"] == "ModelError"

    def answered() -> bool:
        try:
            return bool(invoke(stack, component, ["A"]))
        except ClientError:
            return False

    until(answered)


def test_a_request_that_kills_the_server_takes_no_other_with_it(stack: Stack, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    model = artifact(json.dumps({"factor": 2, "gate": str(gate.path)}))
    name = serving(stack, put(stack, "models/held/model.tar.gz", model))

    def code(sequence: str) -> str:
        try:
            invoke(stack, name, [sequence])
        except ClientError as problem:
            return str(problem.response["Error"]["Code"])
        return "answered"

    with ThreadPoolExecutor(4) as threads:
        others = [threads.submit(code, "HELD")]
        try:
            until(lambda: gate.reached)
            killing = threads.submit(code, "KILL")
            others += [threads.submit(code, "HELD") for _ in range(2)]
        finally:
            gate.open()
    assert killing.result() == "ModelError"
    assert {other.result() for other in others} <= {"answered", "ModelNotReadyException"}
    stack.client("sagemaker").delete_inference_component(InferenceComponentName=name)


def test_calls_before_a_component_is_ready_and_after_it_is_gone_are_errors(
    stack: Stack, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    model = artifact(json.dumps({"factor": 2, "loading_gate": str(gate.path)}))
    name = host(stack, put(stack, "models/loading/model.tar.gz", model))
    assert refused(lambda: invoke(stack, name, ["A"]))["Error"]["Code"] == "ModelNotReadyException"
    gate.open()
    until(lambda: describe(stack, name)["InferenceComponentStatus"] == "InService")
    assert invoke(stack, name, ["A"])
    stack.client("sagemaker").delete_inference_component(InferenceComponentName=name)
    until(lambda: name not in json.dumps(stack.client("sagemaker").list_inference_components(), default=str))
    assert refused(lambda: describe(stack, name))["Error"]["Code"] == "ValidationException"
    assert refused(lambda: invoke(stack, name, ["A"]))["Error"]["Code"] == "ValidationError"
    stack.client("sagemaker").delete_model(ModelName=name)


def test_two_copies_are_two_processes_and_none_is_no_capacity(stack: Stack) -> None:
    name = serving(stack, put(stack, "models/two/model.tar.gz", artifact()), copies=2)
    until(lambda: describe(stack, name)["RuntimeConfig"]["CurrentCopyCount"] == 2)
    assert len({invoke(stack, name, ["A"])[0]["pid"] for _ in range(4)}) == 2
    client = stack.client("sagemaker")
    client.update_inference_component_runtime_config(
        InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": 0}
    )
    until(lambda: describe(stack, name)["RuntimeConfig"]["CurrentCopyCount"] == 0)
    response = refused(lambda: invoke(stack, name, ["A"]))
    assert "no capacity" in response["Error"]["Message"]
    scaling = stack.client("application-autoscaling")
    scaling.register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"inference-component/{name}",
        MinCapacity=0,
        MaxCapacity=1,
        ScalableDimension="sagemaker:inference-component:DesiredCopyCount",
    )
    refused(lambda: invoke(stack, name, ["A"]))
    until(lambda: describe(stack, name)["RuntimeConfig"]["CurrentCopyCount"] == 1)
    client.delete_inference_component(InferenceComponentName=name)


def test_a_copy_of_a_small_model_is_one_server_a_core_each_with_one_thread(stack: Stack) -> None:
    """It is one copy all the same, and a request goes to a server that is idle."""
    small = artifact(**{"model.safetensors": "few weights"})
    name = serving(stack, put(stack, "models/small/model.tar.gz", small))
    cores = min(len(os.sched_getaffinity(0)), components.MAX_SERVERS)
    threads: dict[int, str] = {}

    def ask() -> None:
        (answer,) = invoke(stack, name, ["A"])
        threads[answer["pid"]] = answer["threads"]

    until(lambda: [ask() for _ in range(10)] and len(threads) == cores)
    assert set(threads.values()) == {"1"}
    assert describe(stack, name)["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 1}
    stack.client("sagemaker").delete_inference_component(InferenceComponentName=name)


def test_a_broken_model_fails_with_the_servers_words(stack: Stack) -> None:
    name = host(stack, put(stack, "models/broken/model.tar.gz", artifact('{"broken": true}')))
    description = until(lambda: (d := describe(stack, name))["InferenceComponentStatus"] == "Failed" and d)
    assert "no such weights" in description["FailureReason"]


def test_a_model_the_role_may_not_read_is_not_hosted(stack: Stack) -> None:
    name = host(stack, put(stack, "in/elsewhere.tar.gz", artifact()))
    description = until(lambda: (d := describe(stack, name))["InferenceComponentStatus"] == "Failed" and d)
    assert "403" in description["FailureReason"] or "Forbidden" in description["FailureReason"]


def test_parameters_are_checked_as_aws_checks_them(stack: Stack) -> None:
    import boto3  # the SDK would refuse it before it is sent, so the check is switched off
    from botocore.config import Config

    client = boto3.client(
        "sagemaker",
        endpoint_url=stack.cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=stack.cloud.keys.access_key,
        aws_secret_access_key=stack.cloud.keys.secret_key,
        config=Config(parameter_validation=False),
    )
    response = refused(lambda: client.create_training_job(TrainingJobName="x"))
    assert response["Error"]["Code"] == "ValidationException"
    assert "Value null at 'roleArn'" in response["Error"]["Message"]
    assert (
        "Could not find" in refused(lambda: client.describe_endpoint(EndpointName="none"))["Error"]["Message"]
    )


def job(stack: Stack, *, more: dict[str, Any] | None = None, **hyperparameters: str) -> str:
    """Start a training job; `more` of its request replaces the usual members."""
    name = f"job-{uuid.uuid4().hex[:8]}"
    put(stack, "models/data/data.fasta", b">a\nM\n>b\nM\n")
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": stack.outputs["HostRole"],
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss: ([0-9.]+);"}],
        },
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{stack.outputs['Bucket']}/models/data/",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{stack.outputs['Bucket']}/models/trained"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {
            "sagemaker_submit_directory": json.dumps(put(stack, "models/code/sourcedir.tar.gz", source())),
            "sagemaker_program": json.dumps("model/train.py"),
            **hyperparameters,
        },
    }
    stack.client("sagemaker").create_training_job(**request | (more or {}))
    return name


def finished(stack: Stack, name: str) -> dict[str, Any]:
    client = stack.client("sagemaker")

    def ended() -> dict[str, Any] | None:
        description: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
        return None if description["TrainingJobStatus"] in ("InProgress", "Stopping") else description

    ended_job = until(ended, lambda: client.describe_training_job(TrainingJobName=name))
    assert ended_job is not None
    return ended_job


def test_a_training_job_makes_a_model_that_can_be_hosted(stack: Stack) -> None:
    name = job(stack, factor="5")
    done = finished(stack, name)
    assert done["TrainingJobStatus"] == "Completed", done
    url = done["ModelArtifacts"]["S3ModelArtifacts"]
    assert url == f"s3://{stack.outputs['Bucket']}/models/trained/{name}/output/model.tar.gz"
    assert done["FinalMetricDataList"][0]["Value"] == 0.25
    body = (
        stack.client("s3").get_object(Bucket=stack.outputs["Bucket"], Key=url.split("/", 3)[3])["Body"].read()
    )
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        weights = json.load(archive.extractfile("weights.json"))  # type: ignore[arg-type]
    assert weights == {"factor": 5, "proteins": 2, "job": name, "hosts": ["algo-1"], "home": None}
    component = serving(stack, url)
    assert invoke(stack, component, ["MKT"])[0]["length"] == 15


def test_a_failed_job_says_why(stack: Stack) -> None:
    done = finished(stack, job(stack, factor="1", fail="1"))
    assert done["TrainingJobStatus"] == "Failed"
    assert "the data has no proteins" in done["FailureReason"]


def test_a_job_can_be_stopped(stack: Stack, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    name = job(stack, factor="1", gate=str(gate.path))
    until(lambda: gate.reached)
    stack.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert finished(stack, name)["TrainingJobStatus"] == "Stopped"


def test_a_state_machine_trains_and_answers_with_the_artifact(stack: Stack) -> None:
    url = put(stack, "models/code/sourcedir.tar.gz", source())
    client = stack.client("stepfunctions")
    parameters = {
        "do": "train",
        "role": stack.outputs["HostRole"],
        "hyperparameters": {
            "factor": "3",
            "fail": "1",
            "sagemaker_submit_directory": url,
            "sagemaker_program": "model/train.py",
        },
    }
    arn = client.start_execution(stateMachineArn=stack.outputs["Machine"], input=json.dumps(parameters))[
        "executionArn"
    ]
    done = until(lambda: (d := client.describe_execution(executionArn=arn))["status"] != "RUNNING" and d)
    assert done["error"] == "States.TaskFailed"
    assert json.loads(done["cause"])["TrainingJobStatus"] == "Failed"
