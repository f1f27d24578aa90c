"""The SAM CLI deploys the very template to the embedded cloud, the way it deploys it to AWS."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.upload import upload_id
from protloc.cloud import lifecycle
from protloc.cloud.lifecycle import Cloud, stack_outputs
from tests.waiting import LIMIT_SECONDS, until

ROOT = Path(__file__).parents[2]
SAM = os.environ.get("PROTLOC_SAM", "")
STACK = "by-sam"

pytestmark = [pytest.mark.sam, pytest.mark.skipif(not SAM, reason="PROTLOC_SAM names no SAM CLI")]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("home")
    try:
        yield lifecycle.up(home)
    finally:
        lifecycle.down(home, erase=True)


@pytest.fixture(scope="module")
def outputs(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of a stack that `sam build` and `sam deploy` made."""
    build = tmp_path_factory.mktemp("build")
    cloud.client("s3").create_bucket(Bucket="sam-artifacts")
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    parameters = [f"FunctionRuntime={runtime}", "FunctionArchitecture=x86_64", "PredictConcurrency=2"]
    environment = os.environ | {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": cloud.region,
        "SAM_CLI_TELEMETRY": "0",
    }
    sam(["build", "--build-dir", str(build), "--parameter-overrides", *parameters], environment)
    deploy = ["deploy", "--template-file", str(build / "template.yaml"), "--stack-name", STACK]
    deploy += ["--s3-bucket", "sam-artifacts", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    deploy += ["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", *parameters]
    sam(deploy, environment)
    return stack_outputs(cloud, STACK)


def sam(arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [SAM, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_template_that_sam_built_deploys(outputs: dict[str, str]) -> None:
    assert {"UploadsBucket", "ApiUrl", "RetrainStateMachine", "EndpointName"} <= set(outputs)


def test_a_file_in_the_bucket_is_received_by_the_functions_sam_packed(
    cloud: Cloud, outputs: dict[str, str]
) -> None:
    """No model is in service, and the upload says so: `receive` ran."""
    bucket, table = outputs["UploadsBucket"], outputs["UploadsTable"]
    version = cloud.client("s3").put_object(Bucket=bucket, Key="a b.fasta", Body=b">a\nMKV\n")["VersionId"]
    key = {"pk": {"S": upload_id(bucket, "a b.fasta", version)}, "sk": {"S": "upload"}}

    def waiting() -> Any:
        found = cloud.client("dynamodb").get_item(TableName=table, Key=key).get("Item", {})
        return found if "reason" in found else None

    item = until(waiting)
    assert item["status"]["S"] == "receiving"
    assert "waiting for a model version" in item["reason"]["S"]
