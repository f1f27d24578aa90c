"""The outcome of a run: figures on the validation proteins, and the artifact that serves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model import detection
from model.judging import looks as record
from model.learning.run import Run
from model.learning.settings import Settings
from model.learning.validation import Answers, judge, of_known_membranes
from model.proteins import labelled as data
from model.proteins import related as homology
from model.proteins import seen, training_data
from model.proteins.labels import TEN, Label, names_of
from model.serving.artifact import (
    Artifact,
    now,
    read_artifact,
    write_description,
    write_serving_code,
    write_tokenizer,
)
from model.serving.classifier import ProteinClassifier
from model.serving.relatives import Relatives
from model.serving.tokens import SPECIAL_TOKENS, ResidueTokenizer, window

MAX_SEQUENCES = 2048  # of one request to the served model


def curves(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The learning curves that an artifact keeps for its report, one entry an epoch."""
    names = ("epoch", "training_loss", "q10", "macro_f1", "membrane_q2", "seconds")
    return [{name: each[name] for name in names} | {"validation_loss": each["loss"]} for each in history]


def append_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Add epochs that made no better artifact to the history in the kept one."""
    artifact = read_artifact(folder)
    training = {**artifact.training, "history": curves(history)}
    write_description(replace(artifact, training=training))


def print_epoch(settings: Settings, history: Sequence[Mapping[str, Any]]) -> None:
    """Print the last epoch's figures as SageMaker's metric definitions look for them, and write all epochs'.

    The expressions are in `launch.METRICS`; the first three are the article's.
    """
    last = history[-1]
    print(
        f"Epoch {last['epoch']}/{settings.epochs} Training Loss: {last['training_loss']:.4f}",
        f"Validation loss: {last['loss']:.4f}",
        f"Validation Accuracy: {last['q10']:.4f}",
        f"Validation Macro-F1: {last['macro_f1']:.4f} Membrane Q2: {last['membrane_q2']}",
        f"Seconds: {last['seconds']:.0f}",
        sep="\n",
        flush=True,
    )
    _write(settings.output_data_dir, "history.json", list(history))


def keep(run: Run, answers: Answers, epoch: int, history: Sequence[Mapping[str, Any]]) -> None:
    """Write the artifact, and metrics.json where SageMaker collects a job's own output."""
    settings, recipe, earlier = run.settings, run.settings.recipe(), []
    if settings.start is not None:
        earlier = [read_artifact(settings.start)]
        recipe |= {"usual_shares": usual_shares(earlier[0])} | descent(earlier[0])
    index = inherited_index(settings.relatives, earlier, run.training, settings.max_residues)
    answers = of_known_membranes(answers, run.training, earlier)
    metrics = write(
        settings.model_dir,
        run.classifier,
        run.tokenizer,
        version=settings.model_version,
        max_residues=settings.max_residues,
        judged=judge(
            answers,
            run.validation,
            run.locations,
            index,
            settings.max_residues,
            several=settings.several,
        ),
        proteins=run.training,
        learned_from={
            "sha256": training_data.digest(run.training),
            "proteins": len(run.training),
            "validation": len(run.validation),
            "validation_split": "given" if settings.validation is not None else homology.METHOD,
            "training_table": training_data.describe(run.training, run.locations),
            "validation_table": training_data.describe(run.validation, run.locations),
        }
        | unlearned(run, earlier),
        training=recipe | {"best_epoch": epoch, "history": curves(history)},
        earlier=earlier,
        index=index,
        labels=run.labels,
    )
    _write(settings.output_data_dir, "metrics.json", metrics)


def unlearned(run: Run, earlier: Sequence[Artifact]) -> dict[str, list[str]]:
    """The locations without a protein to learn from, neither in this run nor in those it goes on from.

    Nothing where there are none.
    """
    names = training_data.missing_locations(run.training, run.locations)
    for each in earlier:
        names = [name for name in names if name in each.data.get("unlearned", ())]
    return {"unlearned": names} if names else {}


def usual_shares(artifact: Artifact) -> list[float]:
    """The share of each location (locations,) among the proteins that a model first learned from.

    Later training did not change them (`loss.location_shift`). All alike where it does not say. Where a
    protein may have several, the share of the proteins that have each.
    """
    kept = artifact.training.get("usual_shares")
    if kept is None:
        table = artifact.data.get("training_table", {}).get("locations", {})
        counts = [table[name]["proteins"] if name in table else 1 for name in artifact.locations]
        proteins = sum(counts)
        if artifact.thresholds is not None:
            proteins = artifact.data["proteins"] if table else 2 * len(counts)
        kept = [round(count / proteins, 6) for count in counts]
    return list(kept)


def index_of(proteins: Sequence[data.LabelledProtein], max_residues: int) -> Relatives:
    """The index of the residues that a model with this limit reads of labelled proteins."""
    sequences = [window(protein.sequence, max_residues) for protein in proteins]
    return Relatives.of(sequences, [protein.location for protein in proteins])


def inherited_index(
    choice: str, earlier: Sequence[Artifact], proteins: Sequence[data.LabelledProtein], max_residues: int
) -> Relatives | None:
    """The index of a run that learned from `proteins`: as of the artifact it began with, and with these.

    `choice` is the setting `relatives`; a run that began with no index has none.
    """
    known = [Relatives.read(each.folder, each.relatives) for each in earlier]
    before = next((each for each in known if each is not None), None)
    if before is None or choice == "none":
        return None
    if choice == "own":
        return index_of(proteins, max_residues)
    fresh = seen.unseen(earlier[0].folder, proteins)  # the others are in it already
    return before.extended(index_of(proteins if fresh is None else fresh, max_residues))


def descent(start: Artifact) -> dict[str, Any]:
    """The entry for the artifact that a run began with: its recipe, and the names of those before it."""
    recipe = dict(start.training)
    before: Mapping[str, Any] = recipe.pop("start", {})
    earlier = [before["version"], *before.get("earlier", [])] if before else []
    # An ensemble's own networks, and how each first learned, are the new one's as well.
    kept = {name: recipe.pop(name) for name in ("members", "compositions") if name in recipe}
    recipe.pop("history", None)
    learned_from = {"version": start.version, "sha256": start.data.get("sha256"), "training": recipe}
    return kept | {"start": learned_from | ({"earlier": earlier} if earlier else {})}


def write(
    folder: Path,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    *,
    version: str,
    max_residues: int,
    judged: tuple[Mapping[str, Any], Mapping[str, Any]],
    proteins: Sequence[data.LabelledProtein],
    learned_from: Mapping[str, Any],
    training: Mapping[str, Any],
    earlier: Sequence[Artifact] = (),
    index: Relatives | None = None,
    labels: Sequence[Label] = TEN,
) -> Mapping[str, Any]:
    """Write an artifact that learned from `proteins`, with the calibration and the figures of `judge`; return
    the figures.

    Looks at test proteins that were taken at `earlier` ones, with which it began, are its own as well. With
    an `index`, relatives among its proteins vote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classifier.save(folder)
    write_tokenizer(folder, tokenizer.vocabulary, max_residues + SPECIAL_TOKENS)
    calibrated, metrics = judged
    artifact = Artifact(
        folder=folder,
        version=version,
        created=now(),
        locations=names_of(labels),
        labels=[label.described() for label in labels] if labels != TEN else [],
        head=classifier.head_settings.describe(),
        limits={"max_residues": max_residues, "max_sequences": MAX_SEQUENCES},
        calibration=calibrated,
        metrics=metrics,
        data=learned_from,
        training={**training, "parameters": sum(value.numel() for value in classifier.parameters())},
        relatives={} if index is None else index.save(folder),
    )
    artifact = record.with_looks_of(artifact, earlier)
    artifact = detection.inherited(artifact, earlier)
    record.write(artifact)
    seen.write(folder, proteins, [each.folder for each in earlier])
    write_serving_code(folder)
    return artifact.metrics


def _write(folder: Path | None, name: str, content: Any) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
