"""The template as it would be deployed: rendered, linted, and held to its promises."""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.ask import MAX_RESIDUES
from functions.domain.packing import PackingSettings
from functions.services.endpoint import CALL_SECONDS, CONNECT_SECONDS, WRITING_SECONDS
from functions.services.settings import Settings
from protloc.stack.parameters import template
from tests.template.rendering import VARIANTS, render

ROOT = Path(__file__).parents[2]
SOURCE = template()
LINTED = yaml.safe_load((ROOT / ".ci" / "cfn-lint.yaml").read_text())
MACHINE = yaml.safe_load((ROOT / "model" / "retrain.asl.yaml").read_text())
FLOW = (
    "receive",
    "split",
    "predict",
    "complete",
    "query",
    "explain",
    "ask",
    "retry",
    "submit",
    "withdraw",
    "erase",
    "sweep",
    "serve",
)
GATEWAY_SECONDS = 29  # that API Gateway waits for a function
RETRAINING = ("plan", "judge", "smoke", "activate", "retire")
HANDLERS = (*FLOW, *RETRAINING)


def resources(template: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in resources(template, "AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            attached = policy["PolicyDocument"]["Statement"]
            for statement in attached if isinstance(attached, list) else [attached]:
                yield name, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.slow  # `make check` asks the same linter of the same variants
@pytest.mark.parametrize("variant", VARIANTS)
def test_cloudformation_finds_nothing_wrong_with_the_rendered_template(variant: str) -> None:
    """By its registry's schemas, which differ by region, and by AWS's rules for serverless applications."""
    from cfnlint.api import ManualArgs, lint

    matches = lint(json.dumps(render(**VARIANTS[variant])), config=ManualArgs(**LINTED))
    assert [f"{match.rule.id} {match.message}" for match in matches] == []


def test_every_handler_is_a_function_of_its_name_with_a_role_of_its_own() -> None:
    functions = dict(resources(SOURCE, "AWS::Serverless::Function"))
    assert set(functions) == {f"{name.capitalize()}Function" for name in HANDLERS}
    for name in HANDLERS:
        function = functions[f"{name.capitalize()}Function"]
        module, attribute = function["Handler"].rsplit(".", 1)
        assert module == f"functions.{name}" and callable(getattr(import_module(module), attribute))
        assert function["Role"] == {"Fn::GetAtt": [f"{name.capitalize()}Role", "Arn"]}


def test_a_functions_environment_holds_known_settings_only() -> None:
    names = {name.upper() for name in Settings.__annotations__} | {"BATCH_RESIDUES"}
    for _, function in resources(SOURCE, "AWS::Serverless::Function"):
        assert set(function["Environment"]["Variables"]) <= names


def test_every_route_of_the_api_asks_for_a_signature(rendered: dict[str, Any]) -> None:
    (_, api), = resources(rendered, "AWS::ApiGateway::RestApi")  # fmt: skip
    paths = dict(api["Body"]["paths"])
    condition, page, without = paths.pop("/page")["Fn::If"]  # which holds no data
    assert (condition, without) == ("ServesTeam", {"Ref": "AWS::NoValue"})
    assert set(page) == {"get", "head"}
    assert all(operation["Fn::If"][1]["security"] == [{"NONE": []}] for operation in page.values())
    assert len(paths) == 13
    for methods in paths.values():
        for operation in methods.values():
            assert operation["security"] == [{"AWS_IAM": []}]


def test_nothing_is_paid_for_while_nobody_asks() -> None:
    (variant,) = SOURCE["Resources"]["EndpointConfig"]["Properties"]["ProductionVariants"]
    assert variant["ManagedInstanceScaling"]["MinInstanceCount"] == {"Ref": "MinInferenceInstances"}
    assert "ModelName" not in variant
    assert SOURCE["Parameters"]["MinInferenceInstances"]["Default"] == 0
    assert SOURCE["Parameters"]["RetrainScheduleState"]["Default"] == "DISABLED"


def test_two_copies_of_a_model_fit_the_default_instance() -> None:
    """Old and new, beside the memory of SageMaker itself: on 16 GiB, 4,096 MiB were refused, 1,024 accepted."""
    defaults = {name: parameter["Default"] for name, parameter in SOURCE["Parameters"].items()}
    cores, mib = {"ml.c7i.2xlarge": (8, 16 * 1024)}[defaults["InferenceInstanceType"]]
    assert 2 * defaults["InferenceCores"] <= cores / 2
    assert 2 * defaults["InferenceMemoryMib"] <= mib / 8


def test_the_state_machine_uses_each_substitution_and_no_other() -> None:
    substitutions = set(SOURCE["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionSubstitutions"])
    text = (ROOT / "model" / "retrain.asl.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == substitutions


def test_every_state_of_the_machine_is_reached_and_every_task_may_fail() -> None:
    states = MACHINE["States"]
    named = {MACHINE["StartAt"]}
    for state in states.values():
        named |= {state.get("Next"), state.get("Default")}
        named |= {each["Next"] for each in (*state.get("Choices", ()), *state.get("Catch", ()))}
    assert named - {None} == set(states)
    tasks = [state for state in states.values() if state["Type"] == "Task"]
    assert all(state["Catch"][-1]["ErrorEquals"] == ["States.ALL"] for state in tasks)


def test_the_api_has_one_stage_and_it_is_throttled(rendered: dict[str, Any]) -> None:
    """The transform adds a second one to a deployment that names it."""
    deployments = resources(rendered, "AWS::ApiGateway::Deployment")
    assert not any("StageName" in deployment for _, deployment in deployments)
    ((_, stage),) = resources(rendered, "AWS::ApiGateway::Stage")
    assert stage["MethodSettings"][0]["ThrottlingRateLimit"] > 0


def test_functions_that_poll_leave_room_in_an_account_that_runs_ten_at_once() -> None:
    """Queues are polled all the time; the function that finishes an upload runs for moments, once an upload."""
    concurrency = {
        name: event["Properties"]["ScalingConfig"]["MaximumConcurrency"]
        for name, function in resources(SOURCE, "AWS::Serverless::Function")
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    defaults = {name: parameter["Default"] for name, parameter in SOURCE["Parameters"].items()}
    at_once = [defaults[each["Ref"]] if isinstance(each, dict) else each for each in concurrency.values()]
    assert len(at_once) == 3 and sum(at_once) <= 8


def test_sweep_keeps_the_dead_letters_it_took_for_as_long_as_it_may_run(rendered: dict[str, Any]) -> None:
    sweep = rendered["Resources"]["SweepFunction"]["Properties"]
    swept = [
        value["Ref"] for name, value in sweep["Environment"]["Variables"].items() if "DEAD_LETTERS" in name
    ]
    queues = dict(resources(rendered, "AWS::SQS::Queue"))
    assert len(swept) == 3
    assert all(queues[name]["VisibilityTimeout"] > sweep["Timeout"] for name in swept)


def test_every_queue_says_how_large_a_message_may_be(rendered: dict[str, Any]) -> None:
    sizes = {queue.get("MaximumMessageSize") for _, queue in resources(rendered, "AWS::SQS::Queue")}
    assert sizes == {1024 * 1024}


def test_an_upload_that_cannot_be_finished_holds_up_few_others_and_not_for_long(
    rendered: dict[str, Any],
) -> None:
    bounds = {
        name: (each["ParallelizationFactor"], each["MaximumRetryAttempts"])
        for name, each in resources(rendered, "AWS::Lambda::EventSourceMapping")
        if "ParallelizationFactor" in each
    }
    assert bounds == {"CompleteFunctionFinishing": (10, 2), "EraseFunctionDeleting": (2, 2)}


def test_versions_of_checkpoints_that_a_job_dropped_expire(rendered: dict[str, Any]) -> None:
    rules = rendered["Resources"]["ModelsBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (rule,) = (rule for rule in rules if "training/".startswith(rule.get("Prefix", "none")))
    assert (
        rule["NoncurrentVersionExpiration"]
        and rule["ExpiredObjectDeleteMarker"]
        and "ExpirationInDays" not in rule
    )


def test_a_function_has_time_for_the_most_that_a_delivery_may_ask_of_it() -> None:
    functions = dict(resources(SOURCE, "AWS::Serverless::Function"))
    assert functions["PredictFunction"]["Timeout"] >= 2 * CALL_SECONDS + WRITING_SECONDS
    for name, seconds_after in (("ExplainFunction", 0), ("AskFunction", 5)):
        function = functions[name]
        model_seconds = int(function["Environment"]["Variables"]["MODEL_SECONDS"])
        assert CONNECT_SECONDS + model_seconds + seconds_after < function["Timeout"] <= GATEWAY_SECONDS
    asked = int(functions["AskFunction"]["Environment"]["Variables"]["MODEL_SECONDS"])
    assert MAX_RESIDUES / PackingSettings.batch_residues <= asked / 60, "of 60 seconds for a whole batch"
    (uploads,) = functions["ReceiveFunction"]["Events"].values()
    assert uploads["Properties"]["BatchSize"] == 1, "a thousand shards are sent one by one"
