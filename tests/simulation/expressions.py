"""DynamoDB's expressions, as far as the functions use them: compiled once, an error on anything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

Item = dict[str, Any]
Substitutes = dict[str, Any]  # `#name` to attribute, `:value` to value
Condition = Callable[[Item, Substitutes], bool]
Change = Callable[[Item, Item, Substitutes], None]  # of a new item, seeing the old one

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[#:]?\w+)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<>": lambda a, b: bool(a != b),
    "<": lambda a, b: a is not None and bool(a < b),
    "<=": lambda a, b: a is not None and bool(a <= b),
    ">": lambda a, b: a is not None and bool(a > b),
    ">=": lambda a, b: a is not None and bool(a >= b),
}
_SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")


@cache
def tokens(text: str) -> tuple[str, ...]:
    words, position = list[str](), 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotImplementedError(f"{text!r} at {position}")
        words.append(match[1])
        position = match.end()
    return tuple(words)


def _attribute(token: str, substitutes: Substitutes) -> str:
    return str(substitutes[token]) if token.startswith("#") else token


def _operand(token: str) -> Callable[[Item, Substitutes], Any]:
    if token.startswith(":"):
        return lambda _item, substitutes: substitutes[token]
    return lambda item, substitutes: item.get(_attribute(token, substitutes))


@cache
def compile_condition(text: str) -> Condition:
    """AND, OR, NOT, parentheses, comparisons, IN, size, attribute_exists and attribute_not_exists."""
    rest = list(tokens(text)[::-1])

    def take(expected: str | None = None) -> str:
        token = rest.pop()
        if expected is not None and token != expected:
            raise NotImplementedError(f"expected {expected!r}, found {token!r} in {text!r}")
        return token

    def either() -> Condition:
        parts = [both()]
        while rest and rest[-1] == "OR":
            take()
            parts.append(both())
        return parts[0] if len(parts) == 1 else lambda i, s: any(part(i, s) for part in parts)

    def both() -> Condition:
        parts = [one()]
        while rest and rest[-1] == "AND":
            take()
            parts.append(one())
        return parts[0] if len(parts) == 1 else lambda i, s: all(part(i, s) for part in parts)

    def one() -> Condition:
        token = take()
        if token == "NOT":
            inner = one()
            return lambda i, s: not inner(i, s)
        if token == "(":
            inner = either()
            take(")")
            return inner
        if token in ("attribute_exists", "attribute_not_exists"):
            take("(")
            name = take()
            take(")")
            exists = token == "attribute_exists"
            return lambda i, s: (_attribute(name, s) in i) == exists
        left, operator = size() if token == "size" else _operand(token), take()
        if operator == "IN":
            take("(")
            choices = [_operand(take())]
            while take() == ",":
                choices.append(_operand(take()))
            return lambda i, s: left(i, s) in [choice(i, s) for choice in choices]
        compare, right = _COMPARISONS[operator], _operand(take())
        return lambda i, s: compare(left(i, s), right(i, s))

    def size() -> Callable[[Item, Substitutes], Any]:
        take("(")
        name = take()
        take(")")
        return lambda i, s: len(i[_attribute(name, s)]) if _attribute(name, s) in i else None

    condition = either()
    if rest:
        raise NotImplementedError(f"{rest[::-1]} at the end of {text!r}")
    return condition


@cache
def compile_update(text: str) -> Change:
    """SET of values, REMOVE, and ADD and DELETE of numbers and sets."""
    changes: list[Change] = []
    section = ""
    clause: list[str] = []

    def close() -> None:
        if clause:
            changes.append(_change(section, tuple(clause), text))
            clause.clear()

    for token in tokens(text):
        if token in _SECTIONS:
            close()
            section = token
        elif token == "," and "(" not in clause[-3:]:
            close()
        elif token == ",":
            pass
        else:
            clause.append(token)
    close()

    def apply(new: Item, old: Item, substitutes: Substitutes) -> None:
        for change in changes:
            change(new, old, substitutes)

    return apply


def _change(section: str, clause: tuple[str, ...], text: str) -> Change:
    match section, clause:
        case "SET", (name, "=", value):
            operand = _operand(value)

            def assign(new: Item, old: Item, s: Substitutes) -> None:
                new[_attribute(name, s)] = operand(old, s)

            return assign
        case "SET", (name, "=", "if_not_exists", "(", other, value, ")"):
            fallback = _operand(value)

            def assign_first(new: Item, old: Item, s: Substitutes) -> None:
                new[_attribute(name, s)] = old.get(_attribute(other, s), fallback(old, s))

            return assign_first
        case "REMOVE", (name,):
            return lambda new, _old, s: void(new.pop(_attribute(name, s), None))
        case "ADD", (name, value):

            def add(new: Item, old: Item, s: Substitutes) -> None:
                attribute, amount = _attribute(name, s), s[value]
                before = old.get(attribute, Decimal(0) if isinstance(amount, Decimal) else set())
                new[attribute] = before | amount if isinstance(amount, set) else before + amount

            return add
        case "DELETE", (name, value):

            def delete(new: Item, old: Item, s: Substitutes) -> None:
                attribute = _attribute(name, s)
                remaining = old.get(attribute, set()) - s[value]
                if remaining:
                    new[attribute] = remaining
                else:
                    new.pop(attribute, None)

            return delete
    raise NotImplementedError(f"{section} {clause} in {text!r}")


def void(_value: object) -> None:
    """None for any value: makes a statement of an expression."""
