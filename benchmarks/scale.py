"""Minutes and dollars of large files by the model of a deployed stack, and the bottleneck of each.

The model is `protloc.estimate`. Nothing is measured here, so a row takes a second; `cloud` holds the model
against runs on the embedded cloud. `python -m benchmarks.scale FILE.png` draws it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import Row
from protloc.estimate import prices
from protloc.estimate.offers import CORE, PROTBERT, SMALL
from protloc.estimate.system import Deployment, Rates, Run, Workload, bill, follow

ON_CPU = Deployment()
ON_LESS = Deployment(instance="ml.c7i.xlarge")
WIDE = replace(ON_CPU, predict_concurrency=25, max_instances=10)

HUMAN = Workload(20_400, 11_400_000, 13_700_000)
SWISS_PROT = Workload(570_000, 206_000_000, 282_000_000)
UNIREF50 = Workload(68_000_000, 19_600_000_000, 25_000_000_000)


@dataclass(frozen=True)
class Case:
    """One file on one deployment, and the dollars it is to cost at most."""

    name: str
    work: Workload
    deployment: Deployment
    bar: float

    @property
    def rates(self) -> Rates:
        return (SMALL | PROTBERT)[self.deployment.instance]


CASES = (
    Case("human, small model, ml.c7i.xlarge", HUMAN, ON_LESS, 0.25),
    Case("human, small model", HUMAN, ON_CPU, 0.25),
    Case("human, ProtBERT, ml.g4dn.xlarge", HUMAN, Deployment(instance="ml.g4dn.xlarge"), 0.60),
    Case("human, ProtBERT, ml.g5.xlarge", HUMAN, Deployment(instance="ml.g5.xlarge"), 0.60),
    Case("human, ProtBERT, ml.g6.xlarge", HUMAN, Deployment(instance="ml.g6.xlarge"), 0.60),
    Case("Swiss-Prot, small model", SWISS_PROT, ON_CPU, 1.50),
    Case("Swiss-Prot, small model, 25 at once", SWISS_PROT, WIDE, 1.50),
    Case("UniRef50, small model", UNIREF50, ON_CPU, 15.0),
    Case("UniRef50, BatchResidues=131072", UNIREF50, replace(ON_CPU, batch_residues=131_072), 15.0),
    Case("UniRef50, the same, 25 at once", UNIREF50, replace(WIDE, batch_residues=131_072), 15.0),
)


def serverless(work: Workload) -> float:
    """Dollars of the small model's calls if its endpoint were serverless; it would have no idle end.

    Memory brings processors in Lambda's ratio. A processor is a thread, counted as those of the
    instances are.
    """
    gb_of_a_processor = 1769 / 1024
    return work.residues / (0.4 * CORE) * gb_of_a_processor * prices.SERVERLESS_GB_SECOND


def run(_rounds: int) -> Iterator[Row]:
    """The dollars of each case; nothing is timed."""
    for case in CASES:
        course = follow(case.work, case.rates, case.deployment)
        dollars = bill(case.work, course, case.deployment)
        detail: dict[str, object] = {
            "minutes": round(course.minutes, 1),
            "held_up_by": bottleneck(case, course),
            "dollars": {name: round(value, 4) for name, value in dollars.items()},
        }
        if case.deployment == ON_CPU:
            detail["dollars_of_serverless_calls"] = round(serverless(case.work), 4)
        total = sum(dollars.values())
        name = f"scale: {case.name}"
        yield Row(name, total, "dollars", case.bar, "nothing", 1, higher_is_better=False, detail=detail)


def bottleneck(case: Case, course: Run) -> str:
    """The part that, twice as fast, would end the work soonest."""
    faster: Mapping[str, tuple[Rates, Deployment]] = {
        "the model": (
            replace(case.rates, residues_per_second=2 * case.rates.residues_per_second),
            case.deployment,
        ),
        "PredictConcurrency": (
            case.rates,
            replace(case.deployment, predict_concurrency=2 * case.deployment.predict_concurrency),
        ),
        "waking the endpoint": (case.rates, replace(case.deployment, min_instances=1)),
        "splitting": (
            replace(case.rates, split_bytes_per_second=2 * case.rates.split_bytes_per_second),
            case.deployment,
        ),
        "merging": (
            replace(case.rates, complete_seconds_a_protein=case.rates.complete_seconds_a_protein / 2),
            case.deployment,
        ),
    }
    seconds = {name: follow(case.work, *way).seconds for name, way in faster.items()}
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < 0.98 * course.seconds else "nothing in particular"


def draw(path: Path) -> None:
    """Draw each case's dollars by service, a bar a case, as shares of its own total."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    names, starts = [], [0.0] * len(CASES)
    bills = []
    for case in CASES:
        course = follow(case.work, case.rates, case.deployment)
        bills.append(bill(case.work, course, case.deployment))
        names.append(f"{case.name}\n{course.minutes:,.0f} min, ${sum(bills[-1].values()):,.2f}")
    colours = ["#0b3c5d", "#328cc1", "#d9b310", "#7fb8d8", "#8c8c8c", "#c6c6c6"]
    for service, colour in zip(bills[0], colours, strict=True):
        shares = [100 * each[service] / sum(each.values()) for each in bills]
        axes.barh(names, shares, left=starts, color=colour, label=service)
        starts = [sum(pair) for pair in zip(starts, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the dollars, % (computed, us-east-1)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=6, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
