"""What a run leaves: figures on the validation proteins, and the artifact that serves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import data, evaluate, homology
from model.artifact import (
    Artifact,
    now,
    read_artifact,
    write_description,
    write_serving_code,
    write_tokenizer,
)
from model.card import write_card
from model.classifier import ProteinClassifier
from model.tokens import SPECIAL_TOKENS, ResidueTokenizer

MAX_SEQUENCES = 2048  # of one request to the served model
Answers = tuple[np.ndarray, np.ndarray]  # location logits (proteins, locations), membrane logits (proteins)


def calibrate(answers: Answers, proteins: Sequence[data.LabelledProtein]) -> dict[str, float]:
    """The two temperatures that fit validation best."""
    locations, bound = answers
    membrane = np.array([protein.membrane for protein in proteins])
    known = membrane != data.MEMBRANE_UNKNOWN
    two = np.stack([np.zeros(known.sum()), bound[known]], axis=1)
    truth = np.array([protein.location for protein in proteins])
    return {
        "location_temperature": evaluate.fit_temperature(locations, truth),
        "membrane_temperature": evaluate.fit_temperature(two, membrane[known].astype(int))
        if known.any()
        else 1.0,
    }


def report(answers: Answers, proteins: Sequence[data.LabelledProtein]) -> dict[str, Any]:
    """The figures on validation, as they will be served: calibrated."""
    temperatures = calibrate(answers, proteins)
    probabilities = evaluate.softmax(answers[0] / temperatures["location_temperature"])
    membrane = 1 / (1 + np.exp(-answers[1] / temperatures["membrane_temperature"]))
    truth = np.array([protein.location for protein in proteins])
    loss = -np.log(probabilities[np.arange(len(truth)), truth] + 1e-12).mean()
    metrics = evaluate.measure(probabilities, membrane, proteins, data.LOCATIONS)
    return metrics | {"loss": round(float(loss), 4), "split": "validation"}


def tell(options: argparse.Namespace, history: Sequence[Mapping[str, Any]]) -> None:
    """Print the last epoch's figures as SageMaker's metric definitions look for them, and write all epochs'.

    The expressions are in `launch.METRICS`; the first three are the article's.
    """
    last = history[-1]
    print(
        f"Epoch {last['epoch']}/{options.epochs} Training Loss: {last['training_loss']:.4f}",
        f"Validation loss: {last['loss']:.4f}",
        f"Validation Accuracy: {last['q10']:.4f}",
        f"Validation Macro-F1: {last['macro_f1']:.4f} Membrane Q2: {last['membrane_q2']}",
        f"Seconds: {last['seconds']:.0f}",
        sep="\n",
        flush=True,
    )
    _write(options.output_data_dir, "history.json", list(history))


def keep(
    options: argparse.Namespace,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    training: Sequence[data.LabelledProtein],
    validation: Sequence[data.LabelledProtein],
    answers: Answers,
    epoch: int,
) -> None:
    """Write the artifact, and metrics.json where SageMaker collects a job's own output."""
    folder = options.model_dir
    folder.mkdir(parents=True, exist_ok=True)
    classifier.save(folder)
    write_tokenizer(folder, tokenizer.vocabulary, options.max_residues + SPECIAL_TOKENS)
    metrics = report(answers, validation)
    settings = {
        name: value
        for name, value in vars(options).items()
        # A path tells of a machine, not of a model.
        if value is not None and not isinstance(value, Path) and name != "checkpoint_minutes"
    }
    if options.start is not None:
        before = read_artifact(options.start)
        settings["start"] = {"version": before.version, "training": before.training}
    artifact = Artifact(
        folder=folder,
        version=settings.pop("model_version"),
        created=now(),
        locations=data.LOCATIONS,
        head=classifier.head_settings.describe(),
        limits={"max_residues": options.max_residues, "max_sequences": MAX_SEQUENCES},
        calibration=calibrate(answers, validation),
        metrics=metrics,
        data={
            "sha256": data.digest(training),
            "proteins": len(training),
            "validation": len(validation),
            "validation_split": "given" if options.validation is not None else homology.METHOD,
            "training_table": data.describe(training),
            "validation_table": data.describe(validation),
        },
        training=settings
        | {"parameters": sum(value.numel() for value in classifier.parameters()), "best_epoch": epoch},
    )
    write_description(artifact)
    write_card(artifact)
    write_serving_code(folder)
    _write(options.output_data_dir, "metrics.json", metrics)


def _write(folder: Path | None, name: str, said: Any) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
