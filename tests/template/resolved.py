"""A rendered template with its functions resolved: names and ARNs as a stack would have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

STACK, REGION, ACCOUNT = "protloc", "eu-west-1", "123456789012"
PSEUDO = {
    "AWS::StackName": STACK,
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/4c4f1f70-0b5e-11f1-9f3a-0a1b2c3d4e5f",
}
NOTHING = object()  # AWS::NoValue
SET_PARAMETERS = {
    "ImageAccount": "763104351884",
    "EncoderBucket": "my-encoders",
}  # values of parameters, where the condition that they are set is met
ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{name}}",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{name}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{name}}",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{{name}}-a1B2c3",
    "AWS::SageMaker::ModelPackageGroup": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group/{{name}}",
    "AWS::SageMaker::Endpoint": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{{name}}",
    "AWS::SageMaker::EndpointConfig": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/{{name}}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{name}}",
}
REF_IS_ARN = (
    "AWS::SNS::Topic",
    "AWS::StepFunctions::StateMachine",
    "AWS::SecretsManager::Secret",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::Endpoint",
    "AWS::SageMaker::EndpointConfig",
)
NAMES = (
    "FunctionName",
    "StateMachineName",
    "LogGroupName",
    "EndpointName",
    "ModelPackageGroupName",
    "BucketName",
)


class Resolved:
    """The template where every condition is `met`, or none; its parameters have their defaults."""

    def __init__(self, template: dict[str, Any], met: bool = True) -> None:
        self._template, self._met = template, met

    def resources(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(logical id, properties) of every resource of a kind that exists here."""
        for name, resource in self._template["Resources"].items():
            if resource["Type"] == kind and (self._met or "Condition" not in resource):
                yield name, self(resource.get("Properties", {}))

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self, value) if each is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()  # fmt: skip
            if function == "Ref":
                return self._reference(argument)
            if function == "Fn::If":
                return self(argument[1] if self._met else argument[2])
            if function == "Fn::GetAtt":
                name, _, attribute = (
                    argument.partition(".") if isinstance(argument, str) else (argument[0], "", argument[1])
                )
                return self._attribute(name, attribute)
            if function == "Fn::Sub":
                text, names = (argument, {}) if isinstance(argument, str) else argument
                return re.sub(r"\$\{([^}!]+)\}", lambda match: self._substitute(match[1], names), text)
            if function == "Fn::Join":
                return str(argument[0]).join(map(str, self(argument[1])))
            if function == "Fn::Split":
                return str(self(argument[1])).split(argument[0])
            if function == "Fn::Select":
                return self(argument[1])[int(argument[0])]
            if function == "Fn::FindInMap":
                table, *keys = self(argument)
                return self(self._template["Mappings"][table][keys[0]][keys[1]])
            assert not function.startswith("Fn::"), function
        return {
            key: each
            for key, each in ((key, self(inner)) for key, inner in value.items())
            if each is not NOTHING
        }

    def _substitute(self, name: str, names: dict[str, Any]) -> str:
        if name in names:
            return str(self(names[name]))
        resource, _, attribute = name.partition(".")
        return str(self._attribute(resource, attribute) if attribute else self._reference(name))

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self._template.get("Parameters", {}):
            default = self._template["Parameters"][name].get("Default", name)
            return SET_PARAMETERS.get(name, default) if self._met else default
        kind = self._template["Resources"][name]["Type"]
        return self._attribute(name, "Arn") if kind in REF_IS_ARN else self._name(name)

    def _name(self, name: str) -> str:
        properties = self._template["Resources"][name].get("Properties", {})
        return next(
            (str(self(properties[key])) for key in NAMES if key in properties), f"{STACK}-{name}".lower()
        )

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self._template["Resources"][name]["Type"]
        if attribute in ("Arn", "Id", "TopicArn") and kind in ARNS:
            return ARNS[kind].format(name=self._name(name))
        if attribute == "StreamArn":
            return f"{self._attribute(name, 'Arn')}/stream/2026-01-01T00:00:00.000"
        return f"{self._name(name)}"
