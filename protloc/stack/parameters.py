"""The template's parameters: their defaults, and the `Name=value` words of the SAM CLI that choose others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from protloc.errors import UsageProblem
from protloc.project import TEMPLATE
from protloc.stack.template import parse

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_LONG_FORM = re.compile(r"ParameterKey=([^,]*),ParameterValue=(.*)", re.DOTALL)


@cache
def template() -> dict[str, Any]:
    """The template as the SAM CLI reads it."""
    return parse(TEMPLATE.read_text(encoding="utf-8"))


def defaults() -> dict[str, str]:
    parameters = template()["Parameters"].items()
    return {name: str(parameter["Default"]) for name, parameter in parameters if "Default" in parameter}


def chosen(words: Iterable[str]) -> dict[str, str]:
    """The values that the words choose. Raises UsageProblem for one that the template does not have.

    The SAM CLI passes over a name that the template lacks (`DeployContext.merge_parameters`), so a typing
    mistake would deploy the default.
    """
    declared, values = template()["Parameters"], {}
    for word in words:
        long_form = _LONG_FORM.fullmatch(word)
        name, value = long_form.groups() if long_form else word.partition("=")[::2]
        value = value.strip("\"'")
        if name not in declared:
            raise UsageProblem(f"the template has no parameter {name!r}; expected Name=value")
        if declared[name]["Type"] == "Number" and not _NUMBER.fullmatch(value):
            raise UsageProblem(f"expected a number for {name}, found {value!r}")
        values[name] = value
    return values
