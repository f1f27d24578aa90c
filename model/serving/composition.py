"""Networks that answer from the composition of a protein alone, beside those that read its sequence.

Convolutions (`classifier.py`) find signals; they do not count. A network with one hidden layer answers from a
protein's numbers (`protein_numbers.py`) in an ensemble with the others: it errs differently, and it learns in
a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.serving.protein_numbers import PLAIN, SIZE, describe_all
from model.serving.tokens import PROTEIN_VOCABULARY, Ids

__all__ = ["PLAIN", "SIZE", "CompositionNetwork", "CompositionSettings", "describe_tokens", "number_table"]

MAX_SCORE = 6.0  # standard deviations; beyond, a number is cut
BATCH = 32  # proteins described at once: of 400 residues, so many that their counts fit a core's cache

_LETTERS = np.array([ord(token) if len(token) == 1 else 0 for token in PROTEIN_VOCABULARY], dtype=np.uint8)


def number_table(rows: Sequence[Ids]) -> Tensor:
    """The numbers (proteins, SIZE) of tokenized proteins, without the two tokens around the residues."""
    sequences = [_LETTERS[row[1:-1]].tobytes() for row in rows]
    parts = [describe_all(sequences[at : at + BATCH]) for at in range(0, len(sequences), BATCH)]
    return torch.from_numpy(np.concatenate(parts))


def describe_tokens(ids: Tensor, mask: Tensor) -> Tensor:
    """The numbers (batch, SIZE), on the device of ids and mask (batch, tokens)."""
    rows = zip(ids.cpu().numpy(), mask.sum(dim=1).tolist(), strict=True)
    return number_table([row[: int(length)] for row, length in rows]).to(ids.device)


@dataclass(frozen=True)
class CompositionSettings:
    """One network and how it learns; kept in the artifact's configuration."""

    pairs: bool = False
    hidden: int = 512
    dropout: tuple[float, float] = (0.5, 0.6)  # of the numbers, of the hidden layer
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    seed: int = 1

    def describe(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self) | {"dropout": list(self.dropout)}


class CompositionNetwork(nn.Module):
    """Answers from a protein's numbers: standardised, then one hidden layer."""

    def __init__(self, locations: int, settings: CompositionSettings) -> None:
        super().__init__()
        self.size = SIZE if settings.pairs else PLAIN
        self.center = nn.Buffer(torch.zeros(self.size))
        self.scale = nn.Buffer(torch.ones(self.size))
        self.answer = nn.Sequential(
            nn.Dropout(settings.dropout[0]),
            nn.Linear(self.size, settings.hidden),
            nn.GELU(),
            nn.Dropout(settings.dropout[1]),
            nn.Linear(settings.hidden, locations + 1),
        )

    def standardise(self, numbers: Tensor) -> None:
        """Take mean and spread from these proteins' numbers (proteins, SIZE)."""
        self.center.copy_(numbers[:, : self.size].mean(dim=0))
        self.scale.copy_(numbers[:, : self.size].std(dim=0) + 1e-3)

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Location logits (batch, locations) and membrane logits (batch) of numbers (batch, SIZE)."""
        with torch.autocast(numbers.device.type, enabled=False):
            standardised = ((numbers[:, : self.size] - self.center) / self.scale).clamp(-MAX_SCORE, MAX_SCORE)
            logits = self.answer(standardised)
        return logits[:, :-1], logits[:, -1]
