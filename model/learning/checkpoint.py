"""A run's state on disk, so that a run that was cut off goes on where it was.

Each checkpoint is one file that comes into being by a rename, `checkpoint-0000123.safetensors` after
optimizer step 123: tensors, and as the file's metadata one JSON object. SageMaker copies its checkpoint
folder to S3 file by file and lays it out again for the next try, so a file stands for itself: one that is
cut off or misses its companion is passed over for the one before. The best epoch's weights are such a
companion, `best-0002.safetensors`. No pickle.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CHECKPOINTS_KEPT = 2  # checkpoints: the newest, and one before it
_STATE = re.compile(r"checkpoint-(\d+)\.safetensors")
_BEST = re.compile(r"best-(\d+)\.safetensors")
Tensors = Mapping[str, Tensor]


class CheckpointError(ValueError):
    """The folder holds the checkpoints of another run; the message names the differences."""


class Checkpoints:
    """The checkpoints of one run in `folder`; without a folder nothing is kept and nothing found."""

    def __init__(self, folder: Path | None, minutes: float, run: Mapping[str, Any]) -> None:
        """A run goes on only with the same `run`: its settings and its data's digest."""
        self.folder, self.seconds, self.run = folder, minutes * 60, json.loads(json.dumps(run))
        self._written = time.monotonic()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def due(self) -> bool:
        """True if the last checkpoint is older than wanted."""
        return self.folder is not None and time.monotonic() - self._written >= self.seconds

    def read(self) -> tuple[Tensors, Tensors, dict[str, Any]] | None:
        """Tensors, the best epoch's tensors (none before the first) and the state of the newest whole one.

        Raises CheckpointError when it belongs to a run of other settings or data.
        """
        for path in reversed(self._files(_STATE)):
            try:
                tensors, description = _load(path)
                best = _load(path.with_name(_best(description["best"])))[0] if description["best"] else {}
            except (SafetensorError, OSError, KeyError, ValueError):
                continue  # cut off on its way; the one before it is whole
            differs = sorted(
                key
                for key in description["run"] | self.run
                if description["run"].get(key) != self.run.get(key)
            )
            if differs:
                differences = ", ".join(
                    f"{key} {description['run'].get(key)!r} (now {self.run.get(key)!r})" for key in differs
                )
                raise CheckpointError(
                    f"expected checkpoints of this very run in {self.folder}, found one with {differences}; "
                    f"empty the folder or give another --checkpoint-dir"
                )
            return tensors, best, description["state"]
        return None

    def write(self, step: int, best: int, tensors: Tensors, state: Mapping[str, Any]) -> None:
        """Keep the state after an optimizer step; `best` is the epoch that `write_best` kept, or 0."""
        if self.folder is None:
            return
        description = {"run": self.run, "best": best, "state": state}
        _save(self.folder / f"checkpoint-{step:07}.safetensors", tensors, description)
        self._written = time.monotonic()
        states = self._files(_STATE)
        for path in states[:-CHECKPOINTS_KEPT]:
            path.unlink(missing_ok=True)
        kept = {best} | {_described(path).get("best") for path in states[-CHECKPOINTS_KEPT:]}
        for path in self._files(_BEST):
            match = _BEST.fullmatch(path.name)
            if match is not None and int(match[1]) not in kept:
                path.unlink(missing_ok=True)

    def write_best(self, epoch: int, tensors: Tensors) -> None:
        """Keep the weights of the best epoch so far, counted from 1."""
        if self.folder is not None:
            _save(self.folder / _best(epoch), tensors, {})

    def _files(self, pattern: re.Pattern[str]) -> list[Path]:
        """By number; the copying agent's own files beside them have other names."""
        if self.folder is None:
            return []
        return sorted(path for path in self.folder.iterdir() if pattern.fullmatch(path.name))


def collect(
    moving: Mapping[str, Tensor], average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """The tensors of a run: moving weights, their average and AdamW's two moments, each under its name."""
    tensors = {f"weight.{name}": value for name, value in moving.items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for name, value in moving.items():
        if optimizer.state[value]:
            tensors[f"first.{name}"] = optimizer.state[value]["exp_avg"]
            tensors[f"second.{name}"] = optimizer.state[value]["exp_avg_sq"]
    return tensors


@torch.no_grad()
def restore(
    tensors: Tensors,
    moving: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    done: int,
) -> None:
    """Put the result of `collect` back in place, after `done` optimizer steps."""
    states = {}
    # AdamW numbers its parameters group by group.
    ordered = [value for group in optimizer.param_groups for value in group["params"]]
    indices = {id(value): index for index, value in enumerate(ordered)}
    for name, value in moving.items():
        index = indices[id(value)]
        value.copy_(tensors[f"weight.{name}"])
        average[name].copy_(tensors[f"average.{name}"])
        if f"first.{name}" in tensors:
            states[index] = {
                "step": torch.tensor(float(done)),
                "exp_avg": tensors[f"first.{name}"],
                "exp_avg_sq": tensors[f"second.{name}"],
            }
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})


def _best(epoch: int) -> str:
    return f"best-{epoch:04}.safetensors"


def _save(path: Path, tensors: Tensors, description: Mapping[str, Any]) -> None:
    """Write the file whole or not at all, also when the machine goes down."""
    writing = path.with_name(f".{path.name}.writing")
    content = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    save_file(content, writing, metadata={"said": json.dumps(description)})
    with writing.open("rb") as file:
        os.fsync(file.fileno())
    writing.replace(path)


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call, unused-ignore]
        description: dict[str, Any] = json.loads(file.metadata()["said"])
        return {name: file.get_tensor(name) for name in file.keys()}, description  # noqa: SIM118


def _described(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call, unused-ignore]
            description: dict[str, Any] = json.loads(file.metadata()["said"])
            return description
    except (SafetensorError, OSError, KeyError, ValueError):
        return {}
