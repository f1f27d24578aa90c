"""Executions of state machines go on where they were when the cloud ended; on AWS they never stop.

The state that an execution is in is kept with it, with its input and the variables. After a start that state
is begun once more: a task is asked for again, as after an answer that was lost, but a training job that it
waited for is not created twice. A Map or Parallel state begins from its start, a wait too.

Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

from protloc.cloud.engine.names import module

HANDLERS = ("_execute_pass", "_execute_task", "_execute_choice", "_execute_wait")
WITH_BRANCHES = ("_execute_parallel", "_execute_map")

_in_a_branch: contextvars.ContextVar[bool] = contextvars.ContextVar("in_a_branch", default=False)

log = logging.getLogger("protloc.cloud")


class Executions:
    """Keeps the place of every execution, and begins again there. Make one per process."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._states = module("ministack.services.stepfunctions")
        self._returning: set[str] = set()  # on the way back to their place
        for name in (*HANDLERS, *WITH_BRANCHES):
            setattr(self._states, name, self._placed(getattr(self._states, name), name in WITH_BRANCHES))
        self._history_begins_once()
        self._what_ran_is_kept()

    def at_work(self) -> bool:
        return any(each["status"] == "RUNNING" for each in self._states._executions.all_values())

    def resume(self) -> None:
        """Resume the executions that ran when the state was saved, once the services that they ask answer."""
        for (account, region, arn), execution in list(self._states._executions._data.items()):
            if execution["status"] != "RUNNING" or execution.pop("ended_with_cloud", None) is None:
                continue
            if "place" in execution:
                self._returning.add(arn)
                log.info("%s goes on in %s", execution["name"], execution["place"]["state"])
            threading.Thread(
                target=self._run, args=(account, region, arn), daemon=True, name="execution"
            ).start()

    def _run(self, account: str, region: str, arn: str) -> None:
        with module("ministack.core.responses").request_scope(account, region):
            self._states._run_execution(arn)
            if arn in self._returning:  # it was ended before it was back where it waited for its job
                self._returning.discard(arn)
                self._stop_job(self._states._executions.get(arn) or {})

    def _stop_job(self, execution: dict[str, Any]) -> None:
        """Stop the training job that an execution waited for: nobody does any more."""
        if name := execution.get("place", {}).get("job"):
            service = self._states._AWS_SDK_SERVICE_MAP["sagemaker"]
            self._states._dispatch_aws_sdk_json(
                service, "sagemaker", "stopTrainingJob", {"TrainingJobName": name}
            )

    def _placed(self, handler: Callable[..., Any], with_branches: bool) -> Callable[..., Any]:
        """Have a handler note its state before it begins, or lead an execution back to the one it was in."""

        def placed(state_def: Any, raw_input: Any, *rest: Any) -> Any:
            context: dict[str, Any] = (rest[-1] if rest else None) or {}
            arn = context.get("Execution", {}).get("Id", "")
            execution = self._states._executions.get(arn)
            if execution is None or _in_a_branch.get():
                return handler(state_def, raw_input, *rest)
            state = context["State"]["Name"]
            if arn in self._returning:
                place = execution["place"]
                if state != place["state"]:
                    return place["input"], place["state"]
                self._returning.discard(arn)
                context["variables"].update(place["variables"])
            else:
                variables = dict(context["variables"])
                execution["place"] = {"state": state, "input": raw_input, "variables": variables}
            self._changed()
            token = _in_a_branch.set(with_branches)
            try:
                return handler(state_def, raw_input, *rest)
            finally:
                _in_a_branch.reset(token)

        return placed

    def _history_begins_once(self) -> None:
        """Write no event of the way back, nor a second one that the state was entered."""
        add = self._states._add_event

        def add_new(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
            on_the_way = event_type.endswith(("StateEntered", "StateExited"))
            if on_the_way and execution["executionArn"] in self._returning:
                return None
            return add(execution, event_type, details)

        self._states._add_event = add_new

    def _what_ran_is_kept(self) -> None:
        """Keep executions running that the engine would end at a start: all without a waiting caller."""
        load = self._states.load_persisted_state

        def load_and_keep(data: Any) -> None:
            ran = [
                execution
                for execution in data["executions"].all_values()
                if execution["status"] == "RUNNING" and not execution.get("sync")
            ]
            load(data)
            for execution in ran:
                execution.update(status="RUNNING", stopDate=None, ended_with_cloud=True)
                for name in ("error", "cause"):
                    execution.pop(name, None)

        self._states.load_persisted_state = load_and_keep
