"""One seed from its first event to the judgement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from functions.domain.upload import upload_id
from functions.erase import SETTLED_SECONDS
from tests.simulation.invariants import Watch, ended_well, item_of
from tests.simulation.scenario import Scenario, scenario
from tests.simulation.scheduler import BEGINNING, Simulation
from tests.simulation.stage import Stage
from tests.simulation.verdict import Verdict
from tests.simulation.world import World


@dataclass(frozen=True)
class Result:
    """The result of a schedule."""

    seed: int
    steps: int
    seconds: float  # of virtual time
    violations: list[str]


def play(seed: int, stage: Stage, trace: Callable[[str], None] | None = None) -> Result:
    """Play one schedule on a stage; the same seed gives the same one, call by call."""
    chosen = scenario(seed)
    simulation = Simulation(seed, trace)
    world = World(simulation, chosen)
    watch = Watch(world)
    stage.limit(chosen.limits)
    stage.world = world
    try:
        world.begin()
        ended = simulation.run(_latest_end(chosen), lambda: _ended(world))
    finally:
        simulation.close()
        stage.world = None
    return Result(seed, simulation.steps, simulation.now - BEGINNING, Verdict(watch).judge(ended))


def _ended(world: World) -> bool:
    """True if every upload has ended, no message is left in any queue and no invocation is still to wake."""
    if len(world.files) < len(world.scenario.files) or not world.idle:
        return False
    for key, version in world.files:
        upload = upload_id("uploads", key, version)
        never_seen = item_of(world, upload) is None and not world.s3.holds("uploads", key, version)
        if not never_seen and not ended_well(world, upload):
            return False
    return True


def _latest_end(chosen: Scenario) -> float:
    """By when every upload has ended: its deadline, counted from when it was found at the latest, and slack.

    Slack is a message that a frozen invocation holds for its queue's visibility timeout, and two rounds of
    the sweep for overdue shards. A retry has a deadline of its own. The bucket is searched every hour, some
    pages a time.
    """
    settings = chosen.settings
    latest = max(chosen.faults.until, BEGINNING + max(file.seconds for file in chosen.files))
    latest += max(2 * 3600, chosen.search_seconds)
    if any(file.withdrawn_after is not None for file in chosen.files):
        latest += 3_600 + chosen.limits.get("SETTLED_SECONDS", SETTLED_SECONDS)
    return (
        latest
        + (1 + chosen.retries) * settings["deadline_seconds"]
        + 2 * settings["overdue_seconds"]
        + 4 * 3600
    )
