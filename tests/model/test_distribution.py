"""Every launcher's processes find each other, by the backend that is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model.distribution import backend, placement


def test_ranks_come_from_torchrun_or_open_mpi() -> None:
    assert placement({}) == (0, 1, 0, 1)
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert placement(torchrun) == (5, 8, 1, 4)
    mpi = {"RANK": "3", "SIZE": "16", "LOCAL_RANK": "2", "LOCAL_SIZE": "8"}
    assert placement({f"OMPI_COMM_WORLD_{key}": value for key, value in mpi.items()}) == (3, 16, 2, 8)


def test_the_backend_is_smddp_where_it_is_installed_beside_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (backend(gpu=False), backend(gpu=True)) == ("gloo", "nccl")
    package = tmp_path / "smdistributed" / "dataparallel" / "torch"
    package.mkdir(parents=True)
    (package / "torch_smddp.py").write_text("registered = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert (backend(gpu=False), backend(gpu=True)) == ("gloo", "smddp")
    assert sys.modules["smdistributed.dataparallel.torch.torch_smddp"].registered
    for name in [name for name in sys.modules if name.startswith("smdistributed")]:
        monkeypatch.delitem(sys.modules, name)
