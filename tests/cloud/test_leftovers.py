"""Nothing outlives a cloud, however it ends, and no cloud outlives the test run that started it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from protloc.cloud import connection, lifecycle
from tests.cloud.conftest import Stack
from tests.cloud.held import RECORD
from tests.cloud.sagemaker.models import artifact
from tests.cloud.sagemaker.test_sagemaker import host, job, put, serving
from tests.cloud.test_stack import send
from tests.conftest import ROOT
from tests.waiting import Gate, until


def processes_of(record: Path) -> list[psutil.Process]:
    """The processes that a run wrote down, as they are now: a number used again is another process.

    One that was ending as it was written down, such as a child that saves the state, may be gone already.
    """
    processes = []
    for line in record.read_text().split():
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(int(line)))
    return processes


def living(processes: list[psutil.Process]) -> list[str]:
    """Those that still run. One that is dead and that nobody asked about stays a zombie."""
    living_processes = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                living_processes.append(" ".join([str(process.pid), *process.cmdline()]))
        except psutil.NoSuchProcess:
            continue
    return living_processes


# A part of the command line of each kind of process that a test run starts.
KINDS = ("cloud.server", "serve.py", "runtime.py", "attached.py", "model/train.py", "sleep", "pytest")


def kinds(processes: list[psutil.Process]) -> set[str]:
    """The kinds of those that still run."""
    return {next((part for part in KINDS if part in line), line) for line in living(processes)}


ALONE, IN_A_WORKER = "0", "1"  # the number of workers of pytest-xdist
slow = pytest.mark.slow  # the same ways through the same code


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGTERM, ALONE),
        pytest.param(signal.SIGKILL, IN_A_WORKER, marks=slow),
        pytest.param(signal.SIGINT, ALONE, marks=slow),
        pytest.param(signal.SIGKILL, ALONE, marks=slow),
        pytest.param(signal.SIGINT, IN_A_WORKER, marks=slow),
        pytest.param(signal.SIGTERM, IN_A_WORKER, marks=slow),
    ],
)
def test_a_test_run_that_is_ended_leaves_no_process(
    tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    record, log = tmp_path / "processes", tmp_path / "run.log"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-n", workers]
    command += ["--basetemp", str(tmp_path / "base"), str(Path(__file__).with_name("held.py"))]
    with log.open("wb") as output:
        run = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, RECORD: str(record)},
            stdout=output,
            stderr=output,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in `children`
        )
    processes: list[psutil.Process] = []
    try:
        until(lambda: record.exists() or run.poll() is not None, log.read_text)
        assert run.poll() is None, log.read_text()
        processes = processes_of(record)
        expected = set(KINDS) - ({"pytest"} if workers == "1" else set())
        assert kinds(processes) >= expected
        run.send_signal(number)
        until(lambda: run.poll() is not None, log.read_text)
        until(lambda: not living(processes), lambda: living(processes))
    finally:
        for process in [*processes, psutil.Process(run.pid)] if run.poll() is None else processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        run.wait()


def test_nothing_that_a_cloud_started_outlives_its_kill(own_stack: Stack, tmp_path: Path) -> None:
    """Even in the middle of loading a model."""
    gates = {name: Gate(tmp_path / name) for name in ("function", "job", "loading")}
    serving(own_stack, put(own_stack, "models/m/model.tar.gz", artifact()))
    loading = artifact(json.dumps({"factor": 2, "loading_gate": str(gates["loading"].path)}))
    host(own_stack, put(own_stack, "models/loading/model.tar.gz", loading))
    job(own_stack, factor="1", gate=str(gates["job"].path))
    send(own_stack, gate=str(gates["function"].path))
    until(lambda: all(gate.reached for gate in gates.values()))
    cloud = psutil.Process(own_stack.cloud.pid)
    processes = [cloud, *cloud.children(recursive=True)]
    assert set.union(*(gate.reached for gate in gates.values())) <= {process.pid for process in processes}
    cloud.kill()
    until(lambda: not living(processes), lambda: living(processes))


def test_a_cloud_without_an_owner_outlives_its_starter(tmp_path: Path) -> None:
    """As a person's own must, whose `protloc up` has long ended."""
    program = "import sys; from protloc.cloud import lifecycle; print(lifecycle.up(sys.argv[1]).pid)"
    environment = {name: value for name, value in os.environ.items() if name != "PROTLOC_CLOUD_OWNER"}
    try:
        pid = int(
            subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], env=environment, cwd=ROOT)
        )
        cloud = connection.find(tmp_path)
        assert cloud is not None and cloud.pid == pid
    finally:
        assert lifecycle.down(tmp_path, erase=True)


def test_a_cloud_whose_owner_is_gone_before_it_starts_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = subprocess.Popen([sys.executable, "-c", ""])
    owner.wait()
    monkeypatch.setenv("PROTLOC_CLOUD_OWNER", str(owner.pid))
    with pytest.raises(
        lifecycle.CloudError, match=f"process {owner.pid}, which this cloud belongs to, is gone"
    ):
        lifecycle.up(tmp_path)
