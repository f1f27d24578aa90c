"""A training run: its inputs, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.learning.distribution import Processes
from model.learning.settings import Settings
from model.proteins.labelled import LabelledProtein
from model.proteins.labels import TEN, Label, names_of
from model.serving.classifier import ProteinClassifier
from model.serving.tokens import ResidueTokenizer


@dataclass(frozen=True)
class Run:
    """Everything a run works with from its first step on."""

    settings: Settings
    processes: Processes
    classifier: ProteinClassifier
    tokenizer: ResidueTokenizer
    training: Sequence[LabelledProtein]
    validation: Sequence[LabelledProtein]
    labels: Sequence[Label] = TEN

    @property
    def locations(self) -> tuple[str, ...]:
        """The names of its labels."""
        return names_of(self.labels)


@dataclass
class Progress:
    """The progress of a run; with the tensors beside it, all that a checkpoint holds."""

    epoch: int = 0  # the one at work, counted from 0
    step: int = 0  # done in this epoch
    done: int = 0  # optimizer steps in all
    losses: list[tuple[float, int]] = field(default_factory=list)
    """Of each step of this epoch the summed loss and the number of its proteins, over all processes."""
    best_epoch: int = 0  # counted from 1; 0 before the first
    best_score: float = -math.inf
    best_f1: float = -math.inf
    waited: int = 0  # epochs without a better macro-F1
    history: list[dict[str, Any]] = field(default_factory=list)

    def mean_loss(self, steps: int = 0) -> float:
        """The mean loss of a protein, over all processes, in this epoch or in its last `steps`."""
        summed, proteins = np.sum(self.losses[-steps:], axis=0)
        return float(summed / proteins)

    def next_epoch(self) -> None:
        self.epoch, self.step, self.losses = self.epoch + 1, 0, []
