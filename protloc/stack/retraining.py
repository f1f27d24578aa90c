"""Retraining, from the outside: started, followed step by step, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from protloc.errors import UsageProblem
from protloc.safe import safe
from protloc.stack import executions
from protloc.stack.client import Client

# SageMaker's names, of which the version is a part behind the stack's.
NAME = re.compile("[a-zA-Z0-9](-?[a-zA-Z0-9])*")
MAX_NAME_CHARACTERS = 40
OURS = ("model-version", "training", "validation", "model-dir")  # what the state machine itself sets

View = dict[str, Any]
Tell = Callable[[str], None]


class Started(NamedTuple):
    """A retraining that is on its way."""

    version: str
    execution: str


def settings(words: tuple[str, ...]) -> dict[str, str | None]:
    """`NAME=VALUE` words as settings of the training program; `null` takes one of the stack's away.

    >>> settings(("epochs=3", "frozen_layers=all", "start=null"))
    {'epochs': '3', 'frozen-layers': 'all', 'start': None}
    """
    chosen: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.removeprefix("--").replace("_", "-")
        if not equals or not name:
            raise UsageProblem(f"expected --set NAME=VALUE, as in --set epochs=3, found {safe(word, 60)}")
        if name.startswith("sagemaker") or name in OURS:
            instead = "; name the version with --version" if name == "model-version" else ""
            raise UsageProblem(f"{name} is not for --set: the retraining sets it{instead}")
        chosen[name] = None if value == "null" else value
    return chosen


def start(client: Client, version: str | None, set_: Mapping[str, str | None], *, again: bool) -> Started:
    """Start a retraining; without a version it gets one that says when it began."""
    if version is None:
        version = f"model-{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
    elif not NAME.fullmatch(version) or len(version) > MAX_NAME_CHARACTERS:
        raise UsageProblem(
            f"expected a version of letters, digits and single hyphens, at most {MAX_NAME_CHARACTERS}, "
            f"found {safe(version, 60)}"
        )
    for known in client.models()["models"]:
        if known["version"] == version and known["state"] != "failed":
            raise UsageProblem(f"there is a model version {version} already ({known['state']})")
    request: View = {"hyperparameters": dict(set_)} if set_ else {}
    return Started(version, executions.start(client, version, request | ({"again": True} if again else {})))


def outcome(client: Client, started: Started, tell: Tell) -> View:
    """Follow a retraining to its end: `outcome`, `version`, `reason` and `report`."""
    description = executions.follow(client, started.execution, tell)
    if description["status"] != executions.SUCCEEDED:
        return {
            "outcome": "Failed",
            "version": started.version,
            "reason": executions.reason(description),
            "report": None,
        }
    output = json.loads(description["output"])
    return {name: output.get(name) or None for name in ("outcome", "version", "reason", "report")}


def sentence(ended: View) -> str:
    """Describe the outcome of a retraining in one sentence."""
    version, reason = safe(ended["version"]), safe(ended["reason"] or "no reason given")
    return {
        "Promoted": f"{version} is the active version now. {reason}",
        "KeptChampion": f"{version} is not promoted: {reason}",
        "NothingNew": f"There is nothing to do: {reason}",
        "Skipped": f"Nothing was done: {reason}",
    }.get(ended["outcome"], f"the retraining failed: {reason}")
