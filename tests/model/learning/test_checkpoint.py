"""A run that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from model import train
from model.learning.averages import Average
from model.learning.checkpoint import CheckpointError, Checkpoints, collect, restore
from model.serving.artifact import read_artifact
from tests.model.runs import held, plain, same, start, weights, write_channels
from tests.waiting import LIMIT_SECONDS, Gate, until

# Sums are rounded alike in this process and in those it starts.
EPOCHS = ("--epochs", "12")


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_channels(tmp_path_factory.mktemp("ml"))


@pytest.fixture(scope="module")
def undisturbed(channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a run that nobody disturbs, and that keeps no checkpoints."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train.main([*plain(channels, folder, *EPOCHS), "--output-data-dir", str(folder / "data")])
    return folder


@pytest.mark.parametrize(
    ("sent", "minutes", "status"),
    [(signal.SIGKILL, "0", -9), pytest.param(signal.SIGTERM, "60", 143, marks=pytest.mark.slow)],
)
def test_a_run_that_is_killed_midway_goes_on_and_ends_with_the_same_weights(
    channels: Path, undisturbed: Path, tmp_path: Path, sent: signal.Signals, minutes: str, status: int
) -> None:
    checkpoints, gate = tmp_path / "checkpoints", Gate(tmp_path / "gate")
    arguments = [
        *plain(channels, tmp_path / "out", *EPOCHS),
        *("--checkpoint-dir", str(checkpoints), "--checkpoint-minutes", minutes),
    ]
    running = start(arguments, program=held(gate, 10))
    until(lambda: gate.reached or running.poll() is not None)
    assert gate.reached, running.communicate()[0]
    running.send_signal(sent)
    gate.open()
    output = running.communicate(timeout=LIMIT_SECONDS)[0]
    assert running.returncode == status, output
    assert "Traceback" not in output
    reached = steps(checkpoints)
    # As a new instance has it: SageMaker keeps the checkpoint folder alone of the first try.
    for file in (tmp_path / "out").glob("*"):
        file.rename(tmp_path / file.name)
    again = [*arguments, "--output-data-dir", str(tmp_path / "data")]
    train.main(again)
    assert same(weights(tmp_path / "out"), weights(undisturbed))
    before, after = (
        json.loads((folder / "data" / "history.json").read_text()) for folder in (undisturbed, tmp_path)
    )
    for epoch in (*before, *after):
        del epoch["seconds"]
    assert before == after, f"the same figures in every epoch, gone on after step {reached}"
    assert read_artifact(tmp_path / "out").metrics == read_artifact(undisturbed).metrics
    # Once more, with nothing left to do: the artifact is there again.
    (tmp_path / "out" / "model.safetensors").unlink()
    train.main(again)
    assert same(weights(tmp_path / "out"), weights(undisturbed))


def steps(folder: Path) -> int:
    """After how many optimizer steps the newest checkpoint was written."""
    return max(
        (int(path.stem.partition("-")[2]) for path in folder.glob("checkpoint-*.safetensors")), default=0
    )


TENSORS = {"weight.a": torch.arange(3.0)}


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1, {"seed": 1})
    checkpoints.write_best(1, {"b": torch.ones(1)})
    for step in (1, 2, 3):
        checkpoints.write(step, 1 if step < 3 else 0, TENSORS, {"done": step})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "best-0001.safetensors",
        "checkpoint-0000002.safetensors",
        "checkpoint-0000003.safetensors",
    ]
    newest = tmp_path / "checkpoint-0000003.safetensors"
    newest.write_bytes(newest.read_bytes()[:-4])
    # A file that SageMaker's copying leaves is no checkpoint of ours.
    (tmp_path / "checkpoint-0000003.safetensors.sagemaker-uploading").write_text("")
    checkpoint = checkpoints.read()
    assert checkpoint is not None and checkpoint[2] == {"done": 2} and checkpoint[1]["b"].tolist() == [1.0]
    (tmp_path / "best-0001.safetensors").unlink()
    assert checkpoints.read() is None, "a checkpoint without its best weights is not whole"


def test_checkpoints_of_another_run_are_refused(channels: Path, tmp_path: Path) -> None:
    settings = ("--epochs", "1", "--checkpoint-dir", tmp_path / "kept")
    train.main(plain(channels, tmp_path / "out", *settings))
    with pytest.raises(CheckpointError, match=r"seed '1' \(now '2'\)"):
        train.main(plain(channels, tmp_path / "out", *settings, "--seed", "2"))


def test_without_a_folder_nothing_is_kept() -> None:
    checkpoints = Checkpoints(None, 0, {})
    checkpoints.write(1, 0, TENSORS, {})
    assert checkpoints.read() is None and not checkpoints.due


def test_a_network_with_its_optimizer_is_restored_to_the_bit() -> None:
    def steps(
        layer: torch.nn.Linear, optimizer: torch.optim.Optimizer, average: Average, seeds: range
    ) -> None:
        for seed in seeds:
            torch.manual_seed(seed)
            layer(torch.randn(4, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            average.follow(0.9)

    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer, Average]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return (
            layer,
            torch.optim.AdamW(layer.parameters(), fused=True),
            Average(dict(layer.named_parameters())),
        )

    whole, first, second = fresh(), fresh(), fresh()
    steps(*whole, range(6))
    steps(*first, range(3))
    state = {
        name: value.clone() for name, value in collect(named(first[0]), first[2].values, first[1]).items()
    }
    restore(state, named(second[0]), second[2].values, second[1], 3)
    steps(*second, range(3, 6))
    for name, value in named(whole[0]).items():
        assert torch.equal(value, named(second[0])[name])
        assert torch.equal(whole[2].values[name], second[2].values[name])


def named(layer: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return dict(layer.named_parameters())


def test_an_average_is_worn_and_taken_off_again() -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    average = Average(named(layer))
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.follow(0.75)
    with average.worn():
        assert np.allclose(layer.weight.detach(), before + 0.25)
    assert torch.equal(layer.weight.detach(), before + 1.0)
