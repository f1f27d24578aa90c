"""The template's queues, tables, functions and stream, under which the simulation runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from protloc.stack.parameters import template
from tests.simulation.database import Item, Key


@dataclass(frozen=True)
class DeployedQueue:
    visibility_seconds: int
    retention_seconds: int
    max_receives: int


@dataclass(frozen=True)
class DeployedFunction:
    timeout_seconds: int
    batch_size: int
    concurrency: int
    may_loop: bool
    says_which_failed: bool
    """True if Lambda asks which records of a delivery failed; else it takes any answer for the success of all."""


@dataclass(frozen=True)
class DeployedStream:
    attempts: int
    says_which_failed: bool
    max_age_seconds: int
    pattern: dict[str, Any]


def resources() -> dict[str, Any]:
    by_name: dict[str, Any] = template()["Resources"]
    return by_name


@cache
def queue(name: str) -> DeployedQueue:
    properties = resources()[name]["Properties"]
    return DeployedQueue(
        properties.get("VisibilityTimeout", 30),
        properties.get("MessageRetentionPeriod", 4 * 86_400),
        properties.get("RedrivePolicy", {}).get("maxReceiveCount", 0),
    )


@cache
def function(name: str) -> DeployedFunction:
    properties = resources()[name]["Properties"]
    (source,) = (e for e in properties["Events"].values() if e["Type"] in ("SQS", "DynamoDB"))
    concurrency = source["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency", 10)
    return DeployedFunction(
        properties["Timeout"],
        source["Properties"]["BatchSize"],
        concurrency if isinstance(concurrency, int) else 10,
        properties.get("RecursiveLoop") == "Allow",
        "ReportBatchItemFailures" in source["Properties"].get("FunctionResponseTypes", []),
    )


@cache
def timeout(name: str) -> int:
    """Seconds after which Lambda ends a function."""
    return int(resources()[name]["Properties"]["Timeout"])


@cache
def schedules(name: str) -> tuple[str, ...]:
    """The events that a function's schedules send it, the most frequent first."""
    events = resources()[name]["Properties"]["Events"].values()
    scheduled = [event["Properties"] for event in events if event["Type"] == "ScheduleV2"]
    return tuple(
        schedule["Input"]
        for schedule in sorted(scheduled, key=lambda each: "hour" in each["ScheduleExpression"])
    )


def environment(name: str, parameters: dict[str, str]) -> dict[str, str]:
    """A function's environment: names of resources as the simulation has them, parameters or their defaults."""
    common = template()["Globals"]["Function"]["Environment"]["Variables"]
    variables = common | resources()[name]["Properties"].get("Environment", {}).get("Variables", {})
    return {variable: _resolved(value, parameters) for variable, value in variables.items()}


def _resolved(value: Any, parameters: dict[str, str]) -> str:
    if not isinstance(value, dict):
        return str(value)
    ((kind, about),) = value.items()
    if kind == "Ref" and about in template()["Parameters"]:
        return parameters.get(about, str(template()["Parameters"][about].get("Default", "")))
    if about == "AWS::StackName" or kind == "Fn::GetAtt":
        return "stack"  # the name of everything that the simulation has one of
    return BUCKETS.get(str(about), str(about))


BUCKETS = {"UploadsBucket": "uploads", "ResultsBucket": "results"}


@cache
def stream(function: str) -> DeployedStream:
    """The part of the uploads table's stream that a function hears."""
    (source,) = resources()[f"{function.title()}Function"]["Properties"]["Events"].values()
    properties = source["Properties"]
    (only,) = properties["FilterCriteria"]["Filters"]
    return DeployedStream(
        1 + properties["MaximumRetryAttempts"],
        "ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
        properties["MaximumRecordAgeInSeconds"],
        json.loads(only["Pattern"]),
    )


@cache
def table(name: str) -> tuple[Key, dict[str, Key]]:
    """A table's keys, and those of its indexes."""
    properties = resources()[name]["Properties"]
    indexes = {i["IndexName"]: _keys(i["KeySchema"]) for i in properties.get("GlobalSecondaryIndexes", [])}
    return _keys(properties["KeySchema"]), indexes


@cache
def expiry(name: str) -> str:
    """The attribute by which a table's items expire; empty where they do not."""
    setting = resources()[name]["Properties"].get("TimeToLiveSpecification", {})
    return str(setting["AttributeName"]) if setting.get("Enabled") else ""


def _keys(schema: list[dict[str, str]]) -> Key:
    first, second = (each["AttributeName"] for each in schema)
    return first, second


def passes(pattern: Any, value: Any) -> bool:
    """True if a stream's filter lets a record through: nested patterns, ended by lists of choices."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(passes(p, value.get(name)) for name, p in pattern.items())
    return any(_is_choice(choice, value) for choice in pattern)


def _is_choice(choice: Any, value: Any) -> bool:
    if isinstance(choice, dict):
        ((rule, expected),) = choice.items()
        if rule != "exists":
            raise NotImplementedError(f"the filter rule {rule}")
        return (value is not None) == bool(expected)
    return bool(choice == value)


def as_record(new: Item) -> dict[str, Any]:
    """A stream record of an item, as far as filters look at it: its texts."""
    return {"dynamodb": {"NewImage": {k: {"S": v} for k, v in new.items() if isinstance(v, str)}}}
