"""The ten commands of docs/training.md, as they stand there, on the embedded cloud with a tiny encoder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, Embedded
from tests.model.runs import write_encoder
from tests.model.tiny import write_labelled
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow

# Commands whose results are there before: the cloud, the environment, and an encoder in the place of
# ProtBERT's 1.7 GB.
MADE_BEFORE = ("make deploy ", ".venv/bin/pip ", "source ", "hf download ")


def commands() -> list[str]:
    """The guide's commands, a line each."""
    [block] = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    return block.replace("\\\n", "").splitlines()


def write_pickled_encoder(folder: Path) -> None:
    """A tiny random encoder as the hub has ProtBERT: weights as a pickle."""
    write_encoder(folder, layers=16)
    weights = load_file(folder / "model.safetensors")
    torch.save({f"bert.{name}": value for name, value in weights.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def surroundings(embedded: Embedded, folder: Path) -> dict[str, str]:
    """The variables of a shell after `eval "$(protloc env)"`, with no configuration of its own."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "PROTLOC_CLOUD_OWNER": os.environ["PROTLOC_CLOUD_OWNER"],
        "OMP_NUM_THREADS": "1",
        **embedded.answer("env"),
    }


def test_the_guides_commands_lead_from_nothing_to_answers(
    start_embedded: Callable[..., Embedded], tmp_path: Path
) -> None:
    embedded = start_embedded()
    lines = [line for line in commands() if not line.startswith(MADE_BEFORE)]
    assert [int(number) for line in commands() for number in re.findall(r"# (\d+)\. ", line)] == [
        *range(1, 11)
    ]
    write_pickled_encoder(tmp_path / "prot_bert_bfd")
    write_labelled(tmp_path / "mine.fasta", 60)
    (tmp_path / "events").symlink_to(ROOT / "events")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=surroundings(embedded, tmp_path),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "lengths.png").stat().st_size > 5000
    assert "model.safetensors is written from pytorch_model.bin" in done.stderr
    assert "Validation Accuracy: " in done.stderr, "the job's log is streamed"
    assert re.search(r"^s3://\S+/training/protbert-1/output/model\.tar\.gz$", done.stdout, re.MULTILINE)
    answers = [line for line in done.stdout.splitlines() if "article-" in line]
    assert len(answers) == 3, done.stdout
