"""Prepares a run: reads the labelled proteins and builds the network that learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.learning.adapters import add_adapters
from model.learning.distribution import Processes
from model.learning.encoders import fetch, read_tokenizer
from model.learning.frozen import still_part
from model.learning.run import Run
from model.learning.settings import Settings
from model.proteins import labelled as data
from model.proteins import seen
from model.proteins.labels import TEN, names_of, read_labels
from model.proteins.training_data import missing_locations, split
from model.serving.artifact import read_artifact
from model.serving.classifier import (
    SMALL_HEAD,
    ProteinClassifier,
    build_small,
    load_pretrained,
    small_config,
)
from model.serving.families import layers_of, max_residues
from model.serving.heads import HeadSettings
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer


def prepare(settings: Settings, processes: Processes) -> Run:
    """Read the labelled proteins and build the network that learns from them."""
    labels = TEN if settings.labels is None else read_labels(settings.labels)
    locations = names_of(labels)
    if settings.num_labels not in (None, len(labels)):
        raise ValueError(
            f"expected --num-labels {len(labels)}, one for each label, found {settings.num_labels}; "
            f"--labels FILE names others than the ten"
        )
    training = data.read_channel(settings.training, locations, several=settings.several)
    training, validation = split(training, settings.validation, locations, several=settings.several)
    if settings.start is not None:
        validation = unlearned(validation, settings.start)
    if settings.everything:
        training = [*training, *validation]
    if processes.first:
        for location in missing_locations(training, locations):
            print(f"Warning: no protein of {location} to learn from; it will hardly be answered.", flush=True)
    classifier, tokenizer = build(settings, processes, locations)
    classifier.to(processes.device).freeze(settings.frozen_layers)
    if settings.lora_rank:
        layers, frozen = len(layers_of(classifier.encoder)), settings.frozen_layers
        add_adapters(classifier, settings.lora_rank, frozen if isinstance(frozen, int) else layers)
    if settings.gradient_checkpointing:
        classifier.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    settings = settings.reading_at_most(max_residues(classifier.config))
    if settings.start is not None:
        settings = settings.reading_at_most(read_artifact(settings.start).max_residues)
    settings = settings.with_cache_decided(still_part(classifier))
    return Run(settings, processes, classifier, tokenizer, training, validation, labels)


def unlearned(validation: list[data.LabelledProtein], start: Path) -> list[data.LabelledProtein]:
    """The validation proteins that the artifact at `start` has not learned from; all, where they are too few.

    It is surer of those it has, so that an epoch chosen and a calibration fitted on them would flatter.
    """
    fresh = seen.unseen(start, validation)
    return validation if fresh is None or len(fresh) < seen.MIN_PROTEINS else fresh


def build(
    settings: Settings, processes: Processes, locations: Sequence[str]
) -> tuple[ProteinClassifier, ResidueTokenizer]:
    """Build the network to train, and its tokenizer."""
    kept: dict[str, Any] = {} if settings.dropout is None else {"dropout": settings.dropout}
    if settings.start is not None:
        start = read_artifact(settings.start)
        if start.locations != locations:
            raise ValueError(f"expected the locations {locations}, found {start.locations}")
        if settings.several != (start.thresholds is not None):
            raise ValueError(
                "expected --several with --start if the model that it begins with may name several locations "
                f"a protein, and only then; {start.version} "
                + ("names one" if start.thresholds is None else "may name several")
            )
        head = HeadSettings(**dict(start.head) | kept)
        classifier = ProteinClassifier.load(settings.start, len(start.locations), head)
        return classifier, ResidueTokenizer.read(settings.start)
    if settings.encoder is None:
        head = HeadSettings(**(SMALL_HEAD.describe() | {"kind": settings.head} | kept))
        config = small_config(settings.hidden, settings.layers, settings.max_residues)
        return build_small(config, len(locations), head), ResidueTokenizer(PROTEIN_VOCABULARY)
    folder = fetch(settings.encoder, processes)
    head = HeadSettings(kind=settings.head, **kept)
    return load_pretrained(folder, len(locations), head), read_tokenizer(folder)
