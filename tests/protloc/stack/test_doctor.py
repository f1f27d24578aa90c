"""`protloc doctor`: on the embedded cloud for real, and AWS's own answers where only AWS has them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber

from protloc.errors import UsageProblem
from protloc.stack.account import Account
from protloc.stack.doctor import OK, PROBLEM, UNCHECKED, WARNING, Check, Doctor
from protloc.stack.parameters import chosen
from tests.conftest import Embedded


def checks(embedded: Embedded, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = embedded.protloc("doctor", "--json", *arguments, **os.environ)
    answer = json.loads(result.stdout)
    assert answer["healthy"] is (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in answer["checks"]}


def test_a_cloud_in_which_predictions_work_is_healthy(embedded: Embedded) -> None:
    result = embedded.protloc("doctor")
    assert result.exit_code == 0, result.output
    assert "PROBLEM" not in result.stdout and "model: " in result.stdout
    code, report = checks(embedded)
    assert code == 0 and {check["state"] for check in report.values()} == {OK, UNCHECKED}
    assert report["model"]["state"] == report["endpoint"]["state"] == report["buckets"]["state"] == OK


def test_a_stack_that_is_not_there_is_a_problem_with_its_remedy(
    embedded: Embedded, as_stack: list[str]
) -> None:
    code, report = checks(embedded, "--stack", "nobodys")
    assert code == 1
    assert report["deployment"]["state"] == PROBLEM and "nobodys" in report["deployment"]["detail"]
    assert report["credentials"]["state"] == OK and report["model"]["state"] == UNCHECKED


def test_a_cloud_that_is_not_up_is_named(embedded: Embedded, tmp_path: Any) -> None:
    result = embedded.protloc("doctor", PROTLOC_HOME=str(tmp_path))
    assert result.exit_code == 3 and "protloc up" in result.stderr


# ── Answers that only AWS gives, in the shapes of botocore's models, which Stubber enforces ────────────────


Answers = dict[str, list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def on_aws() -> Callable[..., Doctor]:
    """A doctor for a stack that is not deployed yet, in an account that answers as given."""

    def doctor(answers: Answers, **chosen: str) -> Doctor:
        def client(service: str) -> Any:
            made = boto3.client(
                service, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
            )
            stubber = Stubber(made)
            for operation, answer in answers.get(service, []):
                stubber.add_response(operation, answer)
            stubber.activate()
            return made

        class Undeployed(Doctor):
            _description = None

        account = Account("protloc", "eu-west-1", client, False, " --stack protloc")
        return Undeployed(account, chosen)

    return doctor


def quotas(**values: float) -> Answers:
    listed = [{"QuotaName": name.replace("_", " "), "Value": value} for name, value in values.items()]
    return {
        "service-quotas": [
            ("list_service_quotas", {"Quotas": listed}),
            ("list_aws_default_service_quotas", {"Quotas": []}),
        ]
    }


def test_the_quota_of_a_new_account_is_a_problem_before_anything_is_deployed(
    on_aws: Callable[..., Doctor],
) -> None:
    name = "ml.c7i.2xlarge for endpoint usage"
    none = on_aws(quotas(**{name: 0})).endpoint_quota()
    assert none.state == PROBLEM and name in none.detail and "Service Quotas" in none.remedy
    assert on_aws(quotas(**{name: 1})).endpoint_quota().state == WARNING
    assert on_aws(quotas(**{name: 2})).endpoint_quota().state == OK
    assert on_aws(quotas()).endpoint_quota().state == UNCHECKED


def test_what_a_deployment_chooses_is_what_is_checked(on_aws: Callable[..., Doctor]) -> None:
    """Else an account without quota for the default instance could never deploy with another."""
    answers = quotas(**{"ml.c7i.2xlarge for endpoint usage": 0, "ml.m5.xlarge for endpoint usage": 1})
    other = on_aws(answers, InferenceInstanceType="ml.m5.xlarge", MaxInferenceInstances="1")
    assert other.endpoint_quota().state == OK
    name = "ml.c7i.4xlarge for training job usage"
    assert name in on_aws(quotas(**{name: 1}), TrainingLauncher="cpu").training_quota().detail


def test_parameters_are_read_as_the_sam_cli_reads_them() -> None:
    with pytest.raises(UsageProblem, match="no parameter 'StackX'"):
        chosen(["StackX=1"])
    with pytest.raises(UsageProblem, match="a number for MaxInferenceInstances, found 'two'"):
        chosen(["MaxInferenceInstances=two"])
    long_form = "ParameterKey=TrainingSpot,ParameterValue=true"
    assert chosen(['TrainingLauncher="cpu"', long_form, 'TrainingHyperparameters={"a": "b=c"}']) == {
        "TrainingLauncher": "cpu",
        "TrainingSpot": "true",
        "TrainingHyperparameters": '{"a": "b=c"}',
    }


def test_make_deploy_checks_the_account_for_the_parameters_it_deploys_with() -> None:
    result = subprocess.run(
        ["make", "-n", "deploy", "PARAMETERS=TrainingLauncher=cpu"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (doctor,) = (line for line in result.splitlines() if "--before-deployment" in line)
    assert doctor.endswith(" TrainingLauncher=cpu")


@pytest.mark.parametrize(("region", "named"), [("eu-west-3", " --region eu-west-3"), ("", "")])
def test_make_deploy_deploys_into_the_region_that_it_checked(region: str, named: str) -> None:
    """The SAM CLI does not read AWS_REGION, and would deploy into the profile's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    commands = subprocess.run(
        ["make", "-n", "deploy"],
        cwd=Path(__file__).parents[3],
        env=environment | ({"AWS_REGION": region} if region else {}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (deploy,) = (line for line in commands.splitlines() if "/sam deploy" in line)
    assert deploy.partition(" --config-file")[0].partition("/sam deploy")[2] == named


def test_no_quota_for_training_keeps_nobody_from_predicting(on_aws: Callable[..., Doctor]) -> None:
    check = on_aws(quotas(**{"ml.g5.12xlarge for training job usage": 0})).training_quota()
    assert check.state == WARNING and "training job" in check.detail


@pytest.mark.parametrize(("limit", "state"), [(9, WARNING), (10, OK)])
def test_an_account_of_few_functions_at_once_is_warned_of(
    on_aws: Callable[..., Doctor], limit: int, state: str
) -> None:
    answer = {"AccountLimit": {"ConcurrentExecutions": limit}}
    assert on_aws({"lambda": [("get_account_settings", answer)]}).concurrency().state == state


def test_an_image_that_the_registry_lacks_is_a_problem(on_aws: Callable[..., Doctor]) -> None:
    failure = {"failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
    check = on_aws({"ecr": [("batch_get_image", {"images": [], "failures": [failure]})]}).image()
    assert check.state == PROBLEM and "Requested image not found" in check.detail
    assert on_aws({"ecr": [("batch_get_image", {"images": [{}], "failures": []})]}).image().state == OK


@pytest.mark.parametrize(
    ("region", "chosen_account", "registry"),
    [
        ("eu-west-1", "", "763104351884"),
        ("eu-south-1", "", "692866216735"),
        ("eu-south-1", "123456789012", "123456789012"),
    ],
)
def test_the_image_is_looked_for_in_the_registry_of_the_region(
    region: str, chosen_account: str, registry: str
) -> None:
    regions: list[str] = []

    class Registry:
        def batch_get_image(self, registryId: str, **_: object) -> dict[str, object]:  # noqa: N803
            regions.append(registryId)
            return {"failures": []}

    account = Account("protloc", region, lambda service: Registry(), False, "")
    doctor = Doctor(account, {"ImageAccount": chosen_account})
    doctor.__dict__["_description"] = None
    assert doctor.image().state == OK and regions == [registry]


@pytest.mark.parametrize("account", ["", "123456789012"])
def test_a_region_without_a_registry_is_a_problem(account: str) -> None:
    """To CloudFormation also where another account is named: it looks for the region in any case."""
    chosen = {"ImageAccount": account}
    doctor = Doctor(Account("protloc", "xx-new-1", lambda service: None, False, ""), chosen)
    doctor.__dict__["_description"] = None
    assert doctor.image().state == PROBLEM


def test_what_may_not_be_asked_is_unchecked_and_hides_nothing(on_aws: Callable[..., Doctor]) -> None:
    doctor = on_aws({})

    def refuse(service: str) -> Any:
        client = boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        stubber = Stubber(client)
        for operation in {
            "sts": ["get_caller_identity"],
            "service-quotas": ["list_service_quotas"],
            "lambda": ["get_account_settings"],
            "ecr": ["batch_get_image"],
        }.get(service, []):
            stubber.add_client_error(operation, "AccessDeniedException", "not authorized")
        stubber.activate()
        return client

    doctor = type(doctor)(Account("protloc", "eu-west-1", refuse, False, ""))
    states = {check.name: check.state for check in doctor.examine()}
    assert (states.pop("deployment"), states.pop("name")) == (PROBLEM, OK)
    assert set(states.values()) == {UNCHECKED} and len(states) == 9


def test_missing_credentials_come_with_a_remedy() -> None:
    def client(service: str) -> Any:
        raise NoCredentialsError()

    first: Check = next(Doctor(Account("protloc", "eu-west-1", client, False, "")).examine())
    assert first.state == PROBLEM and "profile" in first.remedy


def test_a_stacks_name_that_would_not_fit_is_a_problem_before_anything_is_made() -> None:
    account = Account("A-Proteome", "eu-west-1", lambda service: None, False, "")
    check = Doctor(account).name()
    assert check.state == PROBLEM and "at most 22 lower-case letters" in check.detail and check.remedy
