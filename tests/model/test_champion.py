"""A run that begins with the champion, an ensemble as it is shipped, learns on and forgets little."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from model import train
from model.learning.arguments import parse
from model.learning.loss import location_shift, summed_distance
from model.proteins import labelled as data
from model.serving.artifact import ArtifactError, pack, read_artifact, write_description
from model.serving.classifier import POOLING
from model.serving.inference import Request, model_fn, predict_fn
from tests.model.runs import distance, held, plain, same, start, start_several, weights, write_channels
from tests.model.tiny import build_tiny_ensemble, write_labelled
from tests.waiting import LIMIT_SECONDS, Gate, until

LEARNS = ("head.answer.", "others.0.head.answer.", "compositions.0.", "compositions.1.")
LONG = ("--epochs", "8", "--learning-rate", "0.003")
STILL = ("--mutation-rate", "0", "--dropout", "0", "--precision", "fp32", "--average", "0.5", "--epochs", "2")


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SageMaker's channels, the champion's packed as a training job leaves it."""
    base = write_channels(tmp_path_factory.mktemp("ml"))
    champion = build_tiny_ensemble(base / "champion")
    (base / "input" / "data" / "champion").mkdir()
    pack(champion, base / "input" / "data" / "champion" / "model.tar.gz")
    return base


@pytest.fixture
def champion(channels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SM_CHANNEL_CHAMPION", str(channels / "input" / "data" / "champion"))
    return channels / "champion"


def moved(before: Path, after: Path) -> set[str]:
    one, other = weights(before), weights(after)
    assert one.keys() == other.keys()
    return {name for name in one if not np.array_equal(one[name], other[name])}


def test_the_champion_learns_on_and_says_where_it_comes_from(
    channels: Path, champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "next"
    settings = ("--start", "champion", "--epochs", "16", "--learning-rate", "0.01")
    train.main(plain(channels, out, *settings, "--model-version", "next-1"))
    assert "Activations after the head's pooling are computed once" in capsys.readouterr().out
    distance = moved(champion, out)
    assert all(name.startswith(LEARNS) for name in distance)
    assert all(any(name.startswith(part) for name in distance) for part in LEARNS)
    artifact = read_artifact(out)
    assert artifact.version == "next-1" and artifact.limits["max_residues"] == 64
    assert artifact.training["start"]["version"] == "tiny-ensemble"
    assert artifact.training["frozen_layers"] == POOLING and artifact.training["distillation"] == 0.5
    assert artifact.metrics["q10"] > 0.3  # the champion knows one in ten
    answer = predict_fn(Request(["C" * 40]), model_fn(str(out)))["predictions"][0]
    assert sum(answer["probabilities"]) == pytest.approx(1)


def test_generations_name_each_other_and_keep_what_is_usual(
    channels: Path, champion: Path, tmp_path: Path
) -> None:
    before = build_tiny_ensemble(tmp_path / "a", "a")
    artifact = read_artifact(before)
    table = {"locations": {name: {"proteins": 1 + index} for index, name in enumerate(data.LOCATIONS)}}
    look = {"date": "2026-11-24T00:00:00Z", "version": "a", "split": "test", "proteins": 9}
    artifact = artifact.with_metrics({**artifact.metrics, "looks": [look | {"q10": 0.5, "macro_f1": 0.4}]})
    object.__setattr__(artifact, "data", {**artifact.data, "training_table": table})
    object.__setattr__(artifact, "training", {**artifact.training, "members": [{"seed": 1}, {"seed": 2}]})
    write_description(artifact)
    for name, earlier in (("b", "a"), ("c", "b"), ("d", "c")):
        settings = ("--start", tmp_path / earlier, "--epochs", "1", "--model-version", name)
        train.main(plain(channels, tmp_path / name, *settings))
    last = read_artifact(tmp_path / "d")
    origin = last.training["start"]
    assert (origin["version"], origin["earlier"]) == ("c", ["b", "a"])
    assert "start" not in origin["training"] and "history" not in origin["training"]
    assert last.training["members"] == [{"seed": 1}, {"seed": 2}], "each is still one of the networks"
    shares = [round((1 + index) / 55, 6) for index in range(10)]
    assert last.training["usual_shares"] == shares, "not those of the proteins it learned from since"
    assert [each["version"] for each in last.metrics["looks"]] == ["a"]


@pytest.mark.parametrize("frozen", ["all", POOLING])
def test_an_ensemble_that_reads_activations_learns_what_one_that_computes_them_does(
    channels: Path, champion: Path, tmp_path: Path, frozen: str
) -> None:
    disk = tmp_path / "disk"
    for name in ("computed", "cached"):
        settings = ("--frozen-layers", frozen, "--activations", name, "--activations-dir", disk)
        train.main(plain(channels, tmp_path / name, "--start", "champion", *STILL, *settings))
    computed, cached = weights(tmp_path / "computed"), weights(tmp_path / "cached")
    steps_made = distance(computed, weights(champion))
    assert steps_made > 0.05
    # Values stored in bf16 are rounded to 8 bits; the two runs drift apart by that, not by more.
    assert distance(computed, cached) < 0.1 * steps_made
    assert not list(disk.iterdir()), "the file goes with the process"


@pytest.mark.slow
def test_two_processes_learn_from_an_ensemble_what_one_does(channels: Path, tmp_path: Path) -> None:
    champion = build_tiny_ensemble(tmp_path / "champion", dropout=0.0)  # which each process draws for itself
    settings = ("--start", champion, *STILL)
    running = start_several(plain(channels, tmp_path / "two", *settings), 2)
    train.main(plain(channels, tmp_path / "one", *settings))
    outputs = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert distance(one, two) < 0.02 * distance(one, weights(champion))


@pytest.fixture(scope="module")
def undisturbed(channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a run from the champion that nobody disturbs, and that keeps no checkpoints."""
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = (*LONG, "--start", channels / "champion", "--output-data-dir", folder / "data")
    train.main(plain(channels, folder, *settings))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "minutes", "status"), [(signal.SIGKILL, "0", -9), (signal.SIGTERM, "60", 143)]
)
def test_a_run_from_the_champion_that_is_killed_goes_on_and_ends_the_same(
    channels: Path,
    champion: Path,
    undisturbed: Path,
    tmp_path: Path,
    sent: signal.Signals,
    minutes: str,
    status: int,
) -> None:
    checkpoints, gate = tmp_path / "checkpoints", Gate(tmp_path / "gate")
    arguments = [
        *plain(channels, tmp_path / "out", *LONG, "--start", "champion"),
        *("--checkpoint-dir", str(checkpoints), "--checkpoint-minutes", minutes),
    ]
    champions = {"SM_CHANNEL_CHAMPION": str(channels / "input" / "data" / "champion")}
    running = start(arguments, champions, held(gate, 10))
    until(lambda: gate.reached or running.poll() is not None)
    assert gate.reached, running.communicate()[0]
    running.send_signal(sent)
    gate.open()
    output = running.communicate(timeout=LIMIT_SECONDS)[0]
    assert running.returncode == status, output
    train.main([*arguments, "--output-data-dir", str(tmp_path / "data")])
    assert same(weights(tmp_path / "out"), weights(undisturbed))
    before, after = (
        json.loads((folder / "data" / "history.json").read_text()) for folder in (undisturbed, tmp_path)
    )
    for epoch in (*before, *after):
        del epoch["seconds"]
    assert before == after
    assert read_artifact(tmp_path / "out").metrics == read_artifact(undisturbed).metrics


def test_labels_of_two_locations_leave_the_others_alone(
    channels: Path, champion: Path, tmp_path: Path
) -> None:
    labelled = write_labelled(tmp_path / "all.fasta", 300, seed=5).read_text().split(">")[1:]
    narrow = tmp_path / "narrow.fasta"
    narrow.write_text(
        "".join(f">{each}" for each in labelled if any(f" {name}-" in each for name in data.LOCATIONS[:2]))
    )
    chosen = write_labelled(tmp_path / "chosen.fasta", 20, seed=6)
    teacher = tmp_path / "teacher"  # knows all ten
    fast = ("--learning-rate", "0.01", "--epochs", "6")
    train.main(plain(channels, teacher, "--start", "champion", *fast, "--distillation", "0"))
    likelihoods = {}
    for share in ("0", "0.5"):
        out = tmp_path / share
        settings = ("--training", narrow, "--validation", chosen, "--start", teacher, *fast)
        train.main(plain(channels, out, *settings, "--distillation", share))
        answers = predict_fn(
            [row.split("\n", 1)[1].replace("\n", "") for row in labelled], model_fn(str(out))
        )
        places = np.array([each["probabilities"] for each in answers["predictions"]])
        likelihoods[share] = places[:, 2:].sum(axis=1).mean()  # of the locations of a fifth of the proteins
    assert likelihoods["0.5"] > likelihoods["0"], "holding on to its answers keeps the other locations likely"
    assert likelihoods["0.5"] > 0.5


def test_a_shift_says_how_the_proteins_were_selected() -> None:
    def proteins(counts: list[int]) -> list[data.LabelledProtein]:
        return [
            data.LabelledProtein(f"P{place}-{index}", "MKV", place, -1.0, False)
            for place, count in enumerate(counts)
            for index in range(count)
        ]

    usual = [0.1] * 10
    assert location_shift(proteins([30] * 10), usual) == pytest.approx(0, abs=1e-6)
    narrow = location_shift(proteins([150, 150] + [0] * 8), usual)
    assert np.isfinite(narrow).all() and narrow[0] == narrow[1] > 1 and (narrow[2:] < -1).all()
    # Frequencies after the shift are those of the proteins, and of PRIOR_PROTEINS usual ones.
    shares = np.exp(narrow) * usual
    assert shares / shares.sum() == pytest.approx([155 / 350] * 2 + [5 / 350] * 8)
    assert np.isfinite(location_shift(proteins([1] * 10), [1.0] + [0.0] * 9)).all()


def test_the_distance_to_a_teacher_is_zero_where_both_answer_alike() -> None:
    locations, bound = torch.randn(4, 10), torch.randn(4)
    assert summed_distance(locations + 3, bound, locations, bound).item() == pytest.approx(0, abs=1e-5)
    other = torch.randn(4, 10)
    expected = (other.softmax(1) * (other.log_softmax(1) - locations.log_softmax(1))).sum()
    assert torch.isclose(summed_distance(locations, bound, other, bound), expected, atol=1e-5)
    assert summed_distance(locations, bound + 1, locations, bound).item() > 0


def test_wrong_starts_are_named(
    channels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SM_CHANNEL_CHAMPION", raising=False)
    arguments = plain(channels, tmp_path / "out")
    for more, message in (
        (["--start", "champion"], "expected SM_CHANNEL_CHAMPION"),
        (["--model-version", "a_b"], "expected a --model-version of at most 40 letters"),
        (["--distillation", "0.5"], "expected --start with --distillation"),
        (["--frozen-layers", "most"], "expected --frozen-layers with a number, all or pooling, found most"),
    ):
        with pytest.raises(SystemExit):
            parse([*arguments, *more])
        assert message in capsys.readouterr().err
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ArtifactError, match=r"expected a model\.tar\.gz"):
        train.main([*arguments, "--start", str(tmp_path)])
