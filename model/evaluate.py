"""Judging: figures as pure functions over arrays, and from the command line over an artifact.

    python -m model.evaluate ARTIFACT DEEPLOC.fasta [--split test|validation] [--write]

`train.py` measures with the same functions. The test split is for a model's final figures and chooses
nothing; `--write` puts them into the artifact's description and card.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artifact import read_artifact, write_description
from model.card import write_card
from model.data import LOCATIONS, MEMBRANE_UNKNOWN, LabelledProtein, read_channel, split

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def softmax(logits: Floats) -> Floats:
    """Probabilities (proteins, locations) of logits of the same shape."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def accuracy(predicted: Labels, truth: Labels) -> float:
    """The share of proteins whose location is right; over ten locations this is the field's Q10."""
    return float((predicted == truth).mean())


def recall(predicted: Labels, truth: Labels, classes: int) -> list[float | None]:
    """Per location the share of its proteins that were found; None where there are none."""
    return [
        float((predicted[truth == index] == index).mean()) if (truth == index).any() else None
        for index in range(classes)
    ]


def macro_f1(predicted: Labels, truth: Labels, classes: int) -> float:
    """The mean F1 over the locations that occur, each counting alike."""
    scores = []
    for index in range(classes):
        if (truth == index).any():
            hits = int(((predicted == index) & (truth == index)).sum())
            scores.append(2 * hits / (int((predicted == index).sum()) + int((truth == index).sum())))
    return float(np.mean(scores))


def membrane_q2(membrane: Floats, truth: Floats) -> float | None:
    """The share of right membrane calls at 0.5, over the proteins whose membrane label is known."""
    known = truth != MEMBRANE_UNKNOWN
    return float(((membrane[known] >= 0.5) == (truth[known] == 1.0)).mean()) if known.any() else None


def expected_calibration_error(probabilities: Floats, truth: Labels, bins: int = 15) -> float:
    """How far confidence is from accuracy: the mean gap over equally wide bins, weighed by their size."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[place == index].mean() - right[place == index].mean())) * (place == index).mean()
        for index in np.unique(place)
    ]
    return float(sum(gaps))


def fit_temperature(logits: Floats, truth: Labels) -> float:
    """The number by which to divide `logits` (proteins, classes) so that confidence fits accuracy best."""
    candidates = np.exp(np.linspace(np.log(0.25), np.log(8.0), 241))
    losses = [
        -np.log(softmax(logits / value)[np.arange(len(truth)), truth] + 1e-12).mean() for value in candidates
    ]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def measure(
    probabilities: Floats, membrane: Floats, proteins: Sequence[LabelledProtein], locations: Sequence[str]
) -> dict[str, Any]:
    """All figures of `probabilities` (proteins, locations) and `membrane` (proteins)."""
    truth = np.array([protein.location for protein in proteins])
    predicted = probabilities.argmax(axis=1)
    bound = membrane_q2(membrane, np.array([protein.membrane for protein in proteins]))
    found = recall(predicted, truth, len(locations))
    return {
        "q10": round(accuracy(predicted, truth), 4),
        "macro_f1": round(macro_f1(predicted, truth, len(locations)), 4),
        "membrane_q2": None if bound is None else round(bound, 4),
        "ece": round(expected_calibration_error(probabilities, truth), 4),
        "recall": {
            name: None if value is None else round(value, 4)
            for name, value in zip(locations, found, strict=True)
        },
        "proteins": len(proteins),
    }


def evaluate(folder: Path, proteins: Sequence[LabelledProtein]) -> dict[str, Any]:
    """The figures of an artifact over labelled proteins, through the very code that serves it."""
    from model.inference import model_fn, predict_fn  # here only: the figures themselves need no torch

    model = model_fn(str(folder))
    locations = model.artifact.locations
    if locations != LOCATIONS:
        raise ValueError(f"expected the locations {LOCATIONS}, found {locations}")
    answers: list[Any] = []
    for start in range(0, len(proteins), model.artifact.max_sequences):
        part = [protein.sequence for protein in proteins[start : start + model.artifact.max_sequences]]
        answers.extend(predict_fn(part, model)["predictions"])
    probabilities = np.array([answer["probabilities"] for answer in answers])
    return measure(probabilities, np.array([answer["membrane"] for answer in answers]), proteins, locations)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure an artifact on labelled proteins.")
    parser.add_argument("artifact", type=Path, help="an unpacked artifact")
    parser.add_argument("labelled", type=Path, help="DeepLoc-format FASTA")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--validation", type=Path, help="list of the validation split's accessions")
    parser.add_argument("--write", action="store_true", help="keep the figures in the artifact and its card")
    options = parser.parse_args(arguments)
    proteins = read_channel(options.labelled)
    if options.split == "test":
        chosen = [protein for protein in proteins if protein.test]
    else:
        chosen = split(proteins, options.validation)[1]
    if not chosen:
        parser.error(f"expected proteins marked 'test' in {options.labelled}, found none")
    metrics = evaluate(options.artifact, chosen) | {"split": options.split}
    print(json.dumps(metrics, indent=1))
    if options.write:
        artifact = read_artifact(options.artifact)
        if options.split == "test":
            validation = artifact.metrics.get("validation", artifact.metrics)
            metrics["validation"] = {key: value for key, value in validation.items() if key != "split"}
        artifact = artifact.with_metrics(metrics)
        write_description(artifact)
        write_card(artifact)


if __name__ == "__main__":
    main()
