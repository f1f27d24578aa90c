"""Hugging Face can read the card; it agrees with the description, also with an older one."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

import model
from model.judging import card
from model.judging import judgement as evaluate
from model.judging import looks as record
from model.judging import markdown as tables
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import Artifact, read_artifact
from tests.model.answered import random_answers

ROOT = Path(model.__file__).parents[1]
CALIBRATION = {
    "method": "temperature",
    "location_temperature": 1.1,
    "membrane_temperature": 0.9,
    "uncertain_below": 0.56,
    "certain_accuracy": 0.8,
}


@pytest.fixture(scope="module")
def judged_test() -> dict[str, Any]:
    judged = evaluate.judge(random_answers(400), LOCATIONS, uncertain_below=0.56, resamples=100)
    return evaluate.kept(judged) | {"split": "test"}


@pytest.fixture
def measured(tiny_artifact: Path, judged_test: dict[str, Any]) -> Artifact:
    """An artifact with the figures of test and of validation."""
    plain = replace(read_artifact(tiny_artifact), metrics={}, calibration=CALIBRATION)
    validation = record.with_figures(plain, judged_test | {"split": "validation"})
    return record.with_look(record.with_figures(validation, judged_test), judged_test)


def test_hugging_face_reads_the_card_and_its_figures(measured: Artifact, judged_test: dict[str, Any]) -> None:
    data = ModelCard(card.card(measured)).data
    assert data.license == "apache-2.0" and data.library_name == "transformers"
    assert data.pipeline_tag == "text-classification" and data.model_name == "tiny-1"
    read = {result.metric_type: result for result in data.eval_results}
    assert {name: result.metric_value for name, result in read.items()} == {
        name: judged_test[name] for name in tables.LABELS
    }
    assert read["q10"].dataset_type == "deeploc" and read["q10"].dataset_split == "test"


def test_the_front_matter_survives_a_version_that_yaml_would_take_for_something_else(
    measured: Artifact,
) -> None:
    for version in ("1e5", "no", "2026-11-23"):
        data = ModelCard(card.card(replace(measured, version=version))).data
        assert data.model_name == version


def test_every_figure_stands_in_the_card_with_its_interval(
    measured: Artifact, judged_test: dict[str, Any]
) -> None:
    text = card.card(measured)
    for name, label in tables.LABELS.items():
        low, high = judged_test["intervals"][name]
        cell = f"{judged_test[name]:.4f} ({low:.3f}–{high:.3f})"
        assert f"| {label} | {cell} | {cell} |" in text
    for location, of in judged_test["locations"].items():
        low, high = of["recall_interval"]
        row = re.search(rf"\| {location} \| (.*) \|", text)
        assert row and f"| {of['recall']:.4f} ({low:.3f}–{high:.3f}) |" in row[0]
        assert row[1].endswith(str(of["proteins"]))
    assert "| 511 and more |" in text and "| 2,047 and more |" in text
    assert "Answers below confidence 0.56 are called uncertain" in text
    assert "from which on 80.0 % of the validation proteins" in " ".join(text.split())


def test_the_card_says_how_the_model_was_made_and_what_it_is_not(measured: Artifact) -> None:
    history = [{"epoch": 1, "q10": 0.123456}]
    training = dict(measured.training) | {"epochs": 3, "best_epoch": 2, "history": history}
    text = card.card(replace(measured, training=training))
    assert '"epochs": 3' in text and "those after epoch 2" in text
    assert "0.123456" not in text, "what training printed is not its recipe"
    for section in (
        "for",
        "How sure it is",
        "How it was made",
        "Looks at the test proteins",
        "What it is not",
    ):
        assert section in text
    counted = {name: of["proteins"] for name, of in measured.metrics["locations"].items()}
    assert min(counted, key=counted.__getitem__) in text.partition("Rare places")[2].partition("**")[2]


def test_a_model_of_own_labels_is_said_nothing_of_that_holds_for_the_ten_alone(measured: Artifact) -> None:
    labels = [{"name": name, "display": name, "go": []} for name in measured.locations]
    calibration = {**measured.calibration, "membrane_temperature": None, "thresholds": [0.5] * 10}
    calibration["label_temperatures"] = [1.0] * 10
    own = card.card(replace(measured, labels=labels, calibration=calibration))
    ten = card.card(measured)
    for of_the_ten in (
        "Not for bacteria",
        "A plastid is named",
        "One place only",
        "DeepLoc keeps test proteins",
    ):
        assert of_the_ten in ten and of_the_ten not in own
    assert "Nothing about membranes" in own and "Nothing about membranes" not in ten
    assert ModelCard(own).data.eval_results[0].dataset_name == "labelled proteins (test)"


def test_a_location_that_nothing_was_learned_of_stands_in_the_card(measured: Artifact) -> None:
    assert "Nothing about Peroxisome" not in card.card(measured)
    text = card.card(replace(measured, data={**measured.data, "unlearned": ["Peroxisome"]}))
    assert "- **Nothing about Peroxisome.** There was no protein of it to learn from" in text


def test_the_card_names_vector_scaling(measured: Artifact) -> None:
    vector = CALIBRATION | {"method": "vector", "location_scale": [1.0] * 10, "location_shift": [0.0] * 10}
    assert "vector scaling" in card.card(replace(measured, calibration=vector))
    assert "vector scaling" not in card.card(measured)


def test_the_card_of_an_older_artifact_says_what_was_known_then(tiny_artifact: Path) -> None:
    figures = {"q10": 0.6419, "macro_f1": 0.4787, "membrane_q2": 0.8869, "ece": 0.024, "proteins": 2773}
    older = {"recall": dict.fromkeys(LOCATIONS, 0.5), **figures}
    artifact = replace(
        read_artifact(tiny_artifact),
        calibration={"location_temperature": 0.8781, "membrane_temperature": 1.2419},
        metrics=older | {"split": "test", "validation": older | {"loss": 0.9}},
    )
    text = card.card(artifact)
    assert "| Q10 (accuracy) | 0.6419 | 0.6419 |" in text and "| Peroxisome | 0.5000 |" in text
    assert "Once, for the figures above." in text
    assert "one temperature" in text and "uncertain" not in text.partition("## What it reads")[0]
    assert len(ModelCard(text).data.eval_results) == 4


def test_an_artifact_that_was_never_measured_has_a_card_too(tiny_artifact: Path) -> None:
    text = card.card(replace(read_artifact(tiny_artifact), metrics={}))
    assert "Not measured yet." in text and "None." in text
    assert ModelCard(text).data.license == "apache-2.0"


def test_the_shipped_card_can_be_read_by_hugging_face() -> None:
    shipped = ModelCard((ROOT / "model" / "default" / "README.md").read_text(encoding="utf-8"))
    assert shipped.data.eval_results[0].dataset_type == "deeploc"


def test_figures_go_into_a_page_where_it_has_a_place_for_them(
    measured: Artifact, tmp_path: Path, tiny_artifact: Path
) -> None:
    page = f"before\n{card.OPENING}\nold\n{card.CLOSING}\nafter\n"
    once = card.place(page, measured)
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "old" not in once
    assert tables.figures_of(measured.metrics) in once
    assert card.place(once, measured) == once
    with pytest.raises(ValueError, match="no such place"):
        card.place("a page without", measured)
    shutil.copytree(tiny_artifact, tmp_path / "artifact")
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "confusion.png").touch()
    card.main([str(tmp_path / "artifact"), "--into", str(tmp_path / "page.md")])
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert (
        "Model `tiny-1`" in text
        and "](images/confusion.png)" in text
        and "](images/training.png)" not in text
    )


def test_the_documentation_shows_the_figures_of_the_shipped_model() -> None:
    page, shipped = ROOT / "docs" / "model.md", read_artifact(ROOT / "model" / "default")
    text = page.read_text(encoding="utf-8")
    assert card.put_into(page, shipped) == text, (
        "python -m model.judging.card model/default --into docs/model.md"
    )
    assert "](images/reliability.png)" in text


def test_the_biologists_page_has_the_figures_of_the_shipped_model() -> None:
    text = " ".join((ROOT / "docs" / "biologist.md").read_text(encoding="utf-8").split())
    outside = read_artifact(ROOT / "model" / "default").outside["figures"]
    figures = {name: round(100 * each["outside"]) for name, each in outside.items()}
    bacterial = {figure for name, figure in figures.items() if "coli" in name or "subtilis" in name}
    assert re.findall(r"a detector finds (\d+) %", text) == [str(figure) for figure in bacterial]
    wrongly = re.findall(r"wrongly suspects (\d+) % of eukaryotic proteins, of yeast's (\d+) %", text)
    assert wrongly == [(str(figures["eukaryotic, families held out"]), str(figures["yeast"]))]
