"""Requests against the whole of a service's model: a service is stricter than the SDK.

botocore's models hold the service's checks for every member: whether it must be there, its pattern, length,
range and choices, the size of a list or map, that a union has one member. The SDK checks little more than
types (https://github.com/boto/botocore/pull/779). Pure: an operation's model and parameters in, violations
out, worded as the services word them. An operation's checks are put together once, and members without checks
are not looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NamedTuple

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from protloc.cloud.contracts import patterns

Kind = Literal["required", "length", "range", "pattern", "enum", "union", "type"]
Report = Callable[["Violation"], None]
Check = Callable[[Any, str, Report], None]

# Services that are laxer than their models: (service, shape) → checks of the model that are not enforced.
UNENFORCED: dict[tuple[str, str], frozenset[Kind]] = {
    # Part of an item's size, of which the service and the engine speak in other words; items stay unread.
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
    ("dynamodb", "AttributeName"): frozenset({"length"}),
}

# Services that are stricter than their models: (service, shape, member) → checks that the model lacks.
UNMODELLED: dict[tuple[str, str, str], dict[str, Any]] = {
    # https://github.com/aws-samples/amazon-sqs-dlq-replay-backoff/issues/8
    ("sqs", "SendMessageRequest", "DelaySeconds"): {"min": 0, "max": 900},
    # https://github.com/aws/aws-sdk-java/issues/197
    ("sqs", "ReceiveMessageRequest", "MaxNumberOfMessages"): {"min": 1, "max": 10},
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
    ("sqs", "ReceiveMessageRequest", "WaitTimeSeconds"): {"min": 0, "max": 20},
    ("sqs", "ReceiveMessageRequest", "VisibilityTimeout"): {"min": 0, "max": 43_200},
    ("sqs", "ChangeMessageVisibilityRequest", "VisibilityTimeout"): {"min": 0, "max": 43_200},
    # https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
    ("lambda", "CreateFunctionRequest", "Timeout"): {"max": 900},
    ("lambda", "UpdateFunctionConfigurationRequest", "Timeout"): {"max": 900},
    # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
    ("sns", "PublishInput", "Subject"): {"min": 1, "max": 99, "pattern": r"\P{Cc}*"},
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    ("cloudwatch", "PutMetricAlarmInput", "TreatMissingData"): {
        "enum": ["breaching", "notBreaching", "ignore", "missing"]
    },
}

NUMBERS = ("integer", "long", "float", "double")
EXPECTED: dict[str, Any] = {
    "structure": Mapping,
    "map": Mapping,
    "list": (list, tuple),
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float, Decimal),
    "double": (int, float, Decimal),
    "blob": (str, bytes, bytearray),
}


@dataclass(frozen=True)
class Violation:
    """One thing a service would refuse, and the member it would name, `tags.1.member.key` for instance."""

    kind: Kind
    member: str
    value: Any
    constraint: str
    culprit: Any = None  # of a list or map: its faulty items
    sensitive: bool = False

    def __str__(self) -> str:
        value = "" if self.sensitive else " null" if self.value is None else f" '{shown(self.value)}'"
        return f"Value{value} at '{self.member}' failed to satisfy constraint: {self.constraint}"


class Limit(NamedTuple):
    """One check of a value, and how a service words it."""

    kind: Kind
    constraint: str
    holds: Callable[[Any], bool]


def violations(operation: OperationModel, parameters: Mapping[str, Any]) -> list[Violation]:
    """All that the service would refuse about the parameters of a call."""
    problems: list[Violation] = []
    check = _of_operation(operation)
    if check is not None:
        check(parameters, "", problems.append)
    return problems


def message(problems: list[Violation]) -> str:
    """The violations in a service's words: https://github.com/hashicorp/terraform-provider-aws/issues/36076"""
    counted = "1 validation error" if len(problems) == 1 else f"{len(problems)} validation errors"
    return f"{counted} detected: " + "; ".join(map(str, problems))


def shown(value: Any) -> str:
    """A value as Java prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{len(value)} bytes" if isinstance(value, (bytes, bytearray)) else str(value)


def is_checked(service: str, shape: Shape) -> bool:
    """True if a service checks anything within a shape."""
    with _making:
        return _check(service, shape) is not None


# ── checks of shapes ────────────────────────────────────────

_ready: dict[tuple[str, str], Check | None] = {}
_known: dict[tuple[str, str], Check | None] = {}
_making = threading.RLock()


def _of_operation(operation: OperationModel) -> Check | None:
    service = operation.service_model.service_name
    key = (service, operation.name)
    if key not in _ready:
        with _making:
            _ready[key] = _check(service, operation.input_shape) if operation.input_shape else None
    return _ready[key]


def _check(service: str, shape: Shape) -> Check | None:
    """The check of a shape and all it holds, but for its own limits, which are its holder's to report."""
    key = (service, shape.name)
    if key not in _known:
        _known[key] = None
        if any(_has_checks(service, each) for each in _within(shape, set())):
            # A shape that holds itself finds this while its own check is made.
            _known[key] = lambda *arguments: made(*arguments)
            made = _MAKERS[shape.type_name](service, shape)
            _known[key] = made
    return _known[key]


def _has_checks(service: str, shape: Shape) -> bool:
    if isinstance(shape, StructureShape):
        added = any(key[:2] == (service, shape.name) for key in UNMODELLED)
        return (
            bool(shape.required_members)
            or _is_union(shape)
            or added
            or any(_limits(service, each) for each in shape.members.values())
        )
    return any(_limits(service, each) for each in _held(shape))


def _within(shape: Shape, seen: set[str]) -> Iterator[Shape]:
    """The shape and all that it may hold, each once."""
    if shape.name not in seen:
        seen.add(shape.name)
        yield shape
        for each in _held(shape):
            yield from _within(each, seen)


def _held(shape: Shape) -> list[Shape]:
    if isinstance(shape, StructureShape):
        return list(shape.members.values())
    if isinstance(shape, ListShape):
        return [shape.member]
    return [shape.key, shape.value] if isinstance(shape, MapShape) else []


def _is_union(shape: Shape) -> bool:
    return bool(shape.metadata.get("union"))


def _structure(service: str, shape: StructureShape) -> Check:
    members = []
    for name, member in shape.members.items():
        limits = _limits(service, member, UNMODELLED.get((service, shape.name, name)))
        # The SDKs, Step Functions' too, fill in a token that is left out.
        required = name in shape.required_members and not member.metadata.get("idempotencyToken")
        check = _check(service, member)
        if limits or required or check:
            members.append((name, name[:1].lower() + name[1:], member, required, limits, check))
    union = _is_union(shape)

    def check_structure(value: Any, place: str, report: Report) -> None:
        for name, shown_name, member, required, limits, check in members:
            each = value.get(name)
            if each is None:
                if required:
                    report(Violation("required", place + shown_name, None, "Member must not be null"))
            elif _typed(each, member, place + shown_name, report):
                for limit in limits:
                    if not limit.holds(each):
                        report(_violation(limit.kind, place + shown_name, each, limit.constraint, member))
                if check is not None:
                    check(each, f"{place}{shown_name}.", report)
        if union and sum(each is not None for each in value.values()) != 1:
            choices = ", ".join(name[:1].lower() + name[1:] for name in shape.members)
            report(Violation("union", place[:-1], value, f"Union must have one member of: [{choices}]"))

    return check_structure


def _list(service: str, shape: ListShape) -> Check:
    return _collection(
        service, shape, shape.member, "Member must satisfy constraint", partial(enumerate, start=1)
    )


def _map(service: str, shape: MapShape) -> Check:
    keys = _limits(service, shape.key)
    values = _collection(service, shape, shape.value, "Map value must satisfy constraint", Mapping.items)

    def check_map(value: Any, place: str, report: Report) -> None:
        for key in value:
            if bad := next((limit for limit in keys if not limit.holds(key)), None):
                text = f"Map keys must satisfy constraint: {_listed(keys)}"
                report(_violation(bad.kind, place[:-1], value, text, shape, shape.key, culprit=key))
                break
        values(value, place, report)

    return check_map


def _collection(
    service: str,
    shape: Shape,
    member: Shape,
    words: str,
    numbered: Callable[[Any], Iterable[tuple[Any, Any]]],
) -> Check:
    """Checks the items of a list or map: a structure is named by its place, the rest with the whole."""
    limits, check = _limits(service, member), _check(service, member)

    def check_collection(value: Any, place: str, report: Report) -> None:
        reported = False
        for key, each in numbered(value):
            if each is None or not _typed(each, member, f"{place}{key}.member", report):
                continue
            bad = None if reported else next((limit for limit in limits if not limit.holds(each)), None)
            if bad:
                reported = True
                text = f"{words}: {_listed(limits)}"
                report(_violation(bad.kind, place[:-1], value, text, shape, member, culprit=each))
            if check is not None:
                check(each, f"{place}{key}.member.", report)

    return check_collection


_MAKERS: dict[str, Callable[[str, Any], Check]] = {"structure": _structure, "list": _list, "map": _map}


# ── limits of values ────────────────────────────────────────


def _limits(service: str, shape: Shape, unmodelled: Mapping[str, Any] | None = None) -> list[Limit]:
    """The checks of a value alone, in the order in which services list them."""
    limits: list[Limit] = []
    constraints = {**shape.metadata, **(unmodelled or {})}
    kind: Kind = "range" if shape.type_name in NUMBERS else "length"
    measure, size = (_same, "value") if kind == "range" else (len, "length")
    low, high = constraints.get("min"), constraints.get("max")
    if high is not None:
        text = f"Member must have {size} less than or equal to {high}"
        limits.append(Limit(kind, text, partial(_at_most, measure, high)))
    if low is not None and (low > 0 or kind == "range"):
        text = f"Member must have {size} greater than or equal to {low}"
        limits.append(Limit(kind, text, partial(_at_least, measure, low)))
    if shape.type_name == "string" and "pattern" in constraints:
        text = f"Member must satisfy regular expression pattern: {constraints['pattern']}"
        limits.append(Limit("pattern", text, partial(patterns.matches, constraints["pattern"])))
    if shape.type_name == "string" and constraints.get("enum"):
        text = f"Member must satisfy enum value set: [{', '.join(constraints['enum'])}]"
        limits.append(Limit("enum", text, frozenset(constraints["enum"]).__contains__))
    left_out = UNENFORCED.get((service, shape.name), frozenset())
    return [limit for limit in limits if limit.kind not in left_out]


def _same(value: Any) -> Any:
    return value


def _at_most(measure: Callable[[Any], Any], limit: float, value: Any) -> bool:
    return bool(measure(value) <= limit)


def _at_least(measure: Callable[[Any], Any], limit: float, value: Any) -> bool:
    return bool(measure(value) >= limit)


def _listed(limits: list[Limit]) -> str:
    return f"[{', '.join(limit.constraint for limit in limits)}]"


def _violation(
    kind: Kind, member: str, value: Any, constraint: str, *shapes: Shape, culprit: Any = None
) -> Violation:
    """A violation that keeps a secret: https://github.com/trek10inc/serverless-secrets/issues/39"""
    sensitive = any(each.metadata.get("sensitive") for each in shapes)
    return Violation(kind, member, value, constraint, culprit, sensitive)


def _typed(value: Any, shape: Shape, member: str, report: Report) -> bool:
    """True if a value is of its shape's type at all; only then can anything else be checked."""
    expected = EXPECTED.get(shape.type_name, object)
    if isinstance(value, expected) and not (shape.type_name in NUMBERS and isinstance(value, bool)):
        return True
    report(_violation("type", member, value, f"Member must be of the type {shape.type_name}", shape))
    return False
