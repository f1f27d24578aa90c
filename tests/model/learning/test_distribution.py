"""Every launcher's processes find each other, by the backend that is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model.learning.distribution import backend, first_host, placement
from model.serving.artifact import read_artifact
from tests.model.runs import plain, start_several, write_channels
from tests.waiting import LIMIT_SECONDS


def test_ranks_come_from_torchrun_or_open_mpi() -> None:
    assert placement({}) == (0, 1, 0, 1)
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert placement(torchrun) == (5, 8, 1, 4)
    mpi = {"RANK": "3", "SIZE": "16", "LOCAL_RANK": "2", "LOCAL_SIZE": "8"}
    assert placement({f"OMPI_COMM_WORLD_{key}": value for key, value in mpi.items()}) == (3, 16, 2, 8)


# The surface that SMDDP documents: importing the module registers a backend by its name. Behind it is gloo.
FAKE_SMDDP = """
import torch.distributed


def create(store, rank, size, timeout):
    return torch.distributed.ProcessGroupGloo(store, rank, size, timeout)


torch.distributed.Backend.register_backend("smddp", create, devices=["cpu", "cuda"])
print("smddp registered", flush=True)
"""
SINGLE_NODE = {"SMDATAPARALLEL_USE_SINGLENODE": "1"}  # as SageMaker's training toolkit sets it


def write_fake_smddp(folder: Path) -> Path:
    """SMDDP's package as far as its documentation describes it, to be put on the path."""
    package = folder / "smdistributed" / "dataparallel" / "torch"
    package.mkdir(parents=True)
    (package / "torch_smddp.py").write_text(FAKE_SMDDP)
    return folder


def test_the_backend_is_smddp_where_its_launcher_runs_and_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (backend({}, gpu=False), backend({}, gpu=True)) == ("gloo", "nccl")
    assert backend(SINGLE_NODE, gpu=True) == "nccl", "as in an image without it"
    monkeypatch.syspath_prepend(str(write_fake_smddp(tmp_path)))
    monkeypatch.setattr("torch.distributed.Backend.register_backend", lambda *_, **__: None)
    assert backend({}, gpu=True) == "nccl", "the image has it, but another launcher started us"
    assert backend(SINGLE_NODE, gpu=True) == "smddp"
    for name in [name for name in sys.modules if name.startswith("smdistributed")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.slow
def test_two_processes_train_through_smddps_documented_surface(tmp_path: Path) -> None:
    channels = write_channels(tmp_path / "ml")
    fake = {"PYTHONPATH": str(write_fake_smddp(tmp_path / "fake"))} | SINGLE_NODE
    running = start_several(plain(channels, tmp_path / "out", "--epochs", "1"), 2, fake)
    outputs = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert all("smddp registered" in output for output in outputs)
    assert read_artifact(tmp_path / "out").metrics["proteins"] == 20


def test_processes_of_several_machines_meet_at_sagemakers_first_host() -> None:
    assert first_host({"SM_HOSTS": '["algo-1", "algo-2"]'}) == "algo-1"
    assert first_host({}) == "127.0.0.1"
