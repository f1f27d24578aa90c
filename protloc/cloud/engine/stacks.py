"""Repairs of the engine's CloudFormation where it differs from AWS's.

Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import json
from typing import Any

from protloc.cloud.contracts import definitions
from protloc.cloud.contracts.shapes import from_template
from protloc.cloud.engine.names import module


def repair_all() -> None:
    """Put every repair in place, once per process."""
    definitions_may_be_yaml()
    mappings_take_numbers_from_parameters()
    bucket_policies_are_made_once()
    attached_policies_stay()


def definitions_may_be_yaml() -> None:
    """A state machine's definition may be written in YAML, which CloudFormation reads in its own way."""
    provisioners = module("ministack.services.cloudformation.provisioners")
    read = provisioners._sfn_definition

    def as_json(props: dict[str, Any]) -> str:
        text: str = read(props)
        return text if text.lstrip().startswith("{") else json.dumps(definitions.read(text))

    provisioners._sfn_definition = as_json


def mappings_take_numbers_from_parameters() -> None:
    """`MaximumConcurrency: !Ref Parameter` is text in the template and a number in the mapping."""
    kind = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS[
        "AWS::Lambda::EventSourceMapping"
    ]
    create, update = kind["create"], kind["update"]

    def typed(properties: dict[str, Any]) -> dict[str, Any]:
        return from_template("lambda", "CreateEventSourceMapping", properties)

    def create_typed(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        return create(logical_id, typed(properties), stack)

    def update_typed(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
        return update(physical_id, typed(old), typed(new), *rest)

    kind["create"], kind["update"] = create_typed, update_typed


def bucket_policies_are_made_once() -> None:
    """A bucket that has a policy refuses to be given another by a stack; a policy is imported by its bucket.

    The refusal is CloudFormation's own (github.com/awslabs/cdk-serverless-clamscan/issues/1382).
    """
    storage = module("ministack.services.s3")
    handlers = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS
    kind = handlers["AWS::S3::BucketPolicy"]
    create = kind["create"]

    def create_first(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        bucket = properties.get("Bucket", "")
        if storage._bucket_policies.get(bucket):
            raise ValueError(f"The bucket policy already exists on bucket {bucket}.")
        return create(logical_id, properties, stack)

    def take_over(identifier: dict[str, str]) -> tuple[str, dict[str, str]]:
        return f"{identifier['Bucket']}-policy", {}

    def problem(bucket: str) -> str | None:
        return None if storage._bucket_policies.get(bucket) else "The bucket policy does not exist"

    kind["create"], kind["import"] = create_first, take_over
    module("ministack.services.cloudformation.changesets")._IMPORT_LOOKUPS["AWS::S3::BucketPolicy"] = (
        ("Bucket",),
        problem,
    )


def attached_policies_stay() -> None:
    """A stack whose managed policy is attached to somebody else cannot be deleted.

    CloudFormation deletes the policy as IAM does (github.com/gchq/sleeper/issues/3956), and IAM refuses:
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
    """
    policies = module("ministack.services.iam")._policies
    kind = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS[
        "AWS::IAM::ManagedPolicy"
    ]
    delete = kind["delete"]

    def delete_unattached(arn: str, properties: dict[str, Any], *rest: Any) -> Any:
        own = sum(len(properties.get(who) or ()) for who in ("Roles", "Users", "Groups"))
        if policies.get(arn, {}).get("AttachmentCount", 0) > own:
            raise ValueError("Cannot delete a policy attached to entities.")
        return delete(arn, properties, *rest)

    kind["delete"] = delete_unattached
