"""An ensemble answers with the mean of its members' probabilities, and is one artifact like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model import ensemble, train
from model.proteins import labelled as data
from model.proteins import seen
from model.serving.artifact import read_artifact
from model.serving.inference import Request, model_fn, predict_fn
from tests.model.tiny import build_tiny_artifact, random_sequences, write_labelled


def probabilities(folder: Path, sequences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Uncalibrated probabilities (sequences, locations) and membrane probabilities (sequences)."""
    predictions = predict_fn(Request(sequences), model_fn(str(folder)))["predictions"]
    return np.array([row["probabilities"] for row in predictions]), np.array(
        [row["membrane"] for row in predictions]
    )


def test_its_probabilities_are_the_mean_of_its_members(tmp_path: Path) -> None:
    members = [build_tiny_artifact(tmp_path / name, name, seed=seed) for seed, name in enumerate("abc")]
    united = ensemble.unite([read_artifact(folder) for folder in members])
    # Under the first member's description, whose temperatures are 1.
    together = build_tiny_artifact(tmp_path / "together")
    united.save(together)
    sequences = random_sequences([5, 60, 300])
    expected = [probabilities(folder, sequences) for folder in members]
    means = probabilities(together, sequences)
    assert means[0] == pytest.approx(np.mean([each[0] for each in expected], axis=0), abs=1e-6)
    assert means[1] == pytest.approx(np.mean([each[1] for each in expected], axis=0), abs=1e-6)
    assert np.abs(expected[0][0] - expected[1][0]).max() > 0.01  # they do differ


def test_members_of_another_design_are_refused(tmp_path: Path) -> None:
    one = build_tiny_artifact(tmp_path / "one", "one")
    other = build_tiny_artifact(tmp_path / "other", "other", max_residues=300)
    with pytest.raises(ValueError, match="one design, found one and other"):
        ensemble.unite([read_artifact(one), read_artifact(other)])


def test_trained_members_become_one_artifact_that_is_served_and_learns_on(tmp_path: Path) -> None:
    labelled = write_labelled(tmp_path / "labelled.fasta", 60)
    small = ["--training", str(labelled), "--hidden", "32", "--layers", "0", "--epochs", "1"]
    members = []
    for seed in "12":
        members.append(str(tmp_path / f"member-{seed}"))
        settings = ["--seed", seed, "--dropout", f"0.{seed}", "--model-version", f"m{seed}"]
        train.main([*small, *settings, "--model-dir", members[-1]])
    out = tmp_path / "ensemble"
    ensemble.main([str(out), *members, "--labelled", str(labelled), "--model-version", "both"])
    artifact = read_artifact(out)
    assert artifact.version == "both" and len(artifact.training["members"]) == 2
    single = read_artifact(Path(members[0])).training["parameters"]
    model = model_fn(str(out))
    assert len(model.classifier.members()) == 2
    beside = sum(value.numel() for value in model.classifier.compositions.parameters())
    assert len(model.classifier.compositions) == len(ensemble.COMPOSITIONS)
    assert artifact.training["parameters"] == 2 * single + beside
    answer = predict_fn(Request(["MKVLAAGIVG"], attention=True), model)["predictions"][0]
    assert sum(answer["probabilities"]) == pytest.approx(1)
    assert len(answer["attention"]) == 10

    again = tmp_path / "again"
    train.main([*small, "--start", str(out), "--frozen-layers", "all", "--model-dir", str(again)])
    before, after = (ensemble.load_file(folder / ensemble.WEIGHTS) for folder in (out, again))
    moved = {name for name in before if not torch.equal(before[name].float(), after[name].float())}
    learns = ("head.", "others.0.head.", "compositions.")
    assert moved and all(name.startswith(learns) for name in moved)
    assert all(any(name.startswith(part) for name in moved) for part in learns)


def test_members_that_learned_from_other_proteins_are_refused(tmp_path: Path) -> None:
    labelled = write_labelled(tmp_path / "labelled.fasta", 30)
    member = str(build_tiny_artifact(tmp_path / "member"))
    with pytest.raises(SystemExit, match="expected other training proteins"):
        ensemble.main([str(tmp_path / "out"), member, "--labelled", str(labelled), "--model-version", "x"])


@pytest.mark.slow
def test_final_members_answer_under_the_figures_of_those_that_were_judged(tmp_path: Path) -> None:
    labelled = write_labelled(tmp_path / "labelled.fasta", 60)
    small = ["--training", str(labelled), "--hidden", "32", "--layers", "0", "--epochs", "1"]
    folders = {}
    for name, more in {"judged": [], "final": ["--everything"]}.items():
        folders[name] = str(tmp_path / name)
        train.main([*small, *more, "--model-dir", folders[name]])
    common = ["--labelled", str(labelled), "--model-version", "both"]
    ensemble.main([str(tmp_path / "one"), folders["judged"], *common])
    ensemble.main([str(tmp_path / "two"), folders["judged"], "--final", folders["final"], *common])
    one, two = (read_artifact(tmp_path / name) for name in ("one", "two"))
    assert one.metrics == two.metrics and one.calibration == two.calibration
    assert two.data["proteins"] == one.data["proteins"] + one.data["validation"]
    assert two.relatives["proteins"] == two.data["proteins"]
    everything = data.read_labelled(labelled)
    assert not seen.unseen(two.folder, everything) and seen.unseen(one.folder, everything)
    answer = predict_fn(Request([everything[0].sequence]), model_fn(str(two.folder)))["predictions"][0]
    assert answer["relative"] == "near" and answer["locations_90"]
