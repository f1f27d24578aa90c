"""The template as it would be deployed: rendered, linted, and held to its promises."""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.api import ManualArgs, lint
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.public.translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from functions.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = yaml_parse((ROOT / "template.yaml").read_text())
MACHINE = yaml.safe_load((ROOT / "statemachine" / "retrain.asl.yaml").read_text())
HANDLERS = ("receive", "split", "predict", "complete", "query", "retry", "sweep", "smoke")

# Statements that may name every resource, and why nothing smaller can be named.
WILDCARDS = {
    "Measure": "CloudWatch metrics are no resources; the namespace is a condition",
    "LogInToRegistry": "an authorization token is no resource",
}


class NoManagedPolicies(ManagedPolicyLoader):  # type: ignore[misc]
    """Roles are written out; a managed policy would be one too many."""

    def __init__(self) -> None:
        super().__init__(None)

    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    """The template after the serverless transform, as CloudFormation gets it."""
    source = yaml_parse((ROOT / "template.yaml").read_text())
    source["Globals"]["Function"]["CodeUri"] = "s3://artifacts/functions.zip"
    source["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionUri"] = (
        "s3://artifacts/retrain.asl.yaml"
    )
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
            made: dict[str, Any] = transform(source, {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        pytest.fail("; ".join(cause.message for cause in error.causes))
    return made


def resources(template: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in resources(template, "AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            found = policy["PolicyDocument"]["Statement"]
            for statement in found if isinstance(found, list) else [found]:
                yield name, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cloudformation_finds_nothing_wrong_with_the_rendered_template(rendered: dict[str, Any]) -> None:
    found = lint(json.dumps(rendered), config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_every_handler_is_a_function_of_its_name_with_a_role_of_its_own() -> None:
    functions = dict(resources(SOURCE, "AWS::Serverless::Function"))
    assert set(functions) == {f"{name.capitalize()}Function" for name in HANDLERS}
    for name in HANDLERS:
        function = functions[f"{name.capitalize()}Function"]
        module, attribute = function["Handler"].rsplit(".", 1)
        assert module == f"functions.{name}" and callable(getattr(import_module(module), attribute))
        assert function["Role"] == {"Fn::GetAtt": [f"{name.capitalize()}Role", "Arn"]}


def test_a_function_is_told_only_what_settings_know() -> None:
    known = {name.upper() for name in Settings.__annotations__} | {"BATCH_RESIDUES"}
    for _, function in resources(SOURCE, "AWS::Serverless::Function"):
        assert set(function["Environment"]["Variables"]) <= known


def test_a_role_allows_no_wildcard_action_and_few_wildcard_resources(rendered: dict[str, Any]) -> None:
    for role, statement in statements(rendered):
        assert not any("*" in action for action in as_list(statement["Action"])), role
        if "*" in as_list(statement["Resource"]):
            assert statement["Sid"] in WILDCARDS, (role, statement)


def test_a_role_is_handed_on_to_sagemaker_alone(rendered: dict[str, Any]) -> None:
    handing = [s for _, s in statements(rendered) if "iam:PassRole" in as_list(s["Action"])]
    assert len(handing) == 1
    assert handing[0]["Resource"] == {"Fn::GetAtt": ["ModelRole", "Arn"]}
    assert handing[0]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_buckets_are_versioned_encrypted_private_and_refuse_plain_http(rendered: dict[str, Any]) -> None:
    policies = [policy for _, policy in resources(rendered, "AWS::S3::BucketPolicy")]
    guarded = {
        policy["Bucket"]["Ref"]
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and statement["Action"] == "s3:*"
    }
    buckets = dict(resources(rendered, "AWS::S3::Bucket"))
    assert guarded == set(buckets)
    for bucket in buckets.values():
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert "ServerSideEncryptionByDefault" in str(bucket["BucketEncryption"])
        assert all(bucket["PublicAccessBlockConfiguration"].values())


def test_a_message_outlives_six_timeouts_of_its_function_and_then_is_a_dead_letter(
    rendered: dict[str, Any],
) -> None:
    queues = dict(resources(rendered, "AWS::SQS::Queue"))
    functions = dict(resources(rendered, "AWS::Lambda::Function"))
    fed = 0
    for _, mapping in resources(rendered, "AWS::Lambda::EventSourceMapping"):
        queue = queues.get(mapping["EventSourceArn"]["Fn::GetAtt"][0])
        if queue is None:
            assert mapping["DestinationConfig"]["OnFailure"]
            continue
        fed += 1
        timeout = functions[mapping["FunctionName"]["Ref"]]["Timeout"]
        assert queue["VisibilityTimeout"] >= 6 * timeout
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"]["MaximumConcurrency"]
    assert fed == 3


def test_every_queue_of_dead_letters_has_an_alarm(rendered: dict[str, Any]) -> None:
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for _, alarm in resources(rendered, "AWS::CloudWatch::Alarm")
        for dimension in alarm["Dimensions"]
        if dimension["Name"] == "QueueName"
    }
    assert {
        name for name, _ in resources(rendered, "AWS::SQS::Queue") if name.endswith("DeadLetters")
    } <= watched
    for _, alarm in resources(rendered, "AWS::CloudWatch::Alarm"):
        assert alarm["AlarmActions"] == [{"Ref": "NotificationsTopic"}]


def test_every_function_logs_for_a_limited_time(rendered: dict[str, Any]) -> None:
    groups = dict(resources(rendered, "AWS::Logs::LogGroup"))
    assert all("RetentionInDays" in group for group in groups.values())
    for _, function in resources(rendered, "AWS::Lambda::Function"):
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups


def test_every_route_of_the_api_asks_for_a_signature(rendered: dict[str, Any]) -> None:
    (_, api), = resources(rendered, "AWS::ApiGateway::RestApi")  # fmt: skip
    body = api["Body"]
    assert len(body["paths"]) == 8
    for methods in body["paths"].values():
        for operation in methods.values():
            assert operation["security"] == [{"AWS_IAM": []}]


def test_nothing_is_paid_for_while_nobody_asks() -> None:
    (variant,) = SOURCE["Resources"]["EndpointConfig"]["Properties"]["ProductionVariants"]
    assert variant["ManagedInstanceScaling"]["MinInstanceCount"] == 0
    assert "ModelName" not in variant
    assert SOURCE["Parameters"]["RetrainScheduleState"]["Default"] == "DISABLED"


def test_the_state_machine_uses_each_substitution_and_no_other() -> None:
    given = set(SOURCE["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionSubstitutions"])
    text = (ROOT / "statemachine" / "retrain.asl.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == given


def test_every_state_of_the_machine_is_reached_and_every_task_may_fail() -> None:
    states = MACHINE["States"]
    named = {MACHINE["StartAt"]}
    for state in states.values():
        named |= {state.get("Next"), state.get("Default")}
        named |= {each["Next"] for each in (*state.get("Choices", ()), *state.get("Catch", ()))}
    assert named - {None} == set(states)
    ends = {"RecordFailure"}  # where a failure would have nothing left to undo
    tasks = {name for name, state in states.items() if state["Type"] == "Task"}
    assert {name for name in tasks if "Catch" not in states[name]} == ends
