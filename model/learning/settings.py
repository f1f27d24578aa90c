"""A training run's settings; combinations that make no sense are refused where they are made."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.learning.frozen import Still
from model.proteins.labelled import LabelledProtein
from model.proteins.labels import names_of, read_labels
from model.proteins.training_data import digest
from model.serving.artifact import VERSION_PATTERN
from model.serving.classifier import POOLING, WEIGHTS

# Learning rates of AdamW: of weights that begin at random, and of a pretrained encoder, which must not
# forget.
NEW_RATE, PRETRAINED_RATE = 8e-4, 5e-5
MINIMUMS = {
    "epochs": 1,
    "batch_size": 1,
    "token_budget": 1,
    "log_interval": 1,
    "test_batch_size": 0,
    "patience": 0,
}
FRAGMENT_WEIGHT = 0.35  # of a network that begins at random; what is frozen or begun with has its own doubts
MUTATION_RATE = 0.1  # unless the input is activations, which know nothing of residues
# Settings that do not change the result of a run: data and start are known by their digests.
OPERATIONAL_SETTINGS = (
    *("training", "validation", "model_dir", "output_data_dir", "model_version"),
    *("activations_dir", "checkpoint_dir", "checkpoint_minutes", "start"),
    *("log_interval", "test_batch_size", "labels", "num_labels"),
)


@dataclass(frozen=True)
class Settings:
    """The settings of a run, one a field. Raises ValueError for a combination that cannot be."""

    training: Path  # labelled proteins: a file or a folder
    validation: Path | None = None  # accessions, or labelled proteins; None: families are held out
    labels: Path | None = None  # a file that names the locations; None: DeepLoc's ten
    num_labels: int | None = None  # how many they must be; None: any number
    several: bool = False  # a protein may have several of them
    model_dir: Path = Path("artifact")
    output_data_dir: Path | None = None  # for metrics.json and history.json
    model_version: str = "small"
    encoder: str | None = None  # folder or S3 prefix; None: the small one, from nothing
    start: Path | None = None  # folder of the artifact to begin with
    head: str = "convolution-attention"
    frozen_layers: int | str = 0  # encoder layers from below, "all", or "pooling": half the head too
    lora_rank: int = 0  # of adapters beside the attention that is not frozen; 0: none
    activations: str = "auto"  # of the frozen part: "cached", "computed", or as it pays
    activations_dir: Path = Path(tempfile.gettempdir())
    gradient_checkpointing: bool = False
    hidden: int = 128  # of the small encoder
    layers: int = 0  # of the small encoder
    max_residues: int = 2046  # read of a protein; beyond it, both ends
    training_residues: int = 1000  # read of a protein in training, for speed
    epochs: int = 36
    patience: int = 0  # epochs without a better macro-F1 that end the run; 0: none
    batch_size: int = 32  # proteins an optimizer step, over all processes
    test_batch_size: int = 0  # proteins a forward pass on validation at most; 0: as the token budget allows
    token_budget: int = 8192  # padded tokens a forward pass
    log_interval: int = 50  # optimizer steps between two lines of the log
    learning_rate: float = NEW_RATE
    encoder_learning_rate: float | None = None  # None: as the head's
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of the optimizer steps
    class_balance: float = 0.5  # 0: as they come, 1: all locations alike
    label_smoothing: float = 0.05
    relatives: str = "all"  # that vote, where `start` has such: with these proteins, "own" alone, or "none"
    distillation: float = 0.0  # share of the loss that holds on to the answers of `start`
    fragment_weight: float | None = None  # of a protein's fragment in the loss, beside it; None: as it pays
    everything: bool = False  # learn from the validation proteins, too, and keep the last epoch
    mutation_rate: float | None = None  # residues redrawn by BLOSUM62 an epoch; None: as it pays
    dropout: float | None = None  # of the head; None: the head's own
    average: float = 0.998  # decay of the weights' running average
    precision: str = "auto"  # or "bf16", "fp32"
    checkpoint_dir: Path | None = None
    checkpoint_minutes: float = 15.0  # between two, besides every epoch's
    seed: int = 1

    def __post_init__(self) -> None:
        if not VERSION_PATTERN.fullmatch(self.model_version):
            raise ValueError(
                f"expected a --model-version of at most 40 letters a-z, digits and '-', "
                f"found {self.model_version!r}"
            )
        for name, least in MINIMUMS.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"expected --{name.replace('_', '-')} of at least {least}, found {getattr(self, name)}"
                )
        for name in ("learning_rate", "encoder_learning_rate"):
            if (rate := getattr(self, name)) is not None and not 0 <= rate < math.inf:
                raise ValueError(f"expected --{name.replace('_', '-')} of at least 0, found {rate}")
        if self.distillation and self.start is None:
            raise ValueError("expected --start with --distillation, found none to hold on to")
        if isinstance(self.frozen_layers, str) and self.frozen_layers not in ("all", POOLING):
            raise ValueError(
                f"expected --frozen-layers with a number, all or pooling, found {self.frozen_layers}"
            )
        if self.activations == "cached" and self.mutation_rate:
            raise ValueError(
                "expected no --mutation-rate with cached activations, which know nothing of residues"
            )
        if self.activations == "cached" and self.fragment_weight:
            raise ValueError(
                "expected no --fragment-weight with cached activations, which are whole proteins'"
            )

    def reading_at_most(self, residues: int) -> Settings:
        """The same for a network that reads no more than so many residues."""
        return replace(self, max_residues=min(self.max_residues, residues))

    def with_cache_decided(self, still: Still | None) -> Settings:
        """The same with `activations` cached or computed, and fragments and mutations set to fit.

        `still` is the part of the network whose output never changes (`frozen.still_part`).
        """
        if self.activations == "cached" and still is None:
            raise ValueError("expected --frozen-layers with --activations cached, found nothing frozen")
        cache = still is not None and self.activations != "computed" and not self.mutation_rate
        rate = self.mutation_rate
        if rate is None:
            rate = 0.0 if cache else MUTATION_RATE
        weight = self.fragment_weight
        if weight is None:
            from_nothing = self.encoder is None and self.start is None
            weight = FRAGMENT_WEIGHT if from_nothing and not cache else 0.0
        return replace(
            self,
            activations="cached" if cache else "computed",
            mutation_rate=rate,
            fragment_weight=weight,
        )

    def recipe(self) -> dict[str, Any]:
        """The settings an artifact keeps: no paths, which tell of a machine and not of a model."""
        left_out = ("checkpoint_minutes", "model_version", "log_interval", "test_batch_size")
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None and not isinstance(value, Path) and name not in left_out
        }

    def identity(
        self, training: Sequence[LabelledProtein], validation: Sequence[LabelledProtein]
    ) -> dict[str, str]:
        """Everything a run's outcome depends on, so that a checkpoint is resumed by its own run only."""
        identity = {
            name: str(value) for name, value in asdict(self).items() if name not in OPERATIONAL_SETTINGS
        }
        if self.start is not None:
            identity["start"] = hashlib.sha256((self.start / WEIGHTS).read_bytes()).hexdigest()
        if self.labels is not None:
            identity["labels"] = " ".join(names_of(read_labels(self.labels)))
        return identity | {"training data": digest(training), "validation data": digest(validation)}
