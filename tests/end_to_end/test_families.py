"""A tiny encoder of each family: trained, judged, hosted on the embedded cloud beside the others, and asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model import train
from model.judging import judgement
from model.proteins.labelled import read_channel
from model.serving.artifact import read_artifact
from model.serving.inference import model_fn, predict_fn
from tests.conftest import Embedded
from tests.model.encoders import WRITERS, write_family
from tests.model.runs import write_channels
from tests.model.test_families import arguments
from tests.model.tiny import random_sequences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cloud(start_embedded: Callable[..., Embedded]) -> Embedded:
    return start_embedded()


@pytest.mark.parametrize("family", WRITERS)
def test_each_family_is_trained_judged_hosted_and_asked(family: str, cloud: Embedded, tmp_path: Path) -> None:
    channels = write_channels(tmp_path / "ml")
    encoder, out = write_family(family, tmp_path / family), tmp_path / "out"
    train.main(arguments(channels, out, encoder, "--model-version", f"tiny-{family}"))
    judged = judgement.evaluate(out, read_channel(channels / "input" / "data" / "training")[:10])
    assert judged["proteins"] == 10 and read_artifact(out).metrics["proteins"] == 20
    added = cloud.protloc("models", "add", out, "--yes")
    assert added.exit_code == 0, added.output
    sequences = random_sequences([12, 40, 33])
    (tmp_path / "asked.fasta").write_text("".join(f">P{at}\n{each}\n" for at, each in enumerate(sequences)))
    rows = cloud.rows(cloud.answer("predict", tmp_path / "asked.fasta", "-o", tmp_path / "out.tsv")["upload"])
    assert {row["model_version"] for row in rows} == {f"tiny-{family}"}
    wanted = predict_fn(sequences, model_fn(str(out)))["predictions"]
    locations = read_artifact(out).locations
    for row, answer in zip(rows, wanted, strict=True):
        probabilities = [row[f"p:{name}"] for name in locations]
        assert probabilities == pytest.approx(answer["probabilities"], abs=2e-3)
