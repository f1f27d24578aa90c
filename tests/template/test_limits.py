"""CloudFormation's limits, and those of every name that is made from the stack's name.

Sources: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html for the template; the
registry's schemas (as cfn-lint ships them) and botocore's models for names, and where these say nothing the page
named beside the limit.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from model.serving.artifact import VERSION_PATTERN
from protloc.cloud.contracts.tasks import task as made
from protloc.stack.naming import MAX_STACK_NAME_LENGTH, BadStackName, check_stack_name
from tests.retraining.test_requests import asked
from tests.template.rendering import ROOT, VARIANTS, render
from tests.template.test_template import SOURCE

Template = dict[str, Any]
LONGEST = "a" + "b" * (MAX_STACK_NAME_LENGTH - 1)
VALUES = {
    "AWS::StackName": LONGEST,
    "AWS::StackId": f"arn:aws:cloudformation:ap-southeast-2:123456789012:stack/{LONGEST}/01234567-89ab-cdef-0123-456789abcdef",
    "AWS::Region": "ap-southeast-2",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
}
# Where the registry's schema bounds a name by nothing.
DOCUMENTED = {
    ("AWS::ApiGateway::RestApi", "title"): 1024,
    (
        "AWS::Lambda::Function",
        "FunctionName",
    ): 64,  # API_CreateFunction; the schema's pattern takes ARNs as well
}
NAMES = re.compile(r"(^Name|Name|title)$")


def named(value: Any) -> str | None:
    """A name as the longest stack has it, or None where other resources decide it."""
    match value:
        case str():
            return value
        case {"Ref": reference} if reference in VALUES:
            return VALUES[reference]
        case {"Fn::Sub": str(text)}:
            return named({"Fn::Sub": [text, {}]})
        case {"Fn::Sub": [str(text), dict(variables)]}:
            values = VALUES | {name: named(each) for name, each in variables.items()}
            names = re.findall(r"\$\{([\w:]+)\}", text)
            if any(values.get(name) is None for name in names):
                return None
            return re.sub(r"\$\{([\w:]+)\}", lambda placeholder: str(values[placeholder[1]]), text)
        case {"Fn::Select": [int(index), {"Fn::Split": [str(separator), whole]}]}:
            text = named(whole)
            return None if text is None else text.split(separator)[index]
    return None


def names(template: Template) -> Iterator[tuple[str, str, str, str]]:
    """(resource, its type, property, name) of every name that the stack's name is part of."""
    for logical, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        for key, value in {**properties, **properties.get("Body", {}).get("info", {})}.items():
            name = named(value) if NAMES.search(key) and "AWS::Stack" in json.dumps(value) else None
            if name is not None:
                yield logical, resource["Type"], key, name


def test_every_name_made_from_the_stacks_name_fits_for_the_longest_stack_name() -> None:
    template = render(**VARIANTS["everything"])
    made_names = list(names(template))
    assert {kind for _, kind, _, _ in made_names} == {
        "AWS::ApiGateway::RestApi",
        "AWS::Cognito::UserPool",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::SageMaker::Endpoint",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::Scheduler::Schedule",
        "AWS::StepFunctions::StateMachine",
    }
    for logical, kind, key, name in made_names:
        registered = PROVIDER_SCHEMA_MANAGER.get_resource_schema("ap-southeast-2", kind).schema
        schema = registered["properties"].get(key, {})
        if reference := schema.get("$ref"):
            schema = registered["definitions"][reference.rsplit("/", 1)[-1]]
        longest, pattern = DOCUMENTED.get((kind, key)) or schema.get("maxLength"), schema.get("pattern")
        assert longest or pattern, (logical, key)  # such as SageMaker's, which counts as well
        assert len(name) <= (longest or len(name)), (logical, name, longest)
        assert not pattern or re.search(pattern.replace(r"\p{L}", "A-Za-z"), name), (logical, name, pattern)


def test_every_name_that_the_state_machine_gives_fits_for_the_longest_stack_name_and_version() -> None:
    """Jobs, models, components and alarms. A version is as long as an artifact may say."""
    version = "v" * 40
    assert VERSION_PATTERN.fullmatch(version) and not VERSION_PATTERN.fullmatch(version + "v")
    count = 0
    for task in asked(Stack=LONGEST, EndpointName=LONGEST).values():
        if "sagemaker" not in task.resource:
            continue
        call = made(task.resource, task.arguments)
        assert call is not None and call.operation.input_shape is not None
        for key, value in task.arguments.items():
            if key.endswith("Name") and isinstance(value, str) and LONGEST in value:
                name = value.replace("model-1764000000000", version) if "-model-" in value else value
                limits = call.operation.input_shape.members[key].metadata
                assert len(name) <= limits["max"] and re.fullmatch(limits["pattern"], name), (
                    task.state,
                    name,
                )
                count += 1
    assert count >= 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_rendered_template_keeps_cloudformations_limits(variant: str) -> None:
    template = render(**VARIANTS[variant])
    assert (
        len(json.dumps(template)) <= 1_000_000
    )  # in S3; the 51,200 bytes of a request's own body are too few
    assert len(template["Resources"]) <= 500
    assert len(template["Parameters"]) <= 200
    assert len(template["Outputs"]) <= 200
    assert len(template["Mappings"]) <= 200
    assert len(template["Description"].encode()) <= 1024
    for name, parameter in template["Parameters"].items():
        assert len(name) <= 255
        assert len(str(parameter["Default"]).encode()) <= 4096
        assert len(parameter["Description"]) <= 4000
    assert all(len(name) <= 255 for name in [*template["Resources"], *template["Outputs"]])


def test_the_template_as_it_is_sent_fits_into_s3s_limit() -> None:
    assert (ROOT / "template.yaml").stat().st_size <= 1_000_000


def test_every_parameter_and_every_rule_says_what_it_is_for() -> None:
    for name, parameter in SOURCE["Parameters"].items():
        assert len(parameter.get("Description", "")) > 20, name
    for name, rule in SOURCE["Rules"].items():
        assert all(each["AssertDescription"] for each in rule["Assertions"]), name


@pytest.mark.parametrize("name", ["protloc", "a", "a1", "lab-7-proteome", LONGEST])
def test_a_stack_name_that_fits_is_taken(name: str) -> None:
    check_stack_name(name)


@pytest.mark.parametrize(
    "name", ["", "Protloc", "1st", "-a", "a-", "a_b", "a.b", "ä", LONGEST + "b", "a\n", "a b"]
)
def test_another_stack_name_is_refused_with_what_is_expected(name: str) -> None:
    with pytest.raises(BadStackName, match=f"at most {MAX_STACK_NAME_LENGTH} lower-case letters"):
        check_stack_name(name)
