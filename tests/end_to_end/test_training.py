"""The whole state machine: it trains with the real program, hosts what came of it, tries it and promotes it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import SAMPLE, Embedded
from tests.model.tiny import write_labelled

SMALL = {"hidden": "32", "layers": "1", "max-residues": "510", "epochs": "1"}


def execute(cloud: Embedded, request: dict[str, Any], seconds: float = 180) -> dict[str, Any]:
    """Run the state machine to its end."""
    machine = cloud.client.client("stepfunctions")
    arn = cloud.client.outputs["RetrainStateMachine"]
    name = machine.start_execution(stateMachineArn=arn, input=json.dumps(request))["executionArn"]
    deadline = time.monotonic() + seconds
    while (found := machine.describe_execution(executionArn=name))["status"] == "RUNNING":
        assert time.monotonic() < deadline, "the state machine does not end"
        time.sleep(0.3)
    return dict(found)


def test_a_model_is_trained_hosted_tried_and_promoted_and_then_a_bad_one_is_not(
    start_embedded: Callable[..., Embedded], tmp_path: Path
) -> None:
    cloud = start_embedded()
    s3, bucket = cloud.client.client("s3"), cloud.client.outputs["ModelsBucket"]
    s3.upload_file(
        str(write_labelled(tmp_path / "labelled.fasta", 60)), bucket, "mine/training/labelled.fasta"
    )
    s3.upload_file(
        str(write_labelled(tmp_path / "held.fasta", 20, seed=1)), bucket, "mine/validation/held.fasta"
    )
    request = {
        "version": "trained-1",
        "training": f"s3://{bucket}/mine/training",
        "validation": f"s3://{bucket}/mine/validation",
        "hyperparameters": SMALL,
    }
    done = execute(cloud, request)
    assert done["status"] == "SUCCEEDED", done.get("cause")
    assert json.loads(done["output"])["outcome"] == "Promoted"
    assert cloud.client.models()["active"] == "trained-1"
    answer = cloud.answer("predict", SAMPLE, "--output", tmp_path / "answers.tsv")
    assert {row["model_version"] for row in cloud.rows(answer["upload"])} == {"trained-1", None}

    s3.put_object(Bucket=bucket, Key="bad/model.tar.gz", Body=b"no archive")
    failed = execute(cloud, {"version": "bad-1", "artifact": f"s3://{bucket}/bad/model.tar.gz"})
    assert (failed["status"], failed["error"]) == ("FAILED", "NotPromoted")
    models = {model["version"]: model for model in cloud.client.models()["models"]}
    assert models["bad-1"]["state"] == "failed" and models["bad-1"]["reason"]
    assert cloud.client.models()["active"] == "trained-1"
    left = cloud.client.client("sagemaker").list_inference_components()["InferenceComponents"]
    assert "protloc-bad-1" not in {component["InferenceComponentName"] for component in left}
