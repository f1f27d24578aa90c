"""A discrete-event model of a deployed stack: one upload from its file to its results.

The model follows the flow. Functions that split emit batches; as many functions as `predict_concurrency` ask
the endpoint; a batch that meets no copy of the model waits as `functions.predict` has it wait, which also
wakes the endpoint; copies answer one call after the other, and more are started while each has more calls
than the target of the scaling policy. Merging the results ends it. Times that AWS decides are assumptions
(`Times`); those of our code are taken from the code or were measured (`Rates`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import simpy

from functions.domain.packing import PackingSettings
from functions.domain.upload import MAX_SHARDS
from functions.predict import wait_seconds
from protloc.estimate import prices

MAX_BATCHES = 20_000
"""A longer upload is followed in steps of several batches, each as long as they are together."""

REFUSED_SECONDS = 0.2
"""A function's time for a batch that meets no copy: known answers, the refusal, the message sent again."""

MIB = 1024 * 1024

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Workload:
    """The upload that is to be predicted."""

    proteins: int
    residues: int
    bytes: int  # of text

    def batches(self, residues: int = PackingSettings.batch_residues) -> int:
        """The least number of batches of so many residues; `packing` makes 2 to 4 in a hundred more."""
        of_residues = ceil(1.025 * self.residues / residues)
        return max(1, of_residues, ceil(self.proteins / PackingSettings.batch_proteins))


@dataclass(frozen=True)
class Rates:
    """The speeds of the parts. A function's seconds are those of one whole processor.

    Measured on one core of an AMD EPYC with AVX512-BF16 (`docs/performance.md`); no run on AWS has confirmed
    them.
    """

    residues_per_second: float  # of one copy of the model
    split_bytes_per_second: float = 46e6
    predict_seconds_a_protein: float = (
        0.4e-3  # rows written and answers looked up and kept, the calls left aside
    )
    complete_seconds_a_protein: float = 0.07e-3


@dataclass(frozen=True)
class Times:
    """Seconds that AWS decides: assumptions, from its documentation and from reports of others.

    Scaling in: on an ml.g5.xlarge in July 2026, 11 minutes from the last call to no copy by AWS's own alarm,
    which the template's undercuts, then 12 minutes to no instance (measured by Hugging Face's skill for
    SageMaker, `hf-cloud-sagemaker-deployment`). Waking took 9.4 minutes there, with a container far larger.
    """

    function_start: float = 1.0
    request: float = 0.008  # of a call to DynamoDB, SQS or S3 from a function
    event: float = 3.0  # from a stored file to the first call of `receive`
    wake: float = 360.0  # from the first call that meets no copy to the first that is answered
    grow: float = 420.0  # from too many calls a copy to one copy more
    idle: float = 420.0  # from the last call to the last copy's end: `RestAlarm`, and a minute to act
    release: float = 720.0  # from there to the end of the instance: SageMaker's own time, which cannot be set
    look: float = 60.0  # how often the number of copies is judged


@dataclass(frozen=True)
class Deployment:
    """The settings of a stack, by default those of the template and of `functions.services.settings`."""

    instance: str = "ml.c7i.2xlarge"
    max_instances: int = 2
    min_instances: int = 0
    predict_concurrency: int = 4
    split_concurrency: int = 2
    batch_residues: int = PackingSettings.batch_residues
    calls_a_copy: int = 4  # the target of the scaling policy
    function_processors: float = 512 / 1769  # Lambda gives a whole one from 1,769 MB of memory on
    function_gb: float = 0.5
    complete_gb: float = 1.73
    shard_bytes: int = 4 * MIB
    indexed_bytes: int = 256 * MIB
    answers_bytes: int = 256 * MIB
    cores: int = 0  # of one machine on which everything runs, the embedded cloud; 0 on AWS


@dataclass
class Run:
    """The outcome: seconds from the stored file, and the usage until nothing is billed any more."""

    seconds: float = 0.0
    first_answer: float = 0.0
    last_answer: float = 0.0
    instance_seconds: float = 0.0
    waits: int = 0  # of batches that met no copy
    copies: int = 0  # at most
    used: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def minutes(self) -> float:
        return self.seconds / 60


class _Upload:
    """One run of the model; each method that yields is a process of it."""

    def __init__(self, work: Workload, deployment: Deployment, rates: Rates, times: Times) -> None:
        self.work, self.deployment, self.rates, self.times = work, deployment, rates, times
        self.world = simpy.Environment()
        self.run = Run()
        batches = work.batches(deployment.batch_residues)
        self.steps = min(batches, MAX_BATCHES)
        self.of_step = batches / self.steps
        self.batches = simpy.Store(self.world)
        self.copies = simpy.Store(self.world)  # those that are free
        self.started, self.starting, self.asking, self.done = 0, False, 0, 0
        self.machine = simpy.Resource(self.world, deployment.cores) if deployment.cores else None
        self.ended = self.world.event()

    def follow(self) -> Run:
        """Run until the results are there, and reckon the instances up to their end."""
        for _ in range(self.deployment.min_instances):
            self._start_copy()
        self.world.process(self.receive())
        for _ in range(self.deployment.predict_concurrency):
            self.world.process(self.predict())
        self.world.process(self.scale())
        self.world.run(self.ended)
        return self.run

    def work_for(self, seconds: float, processors: float) -> Steps:
        """Take `seconds` of a processor: a function's own share of one, or one of the machine's cores."""
        if self.machine is None:
            yield self.world.timeout(seconds / processors)
            return
        with self.machine.request() as core:
            yield core
            yield self.world.timeout(seconds)

    def receive(self) -> Steps:
        """The event of the file, its head, and the shards it is cut into."""
        yield self.world.timeout(self.times.event + self.times.function_start)
        shard_bytes = max(self.deployment.shard_bytes, ceil(self.work.bytes / MAX_SHARDS))
        shards = max(1, ceil(self.work.bytes / shard_bytes))
        self._count(shards, queue=3, write=2, read=2)
        queue = simpy.Store(self.world)
        queue.items.extend(range(shards))
        for _ in range(min(shards, self.deployment.split_concurrency)):
            self.world.process(self.split(queue, shards))

    def split(self, queue: simpy.Store, shards: int) -> Steps:
        """One function that reads shard after shard and emits each one's batches as it goes."""
        yield self.world.timeout(self.times.function_start)
        while queue.items:
            number = queue.items.pop(0)
            mine = range(number * self.steps // shards, (number + 1) * self.steps // shards)
            seconds = self.work.bytes / shards / self.rates.split_bytes_per_second
            self._function(seconds, self.deployment.function_gb)
            for _ in mine:
                yield from self.work_for(seconds / len(mine), self.deployment.function_processors)
                yield self.batches.put(0)

    def predict(self) -> Steps:
        """One function that asks the endpoint about batch after batch."""
        work, cold = self.work, True
        proteins, residues = work.proteins / self.steps, work.residues / self.steps
        while True:
            waits = yield self.batches.get()
            if cold:
                yield self.world.timeout(self.times.function_start)
                cold = False
            began = self.world.now
            if not self.started:
                yield self.world.timeout(REFUSED_SECONDS * self.of_step)
                self.world.process(self.wait(waits + 1))
                continue
            self.asking += 1
            copy = yield self.copies.get()
            yield from self.work_for(residues / self.rates.residues_per_second, 1.0)
            yield self.copies.put(copy)
            self.asking -= 1
            self.run.first_answer = self.run.first_answer or self.world.now
            yield self.world.timeout(0 if self.machine else 25 * self.times.request * self.of_step)
            seconds = proteins * self.rates.predict_seconds_a_protein
            yield from self.work_for(seconds, self.deployment.function_processors)
            self._answered(self.world.now - began, proteins)
            self.done += 1
            if self.done == self.steps:
                self.world.process(self.complete())

    def wait(self, waits: int) -> Steps:
        """A batch that met no copy comes back later, and has woken the endpoint."""
        self.run.waits += 1
        self._count(self.of_step, queue=3, write=1)
        self._function(REFUSED_SECONDS * self.of_step, self.deployment.function_gb, self.of_step)
        if not (self.starting or self.started):
            self.starting = True
            self.world.process(self.grow(self.times.wake))
        yield self.world.timeout(wait_seconds(waits))
        yield self.batches.put(waits)

    def scale(self) -> Steps:
        """Start one copy more while each has more calls than the policy's target."""
        while True:
            yield self.world.timeout(self.times.look)
            busy = self.started and self.asking / self.started > self.deployment.calls_a_copy
            if busy and not self.starting and self.started < self.deployment.max_instances:
                self.starting = True
                self.world.process(self.grow(self.times.grow))

    def grow(self, seconds: float) -> Steps:
        began = self.world.now
        yield self.world.timeout(seconds)
        self.run.instance_seconds += self.world.now - began
        self.starting = False
        self._start_copy()

    def _start_copy(self) -> None:
        self.started += 1
        self.run.copies = max(self.run.copies, self.started)
        self.run.instance_seconds -= self.world.now  # and `complete` adds when it ends
        self.copies.put(self.started)

    def complete(self) -> Steps:
        """The results are merged; the instances stay until they have idled long enough."""
        self.run.last_answer = self.world.now
        tail = 0 if self.deployment.min_instances or self.machine else self.times.idle + self.times.release
        self.run.instance_seconds += self.started * (self.world.now + tail)
        yield self.world.timeout(self.times.function_start)
        seconds = self.work.proteins * self.rates.complete_seconds_a_protein
        self._function(seconds, self.deployment.complete_gb)
        self._count(1, write=4, read=4)
        yield from self.work_for(seconds, 1.0)
        self.run.seconds = self.world.now
        self.ended.succeed()

    def _answered(self, seconds: float, proteins: float) -> None:
        """Count the usage of a step: the batch's own records, rows with their indexes, kept answers."""
        self._function(seconds, self.deployment.function_gb, self.of_step)
        self._count(self.of_step, queue=3, write=2.2, read=5.3, put=1, get=1)
        if self.work.bytes <= self.deployment.indexed_bytes:
            self._count(proteins, write=3)
        if self.work.bytes <= self.deployment.answers_bytes:
            self._count(proteins, write=1, read=0.5)

    def _function(self, seconds: float, gb: float, requests: float = 1) -> None:
        self._count(1, function=requests, gb_seconds=seconds * gb)

    def _count(self, times: float, **used: float) -> None:
        for name, number in used.items():
            self.run.used[name] += times * number


def follow(
    work: Workload, rates: Rates, deployment: Deployment | None = None, times: Times | None = None
) -> Run:
    """The course of one upload on an idle stack."""
    return _Upload(work, deployment or Deployment(), rates, times or Times()).follow()


def bill(work: Workload, run: Run, deployment: Deployment | None = None) -> Mapping[str, float]:
    """Dollars of each service for one upload, in us-east-1; the instances' include their idle end."""
    deployment, used = deployment or Deployment(), run.used
    calls = (work.residues * 1.01 + work.proteins * 330) / 1e9
    return {
        "endpoint": run.instance_seconds / 3600 * prices.INSTANCE_HOUR[deployment.instance]
        + calls * prices.INFERENCE_GB,
        "tables": used["write"] * prices.WRITE_UNIT + used["read"] * prices.READ_UNIT,
        "functions": used["gb_seconds"] * prices.FUNCTION_GB_SECOND
        + used["function"] * prices.FUNCTION_REQUEST,
        "queues": used["queue"] * (prices.QUEUE_REQUEST + prices.FAIR_QUEUE_REQUEST),
        "files": used["put"] * prices.PUT_REQUEST + used["get"] * prices.GET_REQUEST,
        "logs": work.batches(deployment.batch_residues) * 2.2e3 / 1e9 * prices.LOG_GB,
    }
