"""One schedule of double starts, crashes and changes by hand, played from a seed over the real state machine.

Several executions run at once, one task at a time in an order that the seed draws. At any task the service
may refuse, do the task and lose the answer, or the execution may be stopped; a call of a stopped execution
may still land later, when others are at work. Meanwhile labels are added, versions rolled back, drained ones
retired. After that the faults stop, and everything has to come to rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

from functions import activate as activate_module
from functions import retire as retire_module
from functions.activate import NotNow, activate
from functions.domain.errors import Missing
from functions.retire import retire
from functions.services import models_table as models_module
from functions.services.dynamodb import Item
from functions.services.hosting import ComponentStays
from functions.services.models_table import ALIAS, LOCK, UNFINISHED
from protloc.cloud.contracts import integrations
from tests.retraining.machine import DEFINITION, Asked, Ended, Machine, TaskError
from tests.retraining.surroundings import Cloud, hosted_versions
from tests.simulation.surroundings import refusal

START = 1_800_000_000.0
SLOT_SECONDS = 86_400
SLOTS = 3
STEPS = 900
LATE_SECONDS = 600
SUBSTITUTIONS = {name: name for name in re.findall(r"\$\{(\w+)\}", DEFINITION.read_text())} | {
    "Stack": "protloc",
    "PlanFunction": "plan",
    "JudgeFunction": "judge",
    "SmokeFunction": "smoke",
    "RetireFunction": "retire",
    "InferenceMemoryMib": "1024",
    "InferenceCores": "2",
    "InferenceAcceleratorDevices": "0",
    "MinCopies": "0",
    "MaxCopies": "2",
    "TrainingInstances": "1",
    "TrainingLauncher": "cpu",
    "TrainingSpot": "false",
}


@dataclass
class Execution:
    """One start of the state machine."""

    name: str
    slot: str
    began: float
    run: Generator[Asked, Any, Ended]
    asked: Asked
    status: str = "RUNNING"
    waits_until: float = 0.0
    stopped: float = 0.0
    reached: set[str] = field(default_factory=set)
    revision: int | None = None  # of the alias when it was planned
    disturbed: set[str] = field(default_factory=set)  # states that were told of an error
    refused: str = ""  # the state whose service is away for as long as it asks
    ended: Ended | None = None


class Schedule:
    """The play of one seed."""

    def __init__(self, seed: int, machine: Callable[[Callable[[], float]], Machine]) -> None:
        self.random = Random(seed)
        self.now = START
        self.machine = machine(lambda: self.now)
        self.cloud = Cloud(self.random, lambda: self.now)
        self.cloud.undeleted = 0.3
        self.executions: dict[str, Execution] = {}
        self.late: list[Execution] = []  # stopped while a call of theirs was on its way
        self.violations: list[str] = []
        self.calm = False
        self.acting: Execution | None = None  # whose call is being done
        self.cloud.table.listeners.append(self._changed)

    # Events

    def play(self) -> list[str]:
        with ExitStack() as patches:
            for module in (retire_module, models_module):
                patches.enter_context(patch.object(module, "now_seconds", lambda: int(self.now)))
            for module in (retire_module, activate_module):
                patches.enter_context(patch.object(module, "logger", Mock()))
                patches.enter_context(patch.object(module, "metrics", Mock()))
            for _ in range(STEPS):
                self._anything()
                self._require_always()
                if self.violations:
                    return self.violations
            self._come_to_rest()
        return self.violations

    def _anything(self) -> None:
        running = self._running()
        if len(running) < 3 and self.random.random() < 0.1:
            self._start()
        elif running and self.random.random() < 0.85:
            self._advance(self.random.choice(running))
        elif self.late and self.random.random() < 0.5:
            self._land(self.late.pop(self.random.randrange(len(self.late))))
        else:
            self._meanwhile()

    def _start(self) -> None:
        """The schedule's start, which may come twice or late; someone's by hand; an artifact brought along."""
        number = len(self.executions)
        execution_input: dict[str, Any] = {}
        slot = ""
        kind = self.random.random()
        if kind < 0.6:
            moment = START + SLOT_SECONDS * self.random.randrange(SLOTS)
            slot = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            execution_input = {"slot": slot}
        elif kind < 0.75:
            execution_input = {
                "version": f"brought-{self.random.randrange(3)}",
                "artifact": "s3://models/brought",
            }
        elif kind < 0.85:
            execution_input = {"again": True}
        name = f"execution-{number}"
        started = (
            datetime.fromtimestamp(self.now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        self.now += 1
        run = self.machine.run(name, execution_input, started)
        self.executions[name] = Execution(name, slot, self.now, run, next(run))

    def _advance(self, execution: Execution) -> None:
        """The next task of an execution, or an event between."""
        if self.now - execution.began > self.machine.definition["TimeoutSeconds"]:
            self._stop(execution, "TIMED_OUT")
            return
        if self.now < execution.waits_until:
            self.now += self.random.random() * 30
            return
        if execution.asked.resource == "wait":
            execution.waits_until = self.now + execution.asked.arguments
            self._go_on(execution, lambda: execution.run.send({}))
            return
        chance = 1.0 if self.calm else self.random.random()
        if chance < 0.01:
            self._stop(execution, "ABORTED")
        elif chance < 0.04 or execution.refused == execution.asked.state:
            if chance < 0.02:
                execution.refused = execution.asked.state
            self._disturb(execution, integrations.service(execution.asked.resource).base)
        else:
            lost = chance < 0.06
            if chance < 0.05:
                execution.refused = execution.asked.state  # after this time
            self._do(execution, lost=lost)

    def _do(self, execution: Execution, lost: bool) -> None:
        """Have the service do it; a lost answer looks like an error."""
        try:
            answer = self._call(execution)
        except TaskError as error:
            problem = error
            self._go_on(execution, lambda: execution.run.throw(problem))
            return
        if execution.asked.state == "Plan":
            execution.revision = answer["Payload"]["revision"]
        if lost:
            self._disturb(execution, integrations.LOST)
        else:
            self._go_on(execution, lambda: execution.run.send(answer))
        self.now += self.random.random() * (3600 if execution.asked.state == "Evaluate" else 5)

    def _disturb(self, execution: Execution, name: str) -> None:
        """A request may have been granted although the execution hears of an error."""
        execution.disturbed.add(execution.asked.state)
        error = f"{integrations.service(execution.asked.resource).prefix}.{name}"
        self._go_on(execution, lambda: execution.run.throw(TaskError(error, "try again")))

    def _go_on(self, execution: Execution, step: Callable[[], Asked]) -> None:
        try:
            execution.asked = step()
        except StopIteration as end:
            execution.ended = end.value
            execution.stopped = self.now
            execution.status = "FAILED" if end.value.failed else "SUCCEEDED"

    def _stop(self, execution: Execution, status: str) -> None:
        execution.status, execution.stopped = status, self.now
        execution.run.close()
        if execution.asked.resource != "wait" and self.random.random() < 0.5:
            self.late.append(execution)

    def _land(self, execution: Execution) -> None:
        """A call that was on its way when its execution was stopped; none is for longer than minutes."""
        if self.now - execution.stopped > LATE_SECONDS:
            return
        with suppress(TaskError):
            self._call(execution)

    def _call(self, execution: Execution) -> Any:
        execution.reached.add(execution.asked.state)
        self.acting = execution
        try:
            return self.cloud.call(execution.asked)
        finally:
            self.acting = None

    def _meanwhile(self) -> None:
        kind = self.random.random()
        if kind < 0.3:
            self.cloud.labels += 1
        elif kind < 0.5:
            self._retire()
        elif kind < 0.55:
            self._roll_back()
        elif kind < 0.6:
            self.now += self.random.random() * 4 * SLOT_SECONDS  # a long time: locks expire
        else:
            self.now += self.random.random() * 600

    def _retire(self) -> None:
        aws: Any = SimpleNamespace(
            models=self.cloud.models,
            uploads=SimpleNamespace(open_uploads=lambda: []),
            settings=SimpleNamespace(retire_seconds=3600, component=lambda version: f"protloc-{version}"),
        )
        with suppress(ComponentStays):
            retire(aws, self.cloud.hosting, Descriptions(self))

    def _roll_back(self) -> None:
        alias = self.cloud.models.alias()
        if alias.previous:
            try:
                activate(alias.previous, alias.revision, SimpleNamespace(models=self.cloud.models))  # type: ignore[arg-type]
            except (NotNow, Missing) as problem:
                self._violated(f"no way back from {alias}: {problem!r}")

    def _running(self) -> list[Execution]:
        return [each for each in self.executions.values() if each.status == "RUNNING"]

    # Invariants

    def _changed(self, old: Item | None, new: Item) -> None:
        if (new["pk"], new["sk"]) == tuple(ALIAS.values()):
            self._require_next_revision(old or {}, new)

    def _require_next_revision(self, old: Item, new: Item) -> None:
        before, after = int(old.get("revision", 0)), int(new["revision"])
        if new.get("previous", "") != old.get("version", ""):
            self._violated(f"the way back from {new['version']} does not lead to {old.get('version')}")
        if after != before + 1:
            self._violated(f"the alias went from revision {before} to {after}")
        if self.acting and self.acting.revision != before:
            self._violated(
                f"{self.acting.name} was judged at revision {self.acting.revision}, and took {before}"
            )
        if self.acting and self.acting.status != "RUNNING" and self._lock().get("holder") != self.acting.name:
            self._violated(f"{self.acting.name} was over, and promoted")
        if f"protloc-{new['version']}" not in self.cloud.components:
            self._violated(f"{new['version']} was promoted and is not hosted")

    def _violated(self, what: str) -> None:
        self.violations.append(what)

    def _require_always(self) -> None:
        """At any moment: a version that is asked answers, and a slot had one retraining."""
        alias = self.cloud.models.alias()
        for version in {alias.version, alias.previous} - {""}:
            if f"protloc-{version}" not in self.cloud.components:
                self._violated(f"{version} is not hosted, and {alias} names it")
        at_work = [each.name for each in self._running() if self._is_at_work(each)]
        if len(at_work) > 1:
            self._violated(f"{at_work} are at work at once")
        holder = self.executions.get(self._lock().get("holder", ""))
        if holder and holder.ended and not holder.disturbed & {"Lock", "LockSlot", "Unlock"}:
            self._violated(f"{holder.name} has ended, and holds the lock")
        for slot in {each.slot for each in self.executions.values()} - {""}:
            effective = [e.name for e in self.executions.values() if e.slot == slot and "Plan" in e.reached]
            if len(effective) > 1:
                self._violated(f"slot {slot} had {effective}")

    def _lock(self) -> Item:
        return self.cloud.table._current((LOCK["pk"], LOCK["sk"])) or {}

    def _is_at_work(self, execution: Execution) -> bool:
        over = self.now - execution.began > self.machine.definition["TimeoutSeconds"]
        return "Plan" in execution.reached and "Unlock" not in execution.reached and not over

    def _come_to_rest(self) -> None:
        """No more faults: every execution ends, and nothing of a stopped one is left."""
        self.calm, self.cloud.undeleted = True, 0.0
        for execution in self.late:
            self._land(execution)
        for _ in range(2_000):
            running = self._running()
            if not running:
                break
            self._advance(self.random.choice(running))
            self.now += 1
        else:
            self._violated("an execution does not end")
        for _ in range(3):
            self.now += 7200
            self._retire()
        self._require_always()
        self._require_rest()

    def _require_rest(self) -> None:
        cloud, alias = self.cloud, self.cloud.models.alias()
        items = {item["sk"]: item for item in cloud.models.all()}
        if "holder" in self._lock():
            self._violated(f"the lock is held by {self._lock()['holder']}")
        for version, item in items.items():
            if item["state"] in (*UNFINISHED, "retiring"):
                self._violated(f"{version} is still {item['state']}")
            if item["state"] in ("failed", "rejected", "retired") and not item.get("reason"):
                self._violated(f"{version} is {item['state']} without a reason")
        kept = {alias.version, alias.previous} - {""}
        if hosted_versions(cloud) != kept:
            self._violated(f"in service are {hosted_versions(cloud)}, asked are {kept}")
        for what, there in (
            ("components", {name.removeprefix("protloc-") for name in cloud.components}),
            ("models", {name.removeprefix("protloc-") for name in cloud.hosted}),
            ("targets", {name.removeprefix("inference-component/protloc-") for name in cloud.targets}),
            ("alarms", {re.sub("^protloc-|-(wake-up|rest)$", "", name) for name in cloud.alarms}),
        ):
            if not there <= kept:
                self._violated(f"orphaned {what}: {there - kept}")


class Descriptions:
    """Step Functions, as far as `retire` asks it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in self._schedule.executions:
            raise refusal("states.DescribeExecution", "ExecutionDoesNotExist")
        execution = self._schedule.executions[executionArn]
        stopped = datetime.fromtimestamp(execution.stopped, UTC)
        return {"status": execution.status, "stopDate": stopped}


def real_machine(seconds: Callable[[], float]) -> Machine:
    return Machine(SUBSTITUTIONS, seconds)


def play(seed: int, machine: Callable[[Callable[[], float]], Machine] = real_machine) -> list[str]:
    """The violations in this seed's schedule."""
    return Schedule(seed, machine).play()
