"""SageMaker's own training toolkit, without a container, starts a job as `launch` asks for it.

Proven: how the toolkit reads our hyperparameters, starts processes and hands over folders. Not proven: real
SMDDP on its own instances. Its package is a fake with gloo behind, and so are `mpirun`, `mpi4py` and the
ssh daemon, of which the toolkit's command line and their variables are the real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model import job as jobs
from model.serving.artifact import pack, read_artifact
from model.source import archive
from tests.model.learning.test_distribution import write_fake_smddp
from tests.model.runs import write_channels
from tests.model.test_job import JOB
from tests.model.tiny import build_tiny_ensemble
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.toolkit
SMALL = {"batch_size": 8, "token-budget": 400, "max-residues": 64}
SETTINGS = {"hidden": 32, "epochs": 2} | SMALL
MPIRUN = """#!{python}
import os, subprocess, sys
words, environment, count = sys.argv[1:], dict(os.environ), 2
while words[0].startswith("-"):
    if words[0] == "-np":
        count = max(count, int(words[1]))  # one a GPU; here at least two all the same
    # The toolkit's library for host names reads /opt/ml and ends the process where there is none.
    if words[0] == "-x" and "=" in words[1] and not words[1].startswith("LD_PRELOAD"):
        name, _, value = words[1].partition("=")
        environment[name] = value
    words = words[{{"-np": 2, "-x": 2, "--host": 2, "-mca": 3}}.get(words[0], 1):]
running = []
for rank in range(count):
    ranks = {{"RANK": rank, "LOCAL_RANK": rank, "SIZE": count, "LOCAL_SIZE": count}}
    mine = {{"OMPI_COMM_WORLD_" + name: str(value) for name, value in ranks.items()}}
    running.append(subprocess.Popen(words, env=environment | mine))
sys.exit(max(process.wait() for process in running))
"""
# Open MPI's Python, of which the toolkit uses only that it runs a program.
MPI4PY = "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
WITHOUT_SSH = """
import sagemaker_training.smdataparallel
from sagemaker_pytorch_container.training import main

sagemaker_training.smdataparallel._start_sshd_daemon = lambda: None
"""


@pytest.mark.parametrize(
    ("launcher", "start"), [*((name, None) for name in jobs.LAUNCHERS), ("smddp", "champion")]
)
def test_the_toolkit_runs_what_the_launcher_asks_for(
    launcher: str, start: str | None, tmp_path: Path
) -> None:
    base = write_channels(tmp_path / "ml")
    job = replace(JOB, launcher=launcher, hyperparameters=SETTINGS)
    if start is not None:
        job = replace(
            job, champion="s3://bucket/model.tar.gz", hyperparameters={"start": start, "epochs": 2} | SMALL
        )
        (base / "input" / "data" / "champion").mkdir()
        champion = build_tiny_ensemble(tmp_path / "champion")
        pack(champion, base / "input" / "data" / "champion" / "model.tar.gz")
    run = run_job(base, job, tmp_path)
    printed = run.stdout + run.stderr
    assert run.returncode == 0, printed[-4000:]
    artifact = read_artifact(base / "model")
    assert artifact.training["batch_size"] == 8 and artifact.metrics["proteins"] == 20
    assert artifact.training.get("start", {}).get("version") == (start and "tiny-ensemble")
    assert printed.count("Validation Accuracy: ") == 2, "one process of all tells the figures"
    assert ("smddp registered" in printed) is (launcher == "smddp")
    assert ("torchrun --nnodes 1" in printed) is (launcher == "torchrun")
    assert not (base / "output" / "failure").exists()


@pytest.mark.parametrize("launcher", jobs.LAUNCHERS)
def test_the_reason_of_a_failure_is_the_programs_own(launcher: str, tmp_path: Path) -> None:
    base = write_channels(tmp_path / "ml")
    labelled = next((base / "input" / "data" / "training").iterdir())
    labelled.write_text(">P1 Somewhere-M\nMKV\n")
    run = run_job(base, replace(JOB, launcher=launcher, hyperparameters=SETTINGS), tmp_path)
    assert run.returncode != 0
    reason = (base / "output" / "failure").read_text()
    assert reason.startswith("deeploc.fasta line 1: unknown location 'Somewhere'; expected one of")
    assert "Traceback" not in reason


def run_job(base: Path, job: jobs.Job, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job's request through the toolkit, with `base` as its container's /opt/ml."""
    if "PROTLOC_TRAINING_TOOLKIT" not in os.environ:
        pytest.skip("needs an environment with sagemaker-pytorch-training at PROTLOC_TRAINING_TOOLKIT")
    programs = Path(os.environ["PROTLOC_TRAINING_TOOLKIT"]).resolve() / "bin"
    for name in ("model", "output/data", "input/config", "code"):
        (base / name).mkdir(parents=True)
    source = folder / "sourcedir.tar.gz"
    source.write_bytes(archive())
    body = jobs.request(replace(job, source=str(source)))
    sent = body["HyperParameters"]
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    configuration = {
        "hyperparameters": sent,
        "resourceconfig": {
            **{"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"},
            **{"current_instance_type": "ml.p4d.24xlarge", "current_group_name": "homogeneousCluster"},
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": "x", "hosts": ["localhost"]}
            ],
        },
        "inputdataconfig": dict.fromkeys(
            ["validation", *(each["ChannelName"] for each in body["InputDataConfig"])], channel
        ),
    }
    for name, content in configuration.items():
        (base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
    fakes = write_fake_smddp(folder / "fakes")
    (fakes / "mpi4py").mkdir()
    (fakes / "mpi4py" / "__init__.py").write_text("")
    (fakes / "mpi4py" / "__main__.py").write_text(MPI4PY)
    (fakes / "without_ssh.py").write_text(WITHOUT_SSH)
    (fakes / "mpirun").write_text(MPIRUN.format(python=sys.executable))
    (fakes / "mpirun").chmod(0o755)
    return subprocess.run(
        [str(programs / "train")],
        cwd=folder,
        env={
            "PATH": f"{fakes}:{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(fakes),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_TRAINING_MODULE": "without_ssh:main",
            "SAGEMAKER_PROGRAM": jobs.PROGRAM,
        },
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
