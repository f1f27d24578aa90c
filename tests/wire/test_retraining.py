"""The jobs of a retraining write files of the forms in `events/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model import evaluate as challenge
from model import snapshot
from model.proteins.labelled import LOCATIONS
from tests.model.test_snapshot import A, B, write_sources
from tests.model.tiny import build_tiny_artifact, write_labelled

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> Any:
    return json.loads((EVENTS / name).read_text(), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of base data and one of base data and labels, and two models judged on the second's holdout."""
    folder = tmp_path_factory.mktemp("retraining")
    (folder / "base").mkdir()
    (folder / "labels").mkdir()
    write_labelled(folder / "base" / "a.fasta", 160, test=60)
    own = write_labelled(folder / "labels" / "b.fasta", 30, seed=1)
    again = own.read_text().partition("\n>")[0]
    wrong = ">X1 Nukleus-S\nMKV\n>X2 Nucleus\nMKV\n>X3 Nucleus-S\nMKVWY\n>X4 Plastid-S\nMKVWY\n"
    own.write_text(own.read_text() + f"{again}\n{wrong}")
    base, labels = ("base/a.fasta", "base"), ("labels/b.fasta", "labels")
    for name, files, parent in ((A, [base], None), (B, [base, labels], A)):
        sources = write_sources(folder, name, files, parent)
        snapshot.main(["--sources", str(sources), "--output", str(folder / name)])
    words = []
    for seed, side in enumerate(("challenger", "champion")):
        artifact = build_tiny_artifact(folder / side, f"tiny-{seed}", seed=seed)
        words += [f"--{side}", str(artifact), f"--{side}-version", f"tiny-{seed}"]
    challenge.main([*words, "--snapshot", str(folder / B), "--output", str(folder)])
    return folder


def shape(value: Any) -> Any:
    """Names and kinds: a number and nothing are alike, as a value that cannot be measured is null; a list is its first."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if value is None or isinstance(value, int | float) else type(value).__name__


def test_the_manifest_is_as_the_sample(place: Path) -> None:
    written, expected = json.loads((place / B / "manifest.json").read_text()), sample("manifest.json")
    assert shape(written) == shape(expected)
    assert list(written["splits"]["training"]["locations"]) == list(LOCATIONS)


def test_the_evaluation_is_as_the_sample(place: Path) -> None:
    written, expected = json.loads((place / "evaluation.json").read_text()), sample("evaluation.json")
    for side in ("challenger", "champion"):
        # The threshold of certainty is there where an artifact has one.
        expected[side].pop("uncertain")
        assert written[side].pop("uncertain", None) is None
    assert shape(written) == shape(expected)


def test_the_samples_are_of_one_retraining() -> None:
    evaluation, manifest = sample("evaluation.json"), sample("manifest.json")
    assert evaluation["snapshot"] == manifest["snapshot"]
    holdout = manifest["splits"]["holdout"]
    assert {name: evaluation["holdout"][name] for name in ("sha256", "proteins")} == {
        name: holdout[name] for name in ("sha256", "proteins")
    }
    assert evaluation["challenger"]["training_sha256"] == manifest["splits"]["training"]["sha256"]
