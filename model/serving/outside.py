"""Tells how far a protein is outside of a model's knowledge: eukaryotic proteins as cells make them.

A model names one of its locations for anything that is spelled like a protein. The detector looks at the same
numbers as `composition.py`'s networks and tells three kinds apart: eukaryotic proteins, prokaryotic ones,
and sequences that no cell makes. Its verdict is a share: of eukaryotic proteins in families that it has not
learned from, how many are less like the other two kinds. Beyond `above` a protein is called outside; so are
the rest of those eukaryotic proteins, wrongly. How often it errs on others is measured by `detection.py` and
stands in the artifact's description. It travels in an artifact, and needs numpy and safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

FILE = "outside.safetensors"
MAX_SCORE = 6.0  # standard deviations; beyond, a number is cut
Floats = NDArray[np.float32]


class Detector:
    """A network of one hidden layer over a protein's numbers, and the scores of proteins that it knows."""

    def __init__(
        self, weights: Mapping[str, Floats], scores: Sequence[float], kinds: Sequence[str], above: float
    ) -> None:
        """`weights` are `center`, `scale` (numbers), `hidden` (units, numbers), `hidden_bias` (units),
        `answer` (1 + kinds, units) and `answer_bias` (1 + kinds); the first answer is "eukaryotic". `scores`
        are those of eukaryotic proteins that it did not learn from, evenly taken and in rising order.
        """
        self.weights = {name: np.asarray(value, dtype=np.float32) for name, value in weights.items()}
        self.scores, self.kinds, self.above = np.asarray(scores), tuple(kinds), above

    @classmethod
    def read(cls, folder: Path, description: Mapping[str, Any]) -> Detector | None:
        """The detector of an artifact's folder and of its description; None where there is none."""
        if not description:
            return None
        return cls(
            load_file(folder / FILE), description["scores"], description["kinds"], description["above"]
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write its weights, in half precision, and return its entry for the artifact's description."""
        save_file({name: value.astype(np.float16) for name, value in self.weights.items()}, folder / FILE)
        (folder / FILE).chmod(0o644)  # written for its owner alone, but served by another user
        scores = [round(float(score), 3) for score in self.scores]
        return {"above": self.above, "kinds": list(self.kinds), "scores": scores}

    def logits(self, numbers: Floats) -> Floats:
        """Logits (proteins, 1 + kinds) of numbers (proteins, composition.SIZE)."""
        parts = self.weights
        standardised = ((numbers - parts["center"]) / parts["scale"]).clip(-MAX_SCORE, MAX_SCORE)
        hidden = np.maximum(standardised @ parts["hidden"].T + parts["hidden_bias"], 0)
        logits: Floats = hidden @ parts["answer"].T + parts["answer_bias"]
        return logits

    def score(self, numbers: Floats) -> Floats:
        """The log odds (proteins) of another kind, of numbers (proteins, composition.SIZE)."""
        logits = self.logits(numbers)
        others: Floats = np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]
        return others

    def judge(self, numbers: Floats) -> tuple[NDArray[np.float64], list[str]]:
        """The share of known proteins that are less outside than each protein, and its most similar kind."""
        shares = np.interp(self.score(numbers), self.scores, np.linspace(0, 1, len(self.scores)))
        kinds = self.logits(numbers)[:, 1:].argmax(axis=1)
        return shares.round(4), [self.kinds[kind] for kind in kinds]
