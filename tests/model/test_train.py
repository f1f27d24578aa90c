"""Training runs as SageMaker runs it, learns, repeats itself, and does the same with two processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from model import train
from model.job import METRICS
from model.learning import encoders
from model.learning.arguments import parse
from model.learning.distribution import Processes
from model.learning.encoders import fetch
from model.learning.loss import MEMBRANE_WEIGHT, summed_loss
from model.learning.preparation import build
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import read_artifact
from model.serving.inference import model_fn, predict_fn
from tests.model.runs import (
    ROOT,
    SETTINGS,
    distance,
    plain,
    start_several,
    weights,
    write_channels,
    write_encoder,
)
from tests.waiting import LIMIT_SECONDS

ALONE = Processes(0, 1, torch.device("cpu"))

PATTERNS = [metric["Regex"] for metric in METRICS]


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_channels(tmp_path_factory.mktemp("ml"))


def variables(base: Path, out: Path) -> dict[str, str]:
    """The variables that SageMaker's training toolkit sets for a script."""
    return {
        "SM_MODEL_DIR": str(out / "model"),
        "SM_OUTPUT_DATA_DIR": str(out / "output" / "data"),
        "SM_CHANNEL_TRAINING": str(base / "input" / "data" / "training"),
        "SM_CHANNEL_VALIDATION": str(base / "input" / "data" / "validation"),
        "SM_NUM_GPUS": "0",
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
    }


def test_a_job_as_sagemaker_runs_it_leaves_an_artifact_that_has_learned(
    channels: Path, tmp_path: Path
) -> None:
    arguments = [*SETTINGS, "--epochs", "4", "--learning_rate", "0.003", "--model-version", "job-1"]
    run = subprocess.run(
        [sys.executable, "model/train.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"} | variables(channels, tmp_path),
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
    assert metrics["q10"] > 0.5  # a guess is right once in ten
    assert metrics["q10"] == max(float(q10) for q10 in re.findall(PATTERNS[1], run.stdout))
    assert (
        artifact.calibration["method"] == "temperature" and metrics["intervals"]["q10"][0] <= metrics["q10"]
    )
    history = artifact.training["history"]
    assert [each["epoch"] for each in history] == [1, 2, 3, 4], "also those after the best"
    assert [f"{each['validation_loss']:.4f}" for each in history] == re.findall(PATTERNS[2], run.stdout)
    pickles = {".bin", ".pt", ".pth", ".pkl", ".pickle"}
    assert not [path for path in (tmp_path / "model").rglob("*") if path.suffix in pickles]
    answer = predict_fn(["C" * 40], model_fn(str(tmp_path / "model")))["predictions"][0]
    assert np.argmax(answer["probabilities"]) == 1


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


def test_two_processes_learn_what_one_does(channels: Path, tmp_path: Path) -> None:
    # Dropout off, since each process draws its own; fp32, since bf16 rounds by the size of a pack.
    settings = ("--epochs", "2", "--dropout", "0", "--precision", "fp32", "--average", "0.5")
    running = start_several(plain(channels, tmp_path / "two", *settings), 2)
    train.main(plain(channels, tmp_path / "one", *settings))
    outputs = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert "Validation Accuracy" in outputs[0] and "Validation Accuracy" not in outputs[1]
    torch.manual_seed(1)
    start = build(parse(plain(channels, tmp_path, *settings)), ALONE, LOCATIONS)[0].state_dict()
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    # AdamW divides by the gradient's size and so lifts float noise where gradients are next to nothing: so
    # the distance of the two ends is compared with the distance from the start.
    moved, apart = distance(one, {name: start[name].numpy() for name in one}), distance(one, two)
    assert moved > 0.5
    assert apart < 0.01 * moved
    losses = [
        [epoch["training_loss"] for epoch in read_artifact(tmp_path / name).training["history"]]
        for name in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.01), "a protein's mean over all processes"
    figures = [read_artifact(tmp_path / name).metrics for name in ("one", "two")]
    assert figures[0]["q10"] == figures[1]["q10"]
    assert figures[0]["log_loss"] == pytest.approx(figures[1]["log_loss"], abs=2e-3)


def test_a_run_ends_when_it_no_longer_gets_better(
    channels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--epochs", "9", "--learning-rate", "0", "--patience", "2")
    train.main(plain(channels, tmp_path / "out", *settings))
    epochs = re.findall(r"Epoch (\d+)/9", capsys.readouterr().out)
    assert epochs == ["1", "2", "3"], "the first is the best, and two more are waited for"
    assert read_artifact(tmp_path / "out").training["best_epoch"] == 1


def test_a_run_that_explodes_says_so(channels: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower --learning-rate"):
        train.main(plain(channels, tmp_path / "out", "--learning-rate", "1e30", "--epochs", "2"))


def test_a_pretrained_encoder_trains_with_frozen_layers_under_a_linear_head(
    channels: Path, tmp_path: Path
) -> None:
    encoder = tmp_path / "encoder"
    write_encoder(encoder, layers=2)
    settings = ["--encoder", str(encoder), "--head", "linear", "--frozen_layers", "1", "--epochs", "1"]
    train.main(plain(channels, tmp_path / "out", *settings))
    artifact = read_artifact(tmp_path / "out")
    assert artifact.head["kind"] == "linear"
    assert artifact.max_residues == 48  # the positions of this encoder, fewer than asked for
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
        parse([])
    assert "SM_CHANNEL_TRAINING" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--training", "x", "--epoch", "3"])


def test_the_learning_rate_rises_in_steps_and_falls_by_a_cosine() -> None:
    shares = [train.pace(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[55] == pytest.approx(0.51, abs=0.01) and shares[99] < 0.03


def test_the_loss_leaves_unknown_membranes_out_and_weighs_locations() -> None:
    locations, truth = torch.randn(3, 10), torch.tensor([0, 1, 2])
    bound, membranes = torch.tensor([5.0, 5.0, 5.0]), torch.tensor([-1.0, -1.0, -1.0])
    weights = torch.zeros(10)
    assert summed_loss(locations, bound, truth, membranes, weights, 0.0).item() == 0
    weights[1] = 2.0
    expected = 2 * torch.nn.functional.cross_entropy(locations[1:2], truth[1:2])
    assert torch.isclose(summed_loss(locations, bound, truth, membranes, weights, 0.0), expected)
    membranes[0] = 0.0
    wrong = summed_loss(locations, bound, truth, membranes, weights, 0.0) - expected
    assert wrong.item() == pytest.approx(5.0067 * MEMBRANE_WEIGHT, rel=1e-3)


def test_an_encoder_is_named_by_a_folder_that_holds_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        fetch(str(tmp_path), ALONE)
    (tmp_path / "config.json").write_text("{}")
    assert fetch(str(tmp_path), ALONE) == tmp_path


def test_of_the_processes_of_a_machine_only_the_first_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded = []
    monkeypatch.setattr(encoders, "_download", lambda place, folder: downloaded.append(folder))
    folders = [
        fetch("s3://bucket/encoder", replace(ALONE, local_rank=rank, local_world=8)) for rank in range(8)
    ]
    assert set(folders) == set(downloaded) and len(downloaded) == 1


def test_one_file_for_training_and_validation_is_refused_before_the_first_step(
    channels: Path, tmp_path: Path
) -> None:
    labelled = str(channels / "input" / "data" / "training" / "deeploc.fasta")
    with pytest.raises(
        ValueError, match="expected proteins to learn from and others to choose on, found 0 and"
    ):
        train.main(plain(channels, tmp_path / "out", "--training", labelled, "--validation", labelled))
    assert not (tmp_path / "out").exists()
