"""The settings of a run: the article's are taken or refused by name, and defaults follow the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.learning.arguments import MOVING_ENCODER, parse
from model.learning.settings import NEW_RATE, PRETRAINED_RATE, Settings

# The arguments of AWS's article to its estimator, as SageMaker hands them over.
ARTICLE = ["--epochs", "3", "--num_labels", "10", "--batch-size", "4", "--test-batch-size", "4"]
ARTICLE += ["--log-interval", "100", "--frozen_layers", "15"]


@pytest.fixture(autouse=True)
def _in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VALIDATION", "TESTING", "CHAMPION", "LABELS"):
        monkeypatch.delenv(f"SM_CHANNEL_{name}", raising=False)
    monkeypatch.delenv("TRAINING_JOB_NAME", raising=False)
    monkeypatch.setenv("SM_CHANNEL_TRAINING", "/data/training")


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The line with which wrong usage ends."""
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_the_articles_hyperparameters_are_taken() -> None:
    settings = parse(ARTICLE)
    assert (settings.epochs, settings.batch_size, settings.test_batch_size) == (3, 4, 4)
    assert (settings.log_interval, settings.frozen_layers, settings.num_labels) == (100, 15, 10)


def test_the_articles_channels_are_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SM_CHANNEL_TESTING", "/data/testing")
    assert parse([]).validation == Path("/data/testing")
    assert "testing is read as validation" in capsys.readouterr().out
    monkeypatch.setenv("SM_CHANNEL_VALIDATION", "/data/validation")
    assert "expected one of the channels validation and testing, found both" in refusal(capsys)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--lr", "5e-5"], "expected --learning-rate instead of --lr"),
        (["--max_len=512"], "expected --max-residues instead of --max-len"),
        (["--momentum", "0.5"], "the optimizer is AdamW instead of --momentum"),
        (["--epochs", "0"], "expected --epochs of at least 1, found 0"),
        (["--batch-size", "-1"], "expected --batch-size of at least 1, found -1"),
        (["--log-interval", "0"], "expected --log-interval of at least 1, found 0"),
        (["--test-batch-size", "-4"], "expected --test-batch-size of at least 0, found -4"),
        (["--learning-rate", "-1"], "expected --learning-rate of at least 0, found -1.0"),
        (["--learning-rate", "nan"], "expected --learning-rate of at least 0, found nan"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_use(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named in refusal(capsys, *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"epochs": 36, "patience": 0, "encoder_learning_rate": None}),
        (["--encoder", "e"], MOVING_ENCODER),
        (["--encoder", "e", "--frozen-layers", "15"], MOVING_ENCODER),
        (
            ["--encoder", "e", "--frozen-layers", "all"],
            {"epochs": 36, "patience": 8, "encoder_learning_rate": None},
        ),
        (
            ["--encoder", "e", "--lora-rank", "4"],
            {"epochs": 10, "patience": 3, "encoder_learning_rate": None},
        ),
        (["--encoder", "e", "--epochs", "5"], {"epochs": 5, "encoder_learning_rate": PRETRAINED_RATE}),
    ],
)
def test_defaults_follow_the_encoder(words: list[str], expected: dict[str, Any]) -> None:
    settings = parse(words)
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.learning_rate == NEW_RATE


def test_a_version_is_named_by_its_job_where_it_has_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse([]).model_version.startswith("trained-20")
    monkeypatch.setenv("TRAINING_JOB_NAME", "protbert-1")
    assert parse([]).model_version == "protbert-1"
    monkeypatch.setenv("TRAINING_JOB_NAME", "Too-Long-" + "a" * 50)
    assert parse([]).model_version.startswith("trained-20")


def test_how_a_run_is_logged_is_no_part_of_what_it_is() -> None:
    one, other = (Settings(Path("t"), log_interval=each, test_batch_size=each) for each in (5, 50))
    assert one.identity([], []) == other.identity([], []) and one.recipe() == other.recipe()
