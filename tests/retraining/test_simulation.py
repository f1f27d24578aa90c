"""Double starts, crashes and late calls: at most one retraining a slot, never two promotions on one revision."""

import pytest

from tests.retraining.planted import PLANTED, planted
from tests.retraining.schedule import Schedule, play, real_machine

SCHEDULES = 40  # `make simulate-retraining` plays as many as it is told


def test_everything_holds_in_every_schedule_and_schedules_are_rough() -> None:
    """A simulation in which nothing happens proves nothing."""
    outcomes: set[str] = set()
    states: set[str] = set()
    for seed in range(SCHEDULES):
        schedule = Schedule(seed, real_machine)
        schedule.play()
        assert not schedule.violations, f"look with: make simulate-retraining SEED={seed}"
        for execution in schedule.executions.values():
            outcomes.add(execution.status)
            states |= execution.reached
            if execution.ended and not execution.ended.failed:
                outcomes.add(execution.ended.output["outcome"])
    assert outcomes == {
        *("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"),
        *("Promoted", "KeptChampion", "NothingNew", "Skipped"),
    }
    tasks = {name for name, state in real_machine(float).states.items() if state["Type"] == "Task"}
    assert states == tasks


@pytest.mark.parametrize("mistake", PLANTED)
def test_every_planted_mistake_is_caught(mistake: str) -> None:
    with planted(mistake) as machine:
        assert any(play(seed, machine) for seed in range(1_000))
