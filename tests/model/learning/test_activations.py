"""Frozen layers are computed once, and the run learns the same as without that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from model import train
from model.learning import activations
from model.learning.activations import DiskSpaceError
from model.serving.artifact import read_artifact
from model.serving.inference import model_fn, predict_fn
from tests.model.runs import distance, plain, same, start_several, weights, write_channels, write_encoder
from tests.waiting import LIMIT_SECONDS

SETTINGS = (
    *("--epochs", "2", "--dropout", "0", "--learning-rate", "0.001", "--encoder-learning-rate", "0.001"),
    *("--precision", "fp32", "--average", "0.5"),
)


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_channels(tmp_path_factory.mktemp("ml"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers, of which none drops anything out, so that a run's draws are the same in two ways of reading."""
    return write_encoder(tmp_path_factory.mktemp("encoder"), dropout=0.0)


def run(channels: Path, encoder: Path, out: Path, *settings: str) -> dict[str, np.ndarray]:
    train.main(plain(channels, out, "--encoder", encoder, *SETTINGS, *settings))
    return weights(out)


@pytest.mark.parametrize("frozen", ["2", "all"])
def test_a_run_that_reads_activations_learns_what_one_that_computes_them_does(
    channels: Path, encoder: Path, tmp_path: Path, frozen: str
) -> None:
    still = ("--frozen-layers", frozen, "--mutation-rate", "0", "--activations-dir", str(tmp_path / "disk"))
    computed = run(channels, encoder, tmp_path / "computed", *still, "--activations", "computed")
    cached = run(channels, encoder, tmp_path / "cached", *still)
    assert read_artifact(tmp_path / "cached").training["activations"] == "cached"
    before = {f"encoder.{name}": value for name, value in load_file(encoder / "model.safetensors").items()}
    layers = [name for name in before if name in cached]
    changed = {name.split(".")[3] for name in layers if not np.array_equal(cached[name], before[name])}
    assert changed == ({"2"} if frozen == "2" else set())
    # Values stored in bf16 are rounded to 8 bits; the two runs drift apart by that, not by more.
    start = {name: value for name, value in computed.items() if name in before}
    moved = distance({name: before[name] for name in start}, computed) if frozen == "2" else 1.0
    apart = distance({name: cached[name] for name in computed}, computed)
    assert moved > 0.1 and apart < 0.15 * max(moved, 1.0)
    assert not list((tmp_path / "disk").iterdir()), "the file goes with the process"
    answer = predict_fn(["MKV"], model_fn(str(tmp_path / "cached")))["predictions"][0]
    assert "probabilities" in answer


@pytest.mark.slow
def test_two_processes_fill_and_read_one_file(channels: Path, encoder: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS, "--frozen-layers", "all", "--activations-dir", str(tmp_path / "disk"))
    running = start_several(plain(channels, tmp_path / "two", "--encoder", encoder, *settings), 2)
    one = run(channels, encoder, tmp_path / "one", *settings)
    outputs = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    two = weights(tmp_path / "two")
    heads = [name for name in one if name.startswith("head.")]
    assert distance({name: one[name] for name in heads}, two) < 0.02
    assert not list((tmp_path / "disk").iterdir())


def test_a_disk_that_is_too_small_is_reported_before_anything_is_computed(
    channels: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(path: Any) -> Any:
        return shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", small)
    monkeypatch.setattr(activations, "_fill", None)
    with pytest.raises(DiskSpaceError, match=r"expected 0\.27 GB free .* found 0\.00 GB; give another"):
        run(channels, encoder, tmp_path / "out", "--frozen-layers", "all")
    assert not (tmp_path / "out").exists()


def test_mutations_and_cached_activations_exclude_each_other(
    channels: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = plain(
        channels, tmp_path / "out", "--encoder", encoder, "--frozen-layers", "all", "--epochs", 1
    )
    with pytest.raises(SystemExit):
        train.main([*arguments, "--activations", "cached", "--mutation-rate", "0.1"])
    assert "expected no --mutation-rate with cached activations" in capsys.readouterr().err
    train.main([*arguments, "--mutation-rate", "0.1"])
    settings = read_artifact(tmp_path / "out").training
    assert (settings["activations"], settings["mutation_rate"]) == ("computed", 0.1)
    train.main(arguments)
    assert "computed once; so no residue is redrawn" in capsys.readouterr().out
    settings = read_artifact(tmp_path / "out").training
    assert (settings["activations"], settings["mutation_rate"]) == ("cached", 0.0)
    with pytest.raises(ValueError, match="found nothing frozen"):
        train.main(plain(channels, tmp_path / "out", "--activations", "cached"))


def test_recomputing_activations_in_the_backward_pass_changes_nothing(channels: Path, tmp_path: Path) -> None:
    dropping = write_encoder(tmp_path / "encoder", dropout=0.1)
    settings = ("--frozen-layers", "1", "--epochs", "1")
    plainly = run(channels, dropping, tmp_path / "plain", *settings)
    saving = run(channels, dropping, tmp_path / "saving", *settings, "--gradient-checkpointing", "true")
    assert same(plainly, saving)
