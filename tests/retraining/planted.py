"""Ways to break the state machine or the functions around it, each easily made: the simulation must catch all.

A mistake of the definition changes its states; one of the functions replaces a part of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from functions import retire as retire_module
from functions.services.models_table import Alias
from tests.retraining.machine import Machine
from tests.retraining.schedule import real_machine

States = dict[str, Any]


def _update(states: States, name: str) -> dict[str, Any]:
    """The write to the alias, or of the version, in a state's transaction."""
    parts = states[name]["Arguments"]["TransactItems"]
    return next(part["Update"] for part in parts if "Update" in part)  # type: ignore[no-any-return]


def _no_fence(states: States) -> None:
    del states["Promote"]["Arguments"]["TransactItems"][0]
    del states["Promote"]["Arguments"]["TransactItems"][1]["Update"]["ConditionExpression"]


def _no_revision(states: States) -> None:
    del _update(states, "Promote")["ConditionExpression"]


def _open_lock(states: States) -> None:
    for name in ("Lock", "LockSlot"):
        del states[name]["Arguments"]["ConditionExpression"]


def _slot_again(states: States) -> None:
    states["LockSlot"]["Arguments"]["ConditionExpression"] = states["Lock"]["Arguments"][
        "ConditionExpression"
    ]


def _short_lock(states: States) -> None:
    for name in ("Lock", "LockSlot"):
        values = states[name]["Arguments"]["ExpressionAttributeValues"]
        values[":end"] = {"N": values[":end"]["N"].replace("270000", "60")}


def _careless_unlock(states: States) -> None:
    _short_lock(states)
    del states["Unlock"]["Arguments"]["ConditionExpression"]


def _lock_kept(states: States) -> None:
    states["IsNew"]["Choices"][0]["Next"] = "Done"


def _lost_answer_is_failure(states: States) -> None:
    for catch in states["Promote"]["Catch"]:
        catch["Next"] = "Remove"


def _component_stays(states: States) -> None:
    states["Remove"] = {"Type": "Pass", "Next": "RecordFailure"}
    states["RecordFailure"]["Arguments"]["ExpressionAttributeValues"][":maybe"] = {"N": "0"}


def _nothing_left_for_sure(states: States) -> None:
    states["RecordFailure"]["Arguments"]["ExpressionAttributeValues"][":maybe"] = {"N": "0"}


def _promoted_before_it_is_hosted(states: States) -> None:
    states["RecordVerdict"]["Next"] = "Promote"
    states["HasArtifact"]["Choices"][0]["Next"] = "Promote"


def _previous_forgotten(states: States) -> None:
    update = _update(states, "Promote")
    update["UpdateExpression"] = update["UpdateExpression"].replace("previous = :champion, ", "")


def _reason_lost(states: States) -> None:
    del states["SayWhy"]["Assign"]


def _retires_the_one_before(item: Any, alias: Alias, aws: Any) -> bool:
    return bool(item["state"] == "in_service" and item["sk"] != alias.version)


def _retires_what_runs(_execution: str, _machine: Any, _settle_seconds: float) -> bool:
    return True


IN_THE_DEFINITION: dict[str, Callable[[States], None]] = {
    "a promotion asks neither for the lock nor for the revision": lambda states: (
        _no_fence(states),
        _no_revision(states),
    )[0],
    "a promotion asks for no revision": _no_revision,
    "the lock is open to all": _open_lock,
    "a slot may be taken twice": _slot_again,
    "the lock ends after a minute, and frees another's": _careless_unlock,
    "nothing new keeps the lock": _lock_kept,
    "a lost answer to the promotion is a failure": _lost_answer_is_failure,
    "the component stays where hosting failed": _component_stays,
    "cleaning up is taken to have worked": _nothing_left_for_sure,
    "it is promoted before it is hosted": _promoted_before_it_is_hosted,
    "the version before is forgotten": _previous_forgotten,
    "reasons are lost": _reason_lost,
}
IN_THE_FUNCTIONS: dict[str, tuple[Any, str, Any]] = {
    "the version before is retired": (retire_module, "_is_drained", _retires_the_one_before),
    "what runs is taken for over": (retire_module, "_is_over", _retires_what_runs),
}
PLANTED = [*IN_THE_DEFINITION, *IN_THE_FUNCTIONS]


@contextmanager
def planted(mistake: str) -> Iterator[Callable[[Callable[[], float]], Machine]]:
    """Give a schedule its state machine while the mistake is there."""
    if mistake in IN_THE_FUNCTIONS:
        with patch.object(*IN_THE_FUNCTIONS[mistake]):
            yield real_machine
        return

    def broken(seconds: Callable[[], float]) -> Machine:
        machine = real_machine(seconds)
        machine.states = copy.deepcopy(machine.states)
        IN_THE_DEFINITION[mistake](machine.states)
        return machine

    yield broken
