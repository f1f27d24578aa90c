"""Training runs as SageMaker runs it, learns, repeats itself, and does the same with two processes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertConfig, BertModel

from model import train
from model.artifact import read_artifact
from model.data import read_labelled
from model.encoders import fetch
from model.inference import model_fn, predict_fn
from model.tokens import PROTEIN_VOCABULARY
from tests.model.tiny import write_labelled

ROOT = Path(train.__file__).parents[1]
SETTINGS = ["--hidden", "32", "--batch-size", "8", "--token-budget", "400", "--max-residues", "64"]
# What SageMaker's metric definitions look for in a job's log; the first three are the article's.
PATTERNS = (
    r"Training Loss: ([0-9\.]+)",
    r"Validation Accuracy: ([0-9\.]+)",
    r"Validation loss: ([0-9\.]+)",
    r"Validation Macro-F1: ([0-9\.]+)",
)


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SageMaker's folder `/opt/ml` with its two channels: 60 proteins to learn from, 20 to choose on."""
    base = tmp_path_factory.mktemp("ml")
    for name in ("training", "validation"):
        (base / "input" / "data" / name).mkdir(parents=True)
    labelled = write_labelled(base / "input" / "data" / "training" / "deeploc.fasta", 90, test=10)
    chosen = [protein.accession for protein in read_labelled(labelled)[10:30]]
    (base / "input" / "data" / "validation" / "accessions.txt").write_text("\n".join(chosen))
    return base


def variables(base: Path, out: Path) -> dict[str, str]:
    """What SageMaker's training toolkit sets for a script."""
    return {
        "SM_MODEL_DIR": str(out / "model"),
        "SM_OUTPUT_DATA_DIR": str(out / "output" / "data"),
        "SM_CHANNEL_TRAINING": str(base / "input" / "data" / "training"),
        "SM_CHANNEL_VALIDATION": str(base / "input" / "data" / "validation"),
        "SM_NUM_GPUS": "0",
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
    }


def plain(base: Path, out: Path, *settings: str) -> list[str]:
    """The arguments of a run without SageMaker."""
    data = base / "input" / "data"
    return [
        *("--training", str(data / "training"), "--validation", str(data / "validation" / "accessions.txt")),
        *("--model-dir", str(out)),
        *SETTINGS,
        *settings,
    ]


def test_a_job_as_sagemaker_runs_it_leaves_an_artifact_that_has_learned(
    channels: Path, tmp_path: Path
) -> None:
    arguments = [*SETTINGS, "--epochs", "4", "--learning_rate", "0.003", "--model-version", "job-1"]
    run = subprocess.run(
        [sys.executable, "model/train.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "2"} | variables(channels, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for pattern in PATTERNS:
        assert len(re.findall(pattern, run.stdout)) >= 4, pattern
    artifact = read_artifact(tmp_path / "model")
    assert (tmp_path / "model" / "code" / "inference.py").is_file(), "SageMaker archives the folder as it is"
    assert artifact.version == "job-1"
    assert artifact.data["proteins"] == 60 and artifact.metrics["proteins"] == 20
    assert artifact.metrics["split"] == "validation"
    metrics = json.loads((tmp_path / "output" / "data" / "metrics.json").read_text())
    assert metrics == artifact.metrics
    assert metrics["q10"] > 0.5  # one in ten is what knowing nothing gives
    assert metrics["q10"] == max(float(q10) for q10 in re.findall(PATTERNS[1], run.stdout))
    assert not list((tmp_path / "model").glob("*.bin")) + list((tmp_path / "model").glob("*.p*"))
    shown = predict_fn(["C" * 40], model_fn(str(tmp_path / "model")))["predictions"][0]
    assert np.argmax(shown["probabilities"]) == 1


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(channels: Path, tmp_path: Path) -> None:
    for name, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        train.main(plain(channels, tmp_path / name, "--epochs", "1", "--seed", seed))
    one, again, other = (
        load_file(tmp_path / name / "model.safetensors") for name in ("one", "again", "other")
    )
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert any(not np.array_equal(one[key], other[key]) for key in one)


def test_test_proteins_change_nothing(channels: Path, tmp_path: Path) -> None:
    labelled = channels / "input" / "data" / "training" / "deeploc.fasta"
    without = tmp_path / "without.fasta"
    records = labelled.read_text().split(">")[1:]
    without.write_text("".join(f">{record}" for record in records if " test\n" not in record))
    for name, file in (("with", labelled), ("without", without)):
        train.main(plain(channels, tmp_path / name, "--epochs", "1", "--training", str(file)))
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("with", "without")]
    assert all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_learn_what_one_does(channels: Path, tmp_path: Path) -> None:
    # Dropout off, since each process draws its own; fp32, since bf16 rounds by the size of a pack.
    settings = ["--epochs", "2", "--dropout", "0", "--precision", "fp32", "--average", "0.5"]
    port = str(free_port())
    started = []
    for rank in range(2):
        ranks = {
            "OMPI_COMM_WORLD_RANK": str(rank),
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
            "MASTER_PORT": port,
        }
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "model.train", *plain(channels, tmp_path / "two", *settings)],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"} | ranks,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    train.main(plain(channels, tmp_path / "one", *settings))
    outputs = [process.communicate(timeout=80)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert "Validation Accuracy" in outputs[0] and "Validation Accuracy" not in outputs[1]
    torch.manual_seed(1)
    start = train.build(train.parse(plain(channels, tmp_path, *settings)))[0].state_dict()
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    # AdamW divides by the gradient's size and so lifts float noise where gradients are next to nothing:
    # what counts is how far apart the two end, against how far they came.
    moved, apart = (
        sum(float(((one[key] - np.asarray(other[key])) ** 2).sum()) for key in one) ** 0.5
        for other in (start, two)
    )
    assert moved > 0.5
    assert apart < 0.01 * moved


def test_a_pretrained_encoder_trains_with_frozen_layers_under_a_linear_head(
    channels: Path, tmp_path: Path
) -> None:
    encoder = tmp_path / "encoder"
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=50,
    )
    BertModel(config).save_pretrained(encoder)
    (encoder / "vocab.txt").write_text("\n".join(PROTEIN_VOCABULARY))
    settings = ["--encoder", str(encoder), "--head", "linear", "--frozen_layers", "1", "--epochs", "1"]
    train.main(plain(channels, tmp_path / "out", *settings))
    artifact = read_artifact(tmp_path / "out")
    assert artifact.head["kind"] == "linear"
    assert artifact.max_residues == 48  # what this encoder has positions for, less than was asked
    before, after = (
        load_file(encoder / "model.safetensors"),
        load_file(tmp_path / "out" / "model.safetensors"),
    )
    changed = {
        key for key in before if f"encoder.{key}" in after and (before[key] != after[f"encoder.{key}"]).any()
    }
    assert changed and all(key.startswith("encoder.layer.1.") for key in changed)
    assert "probabilities" in predict_fn(["MKV"], model_fn(str(tmp_path / "out")))["predictions"][0]


def test_a_run_may_begin_with_the_weights_of_an_artifact(
    channels: Path, tiny_artifact: Path, tmp_path: Path
) -> None:
    still = ["--learning-rate", "0", "--epochs", "1", "--start", str(tiny_artifact), "--model-version", "b"]
    train.main(plain(channels, tmp_path / "out", *still))
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_artifact, tmp_path / "out"))
    assert all(np.allclose(before[key], after[key], atol=1e-6) for key in before)
    assert read_artifact(tmp_path / "out").training["start"]["version"] == "tiny-1"


def test_missing_channels_and_unknown_settings_are_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SM_CHANNEL_TRAINING", raising=False)
    with pytest.raises(SystemExit):
        train.parse([])
    assert "SM_CHANNEL_TRAINING" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.parse(["--training", "x", "--epoch", "3"])


def test_the_learning_rate_rises_in_steps_and_falls_by_a_cosine() -> None:
    shares = [train.pace(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[55] == pytest.approx(0.51, abs=0.01) and shares[99] < 0.03


def test_the_loss_leaves_unknown_membranes_out_and_weighs_locations() -> None:
    locations, truth = torch.randn(3, 10), torch.tensor([0, 1, 2])
    bound, known = torch.tensor([5.0, 5.0, 5.0]), torch.tensor([-1.0, -1.0, -1.0])
    weights = torch.zeros(10)
    assert train.summed_loss(locations, bound, truth, known, weights, 0.0).item() == 0
    weights[1] = 2.0
    expected = 2 * torch.nn.functional.cross_entropy(locations[1:2], truth[1:2])
    assert torch.isclose(train.summed_loss(locations, bound, truth, known, weights, 0.0), expected)
    known[0] = 0.0
    wrong = train.summed_loss(locations, bound, truth, known, weights, 0.0) - expected
    assert wrong.item() == pytest.approx(5.0067 * train.MEMBRANE_WEIGHT, rel=1e-3)


def test_an_encoder_is_named_by_a_folder_that_holds_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        fetch(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert fetch(str(tmp_path)) == tmp_path
