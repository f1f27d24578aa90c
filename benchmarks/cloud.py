"""The whole product on one machine: proteins a second from file to results, fairness, and the API's latency.

An embedded cloud of its own in a temporary folder, with the shipped model. A large file first; then small
ones while nothing else is in work, and beside a large one.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import Row
from benchmarks.text import fasta
from functions.domain.upload import FINAL_STATUSES
from protloc.cloud import lifecycle
from protloc.embedded import ready
from protloc.estimate.offers import offers
from protloc.estimate.reading import examine
from protloc.stack.client import Client

PREFIX = "protloc-bench-"
LARGE, SMALL, TIMES, REQUESTS = 3_000, 10, 3, 50


def run(_rounds: int) -> Iterator[Row]:
    """The rows of the pipeline. The cloud is taken down afterwards."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        try:
            yield from _measure(ready(folder / "home", lambda _: None), folder)
        finally:
            lifecycle.down(folder / "home", erase=True)


def _measure(client: Client, folder: Path) -> Iterator[Row]:
    idle = [_seconds(client, folder, SMALL, seed) for seed in range(TIMES + 1)][1:]  # the first one warms up
    before = _processor_seconds()
    whole = _seconds(client, folder, LARGE, 50)
    spent = _processor_seconds() - before
    detail: dict[str, Any] = {"proteins": LARGE, "processor_ms_a_protein": round(1000 * spent / LARGE, 2)}
    yield Row("pipeline", LARGE / whole, "proteins/s", 120.0, "nothing", 1, detail=detail)
    work = examine(io.BytesIO(fasta(LARGE, 50))).work
    estimated = next(offers(work)).run.seconds
    apart = max(whole / estimated, estimated / whole)
    detail = {"seconds": round(whole, 1), "estimated": round(estimated, 1)}
    against = "the model of the system, for the same file"
    yield Row("estimate", apart, "×", 1.25, against, 1, higher_is_better=False, detail=detail)
    large = _send(client, folder, LARGE, 51)
    beside = []
    for seed in range(60, 60 + TIMES):
        time.sleep(1.0)
        beside.append(_seconds(client, folder, SMALL, seed))
    still = client.upload(large)["status"]
    yield Row(
        "fairness",
        max(beside) / statistics.median(idle),
        "× idle",
        3.0,
        f"{SMALL} proteins on an idle cloud, against behind {LARGE}",
        TIMES,
        higher_is_better=False,
        detail={"idle_s": _rounded(idle), "beside_s": _rounded(beside), "large_then": still},
    )
    _wait(client, large)
    asked = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        client.upload(large)
        asked.append(1000 * (time.perf_counter() - started))
    p95 = statistics.quantiles(asked, n=20)[-1]
    yield Row("api", p95, "ms, p95 of 50", 250.0, "nothing", 1, higher_is_better=False)


def _send(client: Client, folder: Path, records: int, seed: int) -> str:
    path = folder / f"{records}-{seed}.fasta"
    path.write_bytes(fasta(records, seed))
    with path.open("rb") as file:
        return client.send(file, path.name).upload_id


def _wait(client: Client, upload: str) -> dict[str, Any]:
    """Ask until an upload has ended, ten times a second: `Client.wait` asks ever less often."""
    while (view := client.find_upload(upload)) is None or view["status"] not in FINAL_STATUSES:
        time.sleep(0.1)
    return view


def _seconds(client: Client, folder: Path, records: int, seed: int) -> float:
    """Seconds from a file to its results."""
    started = time.perf_counter()
    upload = _send(client, folder, records, seed)
    ended = _wait(client, upload)
    assert ended["predicted"] == records, ended
    return time.perf_counter() - started


def _processor_seconds() -> float:
    """The time of the cloud's processes so far, and of those that they started and that have ended."""
    every = psutil.process_iter(["cmdline"])
    clouds = [each for each in every if PREFIX in " ".join(each.info["cmdline"] or [])]
    family = {each for cloud in clouds for each in (cloud, *cloud.children(recursive=True))}
    return sum(sum(each.cpu_times()[:4]) for each in family)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 2) for value in values]
