"""The account and region a stack is in, and its state there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import NoRegionError

# The states in which a stack does its work.
USABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS")


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """The outputs, by name, of a stack as CloudFormation describes it."""
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


@dataclass(frozen=True)
class Account:
    """The place where a stack is or may be; `client` makes a boto3 client of a service there."""

    stack: str
    region: str
    client: Callable[[str], Any]
    embedded: bool
    stack_words: str
    """The option that names the stack in a command for a person to copy."""


def session() -> boto3.Session:
    """A session with the settings that boto3 finds, and AWS_REGION, which it does not read itself."""
    return boto3.Session(region_name=os.environ.get("AWS_REGION"))


def is_embedded(endpoint_url: str) -> bool:
    """True of an address of this machine: an embedded cloud, named by AWS_ENDPOINT_URL."""
    return urlsplit(endpoint_url).hostname in ("127.0.0.1", "localhost")


def aws_account(stack: str) -> Account:
    """The account of a named stack: AWS, or the endpoint in AWS_ENDPOINT_URL. Raises NoRegionError."""
    of_aws = session()
    if of_aws.region_name is None:
        raise NoRegionError()
    here = is_embedded(of_aws.client("sts").meta.endpoint_url)
    return Account(stack, of_aws.region_name, of_aws.client, here, f" --stack {stack}")
