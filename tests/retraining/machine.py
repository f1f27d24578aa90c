"""The project's state machine, run step by step by a test that plays AWS: each task is handed out and its result handed in.

An interpreter of as much of Amazon's States Language as `model/retrain.asl.yaml` uses: JSONata throughout, Assign, Retry
and Catch. Nothing sleeps; a Wait is handed out like a task.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Generator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonata
import yaml

ROOT = Path(__file__).parents[2]
_READ = re.compile(r"\$(\w+)")
DEFINITION = ROOT / "model" / "retrain.asl.yaml"


class TaskError(Exception):
    """A task failed, with the name and cause that Step Functions would see."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error, cause)
        self.error, self.cause = error, cause


class Asked(NamedTuple):
    """A state's request to the world: a call with its arguments, or that time passes."""

    state: str
    resource: str  # "wait" for a Wait
    arguments: Any


class Ended(NamedTuple):
    """The end of an execution."""

    failed: bool
    output: Any  # of a success; of a failure its Error and Cause


class Machine:
    """The definition with its substitutions in place. `seconds` tells the time."""

    def __init__(self, substitutions: Mapping[str, Any], seconds: Callable[[], float]) -> None:
        text = re.sub(r"\$\{(\w+)\}", lambda match: str(substitutions[match[1]]), DEFINITION.read_text())
        self.definition = _parsed(text)
        self.states: dict[str, Any] = self.definition["States"]
        self._seconds = seconds
        self._known: dict[tuple[str, str], Any] = {}

    def run(self, execution: str, execution_input: Any, started: str) -> Generator[Asked, Any, Ended]:
        """One execution, from its input to its end. Throw `TaskError` into it where a task fails."""
        variables: dict[str, Any] = {}
        context = {
            "Execution": {"Id": execution, "StartTime": started, "Name": execution, "Input": execution_input}
        }
        current, name = execution_input, self.definition["StartAt"]
        while True:
            state = self.states[name]
            states: dict[str, Any] = {"input": current, "context": context}
            if state["Type"] == "Fail":
                return Ended(
                    True, {key: self.evaluate(state[key], variables, states) for key in ("Error", "Cause")}
                )
            if state["Type"] == "Succeed":
                return Ended(False, self.evaluate(state["Output"], variables, states))
            if state["Type"] == "Choice":
                branch = self._chosen(state, variables, states)
                self._assign(branch, variables, states)
                name = branch.get("Next") or state["Default"]
                continue
            if state["Type"] == "Task":
                try:
                    states["result"] = yield from self._task(name, state, variables, states)
                except TaskError as problem:
                    catcher = matching(state.get("Catch", ()), problem.error)
                    if catcher is None:
                        return Ended(True, {"Error": problem.error, "Cause": problem.cause})
                    states["errorOutput"] = {"Error": problem.error, "Cause": problem.cause}
                    self._assign(catcher, variables, states)
                    current, name = states["errorOutput"], catcher["Next"]
                    continue
                current = states["result"]
            elif state["Type"] == "Wait":
                yield Asked(name, "wait", self.evaluate(state["Seconds"], variables, states))
            else:
                assert state["Type"] == "Pass", state
            self._assign(state, variables, states)
            name = state["Next"]

    def evaluate(self, value: Any, variables: Mapping[str, Any], states: Mapping[str, Any]) -> Any:
        """A value of the definition with every expression in it replaced by its value."""
        if isinstance(value, dict):
            return {key: self.evaluate(each, variables, states) for key, each in value.items()}
        if isinstance(value, list):
            return [self.evaluate(each, variables, states) for each in value]
        if not (isinstance(value, str) and value.startswith("{%")):
            return value
        evaluated = self._evaluated(value, variables, states)
        if evaluated is None:
            raise TaskError("States.QueryEvaluationError", f"an expression came to nothing: {value}")
        return evaluated

    def _evaluated(self, text: str, variables: Mapping[str, Any], states: Mapping[str, Any]) -> Any:
        """Remembered by the values that the expression reads: the same tasks come again and again."""
        values = {name: variables[name] for name in _READ.findall(text) if name in variables}
        if "$states" in text:
            values["states"] = states
        place = (text, repr(values))
        if "$millis" in text or place not in self._known:
            expression = _compiled(text)
            if "$millis" in text:
                expression.register_lambda("millis", lambda: int(self._seconds() * 1000))
            self._known[place] = expression.evaluate(None, values)
        return copy.deepcopy(self._known[place])

    def _task(
        self, name: str, state: dict[str, Any], variables: Mapping[str, Any], states: Mapping[str, Any]
    ) -> Generator[Asked, Any, Any]:
        arguments = self.evaluate(state["Arguments"], variables, states)
        tried: dict[str, int] = {}
        while True:
            try:
                return (yield Asked(name, state["Resource"], arguments))
            except TaskError as problem:
                retrier = matching(state.get("Retry", ()), problem.error)
                kind = str(retrier)
                count = tried.get(kind, 0)
                if retrier is None or count >= retrier.get("MaxAttempts", 3):
                    raise
                tried[kind] = count + 1
                seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count
                yield Asked(name, "wait", seconds)

    def _chosen(
        self, state: dict[str, Any], variables: Mapping[str, Any], states: Mapping[str, Any]
    ) -> dict[str, Any]:
        for choice in state["Choices"]:
            if self.evaluate(choice["Condition"], variables, states) is True:
                return dict(choice)
        return {"Assign": state.get("Assign", {})}

    def _assign(self, of: Mapping[str, Any], variables: dict[str, Any], states: Mapping[str, Any]) -> None:
        """All at once: an expression sees the values before."""
        variables |= {
            name: self.evaluate(value, variables, states) for name, value in of.get("Assign", {}).items()
        }


@cache
def _parsed(text: str) -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


@cache
def _compiled(text: str) -> jsonata.Jsonata:
    return jsonata.Jsonata.jsonata(text.removeprefix("{%").removesuffix("%}").strip())


def matching(handlers: Any, error: str) -> dict[str, Any] | None:
    for handler in handlers:
        names = handler["ErrorEquals"]
        # States.TaskFailed stands for every error but a time-out:
        # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
        if (
            error in names
            or "States.ALL" in names
            or ("States.TaskFailed" in names and error != "States.Timeout")
        ):
            return dict(handler)
    return None
