"""Small training runs, as tests start them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import BertConfig, BertModel

from model import train
from model.proteins.labelled import read_labelled
from model.serving.tokens import PROTEIN_VOCABULARY
from protloc.cloud import ports
from tests.children import child
from tests.model.tiny import write_labelled
from tests.waiting import Gate

ROOT = Path(train.__file__).parents[1]
SETTINGS = ("--hidden", "32", "--batch-size", "8", "--token-budget", "400", "--max-residues", "64")


def write_channels(base: Path) -> Path:
    """SageMaker's folder `/opt/ml` with its two channels: 60 proteins to learn from, 20 to choose on."""
    for name in ("training", "validation"):
        (base / "input" / "data" / name).mkdir(parents=True)
    labelled = write_labelled(base / "input" / "data" / "training" / "deeploc.fasta", 90, test=10)
    chosen = [protein.accession for protein in read_labelled(labelled)[10:30]]
    (base / "input" / "data" / "validation" / "accessions.txt").write_text("\n".join(chosen))
    return base


def plain(base: Path, out: Path, *settings: object) -> list[str]:
    """The arguments of a run without SageMaker."""
    data = base / "input" / "data"
    return [
        *("--training", str(data / "training"), "--validation", str(data / "validation" / "accessions.txt")),
        *("--model-dir", str(out)),
        *SETTINGS,
        *map(str, settings),
    ]


def write_encoder(folder: Path, *, layers: int = 3, dropout: float = 0.1) -> Path:
    """A BERT such as ProtBERT, very small, nothing learned."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=50,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PROTEIN_VOCABULARY))
    return folder


# Runs the training program, which waits at a gate whenever it has written a checkpoint after a certain step.
HELD = f"""
{Gate.source}
import runpy
from model.learning.checkpoint import Checkpoints

write = Checkpoints.write

def write_and_wait(self, step, *rest):
    write(self, step, *rest)
    if step > {{step}}:
        pass_gate({{gate!r}})

Checkpoints.write = write_and_wait
{{run}}
"""
PROGRAM = """
import sys
sys.argv[0] = "model.train"
runpy.run_module("model.train", run_name="__main__", alter_sys=True)
"""


def held(gate: Gate, step: int, run: str = PROGRAM) -> str:
    """The source of a training program that waits at `gate` with its first checkpoint after `step`."""
    return HELD.format(gate=str(gate.path), step=step, run=run)


def start(
    arguments: list[str], environment: Mapping[str, str] | None = None, program: str = ""
) -> subprocess.Popen[str]:
    """A run in a process of its own, computing in as many threads as this one; of `program`, where it is named."""
    variables = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": str(torch.get_num_threads())}
    what = ["-c", program] if program else ["-m", "model.train"]
    return subprocess.Popen(
        child([sys.executable, *what, *arguments]),
        cwd=ROOT,
        env=variables | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_several(
    arguments: list[str], world: int, environment: Mapping[str, str] | None = None
) -> list[subprocess.Popen[str]]:
    """The processes of one run, as Open MPI would start them."""
    with ports.hold_any() as held_port:  # no program is given it by the system when it is free again
        port = str(held_port.getsockname()[1])
    names = {"SIZE": world, "LOCAL_SIZE": world}
    return [
        start(
            arguments,
            {
                f"OMPI_COMM_WORLD_{name}": str(value)
                for name, value in (names | {"RANK": rank, "LOCAL_RANK": rank}).items()
            }
            | {"MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
            | dict(environment or {}),
        )
        for rank in range(world)
    ]


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The weights of an artifact."""
    return load_file(folder / "model.safetensors")


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """True if weights are equal to the bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def distance(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """The distance between two sets of weights."""
    return float(sum(((one[key] - np.asarray(other[key])) ** 2).sum() for key in one) ** 0.5)
