"""The definition held to AWS's rules: its form, lint, retries, names, and time limits."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import yaml
from cfnlint.api import ManualArgs, lint
from statelint.linter import Linter

from functions.domain.judgement import FIGURES
from model.job import LAUNCHERS
from protloc.cloud.contracts import definitions, integrations
from protloc.cloud.contracts.shapes import service_model
from tests.retraining.machine import DEFINITION, matching
from tests.retraining.test_bad_days import pauses
from tests.retraining.test_requests import ASKED, machine
from tests.retraining.test_requests import FIGURES as SENT
from tests.template.test_template import ROOT, SOURCE, resources

STATES: dict[str, Any] = machine().states
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
JOBS = {name for name, state in TASKS.items() if state["Resource"].endswith(".sync")}
PATIENCE_SECONDS = 60  # of a service that throttles
# Errors of our own functions: classes of theirs.
VERDICTS = {"InputError": "functions.domain.errors", "BrokenContract": "functions.domain.errors"}
WAITS = {"EndpointUnavailable": "functions.domain.errors", "ComponentStays": "functions.services.hosting"}
LAMBDA = {  # https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
    f"Lambda.{name}"
    for name in (
        "ServiceException",
        "AWSLambdaException",
        "SdkClientException",
        "ClientExecutionTimeoutException",
    )
}
STATES_OWN = {"States.ALL", "States.TaskFailed", "States.Timeout"}


# ── How it is read ──────────────────────────────────────────


def test_cloudformation_reads_what_is_uploaded_as_it_is_meant() -> None:
    """No alias, merge key or tag, and no word that is a number or a date to YAML alone."""
    for name, properties in resources(SOURCE, "AWS::Serverless::StateMachine"):
        text = (ROOT / properties["DefinitionUri"]).read_text()
        assert definitions.read(text) == yaml.safe_load(text), name
        marked = [
            event
            for event in yaml.parse(text, yaml.SafeLoader)
            if getattr(event, "anchor", None) or getattr(event, "tag", None)
        ]
        assert marked == [], name


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": "x"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"<<": "x", "d": 2}}),
        ("a: yes\nb: 1_000\nc: 2026-11-25\nd: ~", {"a": "yes", "b": "1_000", "c": "2026-11-25", "d": "~"}),
        ('{"a": [1, 2.5, true, null, "1"]}', {"a": [1, 2.5, True, None, "1"]}),
    ],
)
def test_the_reader_knows_of_yaml_what_cloudformation_does(text: str, read: Any) -> None:
    assert definitions.read(text) == read


# ── Linters ─────────────────────────────────────────────────


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_public_validator_of_the_states_language_finds_nothing_wrong(launcher: str) -> None:
    assert Linter.validate(copy.deepcopy(machine(launcher).definition)) == []


def test_cloudformations_linter_finds_nothing_wrong_with_the_definition() -> None:
    assert linted(machine().definition) == []


def test_cloudformations_linter_reads_the_definition() -> None:
    broken = copy.deepcopy(machine().definition)
    broken["States"]["Host"]["Parameters"] = {}
    assert linted(broken) == ["E3601"]


def linted(definition: Any) -> list[str]:
    """The rules that a template with the definition in it breaks."""
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/retrain", "Definition": definition}
    template = {"Resources": {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    return [match.rule.id for match in lint(json.dumps(template), config=ManualArgs(regions=["us-east-1"]))]


@pytest.mark.parametrize("file", [DEFINITION, ROOT / "template.yaml"])
def test_no_arn_names_a_partition(file: Any) -> None:
    """China's and the government's regions are partitions of their own."""
    lines = [
        line for line in file.read_text().splitlines() if re.search(r"arn:aws[\w-]*:", line.split(" # ")[0])
    ]
    assert lines == []


# ── Trying again ────────────────────────────────────────────


def tries(state: dict[str, Any], error: str) -> tuple[int, float]:
    """Count the retries of a task after this error, and the seconds they take."""
    retrier = matching(state.get("Retry", ()), error)
    if retrier is None:
        return 0, 0.0
    return retrier.get("MaxAttempts", 3), pauses(retrier)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_made_again_where_the_service_throttles_or_does_not_answer(name: str) -> None:
    called = integrations.service(TASKS[name]["Resource"])
    for error in (
        integrations.error(TASKS[name]["Resource"], called.throttling),
        f"{called.prefix}.{integrations.LOST}",
    ):
        attempts, seconds = tries(TASKS[name], error)
        assert attempts >= 3 and seconds >= PATIENCE_SECONDS, (error, attempts, seconds)


@pytest.mark.parametrize("name", sorted(set(TASKS) - JOBS))
def test_a_call_that_may_be_made_twice_is_made_again_after_any_error(name: str) -> None:
    assert tries(TASKS[name], "Some.ErrorException")[0] >= 3


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_job_that_failed_is_not_run_again(name: str) -> None:
    assert tries(TASKS[name], "States.TaskFailed") == tries(TASKS[name], "States.Timeout") == (0, 0.0)


@pytest.mark.parametrize("name", TASKS)
def test_errors_are_named_as_step_functions_names_them(name: str) -> None:
    state = TASKS[name]
    names = integrations.errors(state["Resource"]) | STATES_OWN
    if integrations.service(state["Resource"]).model == "lambda":
        names |= LAMBDA | set(VERDICTS) | set(WAITS)
    handled = {error for each in (*state["Retry"], *state["Catch"]) for error in each["ErrorEquals"]}
    assert handled <= names, handled - names


@pytest.mark.parametrize(("error", "module"), [*VERDICTS.items(), *WAITS.items()])
def test_our_own_errors_are_classes_of_our_functions(error: str, module: str) -> None:
    assert issubclass(getattr(import_module(module), error), Exception)


# ── Names ───────────────────────────────────────────────────


def sdk_tasks() -> list[str]:
    return [name for name, state in TASKS.items() if ":::aws-sdk:" in state["Resource"]]


@pytest.mark.parametrize("name", sdk_tasks())
def test_a_call_by_the_sdk_names_members_as_the_sdk_does(name: str) -> None:
    operation = TASKS[name]["Resource"].rpartition(":")[2]
    service = service_model(integrations.service(TASKS[name]["Resource"]).model)
    model = service.operation_model(operation[0].upper() + operation[1:])
    assert list(misnamed(TASKS[name]["Arguments"], model.input_shape)) == []
    for path in re.findall(r"\$states\.result\.([\w.]+)", json.dumps(TASKS[name])):
        shape: Any = model.output_shape
        for word in path.split("."):
            if shape.type_name == "map":
                shape = shape.value
                continue
            names = {integrations.member(each): each for each in shape.members}
            assert word in names, f"{path}: {word}"
            shape = shape.members[names[word]]


def misnamed(value: Any, shape: Any) -> Iterator[str]:
    """Members that the SDK has another name for, or does not have."""
    if shape.type_name == "structure" and isinstance(value, dict):
        names = {integrations.member(each): each for each in shape.members}
        for key, each in value.items():
            if key in names:
                yield from misnamed(each, shape.members[names[key]])
            else:
                yield key
    elif shape.type_name in ("list", "map"):
        items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        for each in items:
            yield from misnamed(each, shape.member if shape.type_name == "list" else shape.value)


def test_only_jobs_that_are_waited_for_use_sagemakers_optimised_integration() -> None:
    """It asks for more than the call: to tag, and of models to list tags (aws-cdk#32294)."""
    optimised = {name for name, state in TASKS.items() if ":::sagemaker:" in state["Resource"]}
    assert optimised == JOBS


@pytest.mark.parametrize("name", [name for name, state in TASKS.items() if "dynamodb" in state["Resource"]])
def test_items_hold_texts_and_numbers_alone(name: str) -> None:
    """Every other kind is spelled one way by the optimised integration and another by the SDK (`BOOL`, `Bool`)."""
    assert set(kinds(TASKS[name]["Arguments"])) <= {"S", "N"}


def kinds(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from kinds(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in ("Key", "Item", "ExpressionAttributeValues"):
                for attribute in each.values():
                    yield from attribute
            else:
                yield from kinds(each)


def test_the_registry_gets_a_property_for_each_figure() -> None:
    properties = ASKED["Package"].arguments["CustomerMetadataProperties"]
    assert set(SENT) == set(FIGURES)
    assert {name: float(properties[name]) for name in FIGURES} == SENT
