"""The processes of a training run: the rank of each, their backend and their devices.

Ranks come from torchrun's variables or, where SageMaker's data-parallel library starts its processes
through Open MPI, from Open MPI's. One process needs no group. The backend is `smddp` where its module is
installed beside a GPU, else `nccl` with a GPU, else `gloo`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.serving.hardware import has_bf16

SMDDP_VARIABLES = "SMDATAPARALLEL_USE_"
SMDDP = "smdistributed.dataparallel.torch.torch_smddp"
# Rank and number of processes, in all and on this machine, by the launcher.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    tuple(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
)


@dataclass(frozen=True)
class Processes:
    """This process among all of the run."""

    rank: int
    world: int
    device: torch.device
    local_rank: int = 0  # among the processes of this machine
    local_world: int = 1

    @property
    def first(self) -> bool:
        """True in the process that measures, prints and writes."""
        return self.rank == 0

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """An array on this process's device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def sum(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Arrays of one shape added up over the processes, in fp32; every process gets the very same."""
        total = self.tensor(values.astype(np.float32))
        if self.world > 1:
            torch.distributed.all_reduce(total)
        summed: NDArray[np.float32] = total.cpu().numpy()
        return summed

    def any(self, flag: bool) -> bool:
        """True in all processes if it is true in any."""
        return bool(self.sum(np.array([flag]))[0]) if self.world > 1 else flag

    def agree(self, value: int, what: str) -> None:
        """Raise RuntimeError unless every process has the same value, smaller than 2**24."""
        mean = float(self.sum(np.array([value]))[0]) / self.world
        if self.any(mean != value):
            raise RuntimeError(f"expected the same {what} in every process, found {value} in {self.rank}")

    def wait(self) -> None:
        """Until every process is here."""
        self.any(False)

    def averaging(self, network: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Gradients are averaged over the processes once a step, in its last backward pass."""
        if isinstance(network, DistributedDataParallel) and not last:
            return network.no_sync()
        return nullcontext()

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """bf16 where asked for, or by "auto" where the hardware multiplies in it."""
        use = precision == "bf16" or (precision == "auto" and has_bf16(self.device))
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use)


def placement(environment: os._Environ[str] | dict[str, str]) -> tuple[int, int, int, int]:
    """Rank, number of processes and the same two on this machine; 0, 1, 0, 1 where nobody started several."""
    for names in LAUNCHERS:
        if names[1] in environment:
            rank, world, local, local_world = (int(environment.get(name, -1)) for name in names)
            return rank, world, local, local_world if local_world > 0 else world
    return 0, 1, 0, 1


def backend(environment: os._Environ[str] | dict[str, str], gpu: bool) -> str:
    """The process group's backend for this launcher and the packages installed here.

    SMDDP's module is also in images that run on other instances than its own, where it refuses to work: it
    is taken where SageMaker's launcher for it set its variables.
    """
    asked = any(name.startswith(SMDDP_VARIABLES) for name in environment)
    if asked and importlib.util.find_spec("smdistributed") is not None:
        importlib.import_module(SMDDP)  # registers the backend
        return "smddp"
    return "nccl" if gpu else "gloo"


def first_host(environment: os._Environ[str] | dict[str, str]) -> str:
    """The address of the machine of rank 0: the first of SageMaker's hosts, or this one where it names none.

    SM_HOSTS is a JSON list of names that resolve within the job; the launchers rank machines in its order:
    https://github.com/aws/sagemaker-training-toolkit#sm_hosts
    """
    hosts = json.loads(environment.get("SM_HOSTS", "[]"))
    return str(hosts[0]) if hosts else "127.0.0.1"


@contextmanager
def join() -> Iterator[Processes]:
    """Join the run's process group, where there is more than one process, and leave it afterwards."""
    rank, world, local, local_world = placement(os.environ)
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if world > 1:
        name = backend(os.environ, gpu)  # first: SMDDP's module sets its own address where it knows one
        os.environ.setdefault("MASTER_ADDR", first_host(os.environ))
        os.environ.setdefault("MASTER_PORT", "29500")
        torch.distributed.init_process_group(name, rank=rank, world_size=world)
    try:
        yield Processes(rank, world, device, local, local_world)
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()
