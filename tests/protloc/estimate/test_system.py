"""The model of a deployed stack, against cases that can be reckoned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.domain.packing import PackingSettings
from functions.services.settings import MIB, Settings
from protloc.estimate import prices
from protloc.estimate.system import Deployment, Rates, Times, Workload, bill, follow
from protloc.stack.parameters import template

SMALL = Workload(20, 8_000, 10_000)  # one batch
LARGE = Workload(100_000, 40_000_000, 50_000_000)
RATES = Rates(residues_per_second=100_000)
AWAKE = Deployment(min_instances=1)


def test_a_deployment_is_set_as_the_template_sets_it() -> None:
    default = Deployment()
    parameters = {name: str(each["Default"]) for name, each in template()["Parameters"].items()}
    assert default.instance == parameters["InferenceInstanceType"]
    assert default.predict_concurrency == int(parameters["PredictConcurrency"])
    assert default.max_instances == int(parameters["MaxInferenceInstances"])
    assert default.min_instances == int(parameters["MinInferenceInstances"])
    assert PackingSettings.batch_residues == int(parameters["BatchResidues"])
    assert default.instance in prices.INSTANCE_HOUR
    for name in ("shard_bytes", "indexed_bytes", "answers_bytes"):
        assert getattr(default, name) == getattr(Settings, name)


def test_one_batch_on_an_endpoint_that_is_awake_takes_the_sum_of_its_parts() -> None:
    times, share = Times(), AWAKE.function_processors
    functions = times.event + 4 * times.function_start + 25 * times.request
    work = 10_000 / RATES.split_bytes_per_second / share + 20 * RATES.predict_seconds_a_protein / share
    merging = 20 * RATES.complete_seconds_a_protein
    expected = functions + work + 8_000 / 100_000 + merging
    assert follow(SMALL, RATES, AWAKE).seconds == pytest.approx(expected, rel=1e-6)


def test_a_sleeping_endpoint_is_woken_once_and_every_batch_waits_for_it() -> None:
    times = Times()
    run = follow(LARGE, RATES)
    assert times.wake < run.first_answer < times.wake + times.event + 2 * times.function_start + 61
    assert run.waits > LARGE.batches(), "each waits at least once, the early ones more often"
    assert follow(LARGE, RATES, AWAKE).first_answer < 30
    assert follow(LARGE, RATES, AWAKE).waits == 0


def test_a_long_upload_is_answered_at_the_rate_of_the_copies_that_work() -> None:
    one = follow(LARGE, RATES, AWAKE)
    assert one.last_answer == pytest.approx(40_000_000 / 100_000, rel=0.05)
    assert one.copies == 1, "four functions ask: that is the policy's target for one copy"
    long = Workload(400_000, 160_000_000, 200_000_000)
    more = follow(long, RATES, replace(AWAKE, predict_concurrency=25, max_instances=4))
    assert more.copies == 3, "one after eight minutes, the next after eight more, and then it is done"
    assert more.last_answer == pytest.approx((1600 + 480 + 960) / 3, rel=0.05)
    four = follow(LARGE, RATES, Deployment(min_instances=4, predict_concurrency=25))
    assert four.last_answer == pytest.approx(100, rel=0.15)


def test_functions_that_are_too_few_hold_the_copies_up() -> None:
    fast = Rates(residues_per_second=10_000_000)
    batch = 25 * Times().request + 500 * 0.8 * fast.predict_seconds_a_protein / AWAKE.function_processors
    run = follow(LARGE, fast, AWAKE)
    assert run.last_answer > LARGE.batches() * batch / AWAKE.predict_concurrency / 3
    half = follow(LARGE, fast, replace(AWAKE, predict_concurrency=2))
    assert half.last_answer == pytest.approx(2 * run.last_answer, rel=0.1)


def test_on_one_machine_everything_shares_its_cores() -> None:
    rates = Rates(100_000, predict_seconds_a_protein=2e-3)
    cores = Deployment(cores=2, min_instances=2, predict_concurrency=8)
    work = 40_000_000 / 100_000 + 100_000 * 2e-3 + 50_000_000 / rates.split_bytes_per_second
    assert follow(LARGE, rates, cores).last_answer == pytest.approx(work / 2, rel=0.05)


def test_rows_and_answers_are_written_as_long_as_an_upload_is_short_enough_for_tables() -> None:
    short = follow(LARGE, RATES, AWAKE)
    expected = 4 * LARGE.proteins + 2.2 * LARGE.batches()
    assert short.used["write"] == pytest.approx(expected, rel=0.01)
    long = follow(replace(LARGE, bytes=257 * MIB), RATES, AWAKE)
    assert long.used["write"] == pytest.approx(2.2 * LARGE.batches(), rel=0.05)


def test_an_instance_is_billed_from_its_start_to_the_end_of_its_idle_time() -> None:
    run, times = follow(LARGE, RATES), Times()
    assert run.instance_seconds == pytest.approx(run.last_answer - 6 + times.idle + times.release, rel=0.02)
    hour = prices.INSTANCE_HOUR["ml.c7i.2xlarge"]
    dollars = bill(LARGE, run)
    assert dollars["endpoint"] == pytest.approx(run.instance_seconds / 3600 * hour, rel=0.05)
    assert set(dollars) == {"endpoint", "tables", "functions", "queues", "files", "logs"}
    assert bill(LARGE, run, Deployment(instance="ml.g5.xlarge"))["endpoint"] > 3 * dollars["endpoint"]


@pytest.mark.parametrize("steps", [50, 300])
def test_following_several_batches_as_one_changes_little(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = follow(LARGE, RATES)
    monkeypatch.setattr("protloc.estimate.system.MAX_BATCHES", steps)
    coarse = follow(LARGE, RATES)
    assert coarse.seconds == pytest.approx(exact.seconds, rel=0.05)
    assert sum(bill(LARGE, coarse).values()) == pytest.approx(sum(bill(LARGE, exact).values()), rel=0.05)
