"""Deploying as a person does it: `make deploy`, a retraining, and a teardown, through the SAM CLI.

Everything goes to the embedded cloud, the way it goes to AWS: by its address and credentials alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse

from protloc.cloud import lifecycle
from protloc.cloud.connection import Cloud
from protloc.cloud.contracts import definitions
from protloc.stack.client import Client, connect
from tests.conftest import Embedded
from tests.end_to_end.retraining import QUICK, execute, put_labels
from tests.protloc.stack.test_teardown import inventory

ROOT = Path(__file__).parents[2]
SAM = os.environ.get("PROTLOC_SAM", "")
STACK = "by-sam"

pytestmark = [pytest.mark.sam, pytest.mark.skipif(not SAM, reason="PROTLOC_SAM names no SAM CLI")]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("home")
    yield lifecycle.up(home)
    lifecycle.down(home, erase=True)


@pytest.fixture(scope="module")
def environment(cloud: Cloud) -> Iterator[None]:
    """This process, and those it starts, work on the cloud as on AWS."""
    credentials = cloud.session.get_credentials()
    assert credentials is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
        patch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
        patch.setenv("AWS_REGION", cloud.region)
        patch.setenv("AWS_DEFAULT_REGION", cloud.region)
        yield


def run(*arguments: str) -> str:
    tools = Path(sys.executable).parent
    command = ["make", "--assume-old=.venv/run.stamp", f"SAM={SAM}", f"BIN={tools}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def client() -> Client:
    return connect(STACK)


PARAMETERS = "PARAMETERS=FunctionArchitecture=x86_64 PredictConcurrency=2 TrainingLauncher=cpu"


def test_a_stack_is_deployed_learns_and_is_taken_down_to_nothing(
    cloud: Cloud, environment: None, tmp_path: Path
) -> None:
    """One story: each chapter needs those before it."""
    deployed = run("deploy", f"STACK={STACK}", PARAMETERS)
    assert "B2B9D9" in deployed and f"protloc predict FILE --stack {STACK}" in deployed
    examined = protloc("doctor", "--json")
    assert examined["healthy"], examined
    assert client().models()["active"]
    require_definitions_as_meant(ROOT / "build" / "aws")

    assert "nothing was added" in run("deploy", f"STACK={STACK}", PARAMETERS)

    stack = Embedded(Path("/nonexistent"), client())
    put_labels(stack, tmp_path)
    done = execute(stack, {"version": "new-1", "hyperparameters": QUICK})
    assert done["outcome"] == "Promoted", done
    assert client().models()["active"] == "new-1"

    answer = protloc("teardown", "--yes", "--erase", "--json")
    assert answer["remains"] == []
    # The SAM CLI's own bucket belongs to the person who deploys.
    assert {each for each in inventory(cloud, STACK) if "aws-sam-cli-managed" not in each} == set()


def require_definitions_as_meant(build: Path) -> None:
    """CloudFormation reads every definition that `sam build` wrote as YAML means it."""
    resources = yaml_parse((build / "template.yaml").read_text())["Resources"].values()
    machines = [each["Properties"] for each in resources if each["Type"] == "AWS::Serverless::StateMachine"]
    assert machines
    for machine in machines:
        text = (build / machine["DefinitionUri"]).read_text()
        assert definitions.read(text) == yaml.safe_load(text)


def protloc(command: str, *arguments: str) -> dict[str, object]:
    program = [sys.executable, "-m", "protloc.cli.main", command, "--stack", STACK, *arguments]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer
