"""Helpers of the benchmarks: timing in turns, the machine's own limits, one JSON object a line.

A machine's speed drifts, so two ways are never timed one after the other but in turns: each round gives one
ratio, and a row has the median over the rounds. `ceiling` is the rate of one plain matrix product of the same
kind in the same rounds, so that a ratio can be read against the limit of the machine.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

# Tokens, inputs and outputs of the product taken as the ceiling: the largest layer of ProtBERT.
CEILING = (2048, 1024, 4096)


@dataclass(frozen=True)
class Row:
    """One claim as measured. `higher_is_better` says on which side of `bar` it holds; `detail` is free."""

    bench: str
    value: float
    unit: str  # "×" for a ratio
    bar: float
    against: str
    rounds: int
    higher_is_better: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """True if the figure is on the right side of its bar."""
        return self.value >= self.bar if self.higher_is_better else self.value <= self.bar

    def line(self) -> str:
        """The row as one line of JSON, with the machine it was measured on."""
        figure = {"ratio" if self.unit == "×" else "value": round(self.value, 4)}
        return json.dumps(
            {"bench": self.bench}
            | figure
            | {"unit": self.unit, "bar": self.bar, "holds": self.holds, "against": self.against}
            | {"rounds": self.rounds, "machine": machine()}
            | dict(self.detail),
            ensure_ascii=False,
        )


def interleave(
    ways: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each way, a list over the rounds; each way runs once before anything is counted.

    With `time.process_time` as the clock the seconds are the processor's, which other work on the machine
    lengthens less.
    """
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        # Every second round backwards, so that no way always comes after the same other.
        for name, way in reversed(list(ways.items())) if number % 2 else ways.items():
            wait()
            started = clock()
            way()
            wait()
            seconds[name].append(clock() - started)
    return seconds


def wait() -> None:
    """Wait until the accelerator, if there is one, has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The speed-up: the median over the rounds of slow by fast."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


def median(values: Sequence[float]) -> float:
    """The median of the rounds."""
    return statistics.median(values)


def ceiling(dtype: torch.dtype, device: str = "cpu", products: int = 20) -> Callable[[], object]:
    """`products` matrix products of CEILING, as fast as torch has them; see `operations`."""
    tokens, inputs, outputs = CEILING
    layer = nn.Linear(inputs, outputs, device=device, dtype=dtype).requires_grad_(False)
    values = torch.randn(tokens, inputs, device=device, dtype=dtype)
    if device == "cpu" and dtype == torch.bfloat16:
        # Weights in oneDNN's own order: without it every call would spend time on putting them so.
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight, tokens)

        def multiply() -> object:
            return torch.ops.mkldnn._linear_pointwise(values, weight, layer.bias, "none", [], "")
    else:

        def multiply() -> object:
            return layer(values)

    @torch.inference_mode()
    def run() -> None:
        for _ in range(products):
            multiply()

    return run


def operations(products: int = 20) -> float:
    """Multiplications and additions of one run of `ceiling`."""
    tokens, inputs, outputs = CEILING
    return 2.0 * tokens * inputs * outputs * products


def machine() -> dict[str, Any]:
    """The machine that a figure was measured on: processor, threads, commit, accelerator if there is one."""
    description: dict[str, Any] = {
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }
    if torch.cuda.is_available():
        description["gpu"] = torch.cuda.get_device_name()
    return description


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    number = "/".join(fields.get(name, "?") for name in ("cpu family", "model"))
    return f"{fields.get('model name', platform.machine())} ({number})"


def _commit() -> str:
    here = Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
