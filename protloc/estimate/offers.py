"""The ways to have a file predicted that an estimate compares: models, and the instances they run on.

Residues a second of a copy. The small model: 84,000 on one core of an AMD EPYC with AVX512-BF16 (`make
bench`, 2026-11-26), taken for each core of the instance, less a fifth for shared resources. ProtBERT on GPUs:
from published throughputs of models of its size (ESM-2 on other GPUs), by the chips' bf16 rates, of the T4 in
ml.g4dn by its fp16 rate and less a fifth for attention over padded sequences. None was measured on AWS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from protloc.estimate.system import Deployment, Rates, Run, Workload, bill, follow

CORE = 84_000.0
SMALL = {"ml.c7i.xlarge": Rates(2 * 0.8 * CORE), "ml.c7i.2xlarge": Rates(4 * 0.8 * CORE)}
PROTBERT = {
    "ml.g4dn.xlarge": Rates(15_000.0),
    "ml.g6.xlarge": Rates(35_000.0),
    "ml.g5.xlarge": Rates(45_000.0),
}
EMBEDDED = Rates(CORE, predict_seconds_a_protein=2.4e-3)  # the emulator's own work is part of it


@dataclass(frozen=True)
class Offer:
    """One line of the comparison."""

    model: str
    where: str
    run: Run
    dollars: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.dollars.values())


def offers(work: Workload) -> Iterator[Offer]:
    """Follow the work each way, from an endpoint without an instance, and bill it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = Deployment(cores=cores, min_instances=cores, max_instances=cores)
    yield Offer("small", f"this machine, {cores} cores", follow(work, EMBEDDED, here), {})
    for model, instances in (("small", SMALL), ("ProtBERT", PROTBERT)):
        for instance, rates in instances.items():
            stack = Deployment(instance=instance)
            run = follow(work, rates, stack)
            yield Offer(model, instance, run, bill(work, run, stack))
