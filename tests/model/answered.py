"""Makes answers of a model that is right a known share of the time, for the tests of judging."""

from __future__ import annotations

import numpy as np

from model.judging.answered import Answered
from model.serving.calibration import softmax


def random_answers(
    proteins: int = 400, locations: int = 10, *, seed: int = 0, sharpness: float = 2.0
) -> Answered:
    """Answers whose confidence is exactly how often they are right, over locations of unequal size."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(proteins, locations)) * sharpness - np.linspace(0, 2, locations)
    probabilities = softmax(logits)
    truth = (random.random((proteins, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    membrane = random.random(proteins)
    bound = np.where(random.random(proteins) < 0.2, -1.0, random.random(proteins) < membrane)
    lengths = random.integers(20, 3000, proteins)
    return Answered(probabilities, membrane, np.minimum(truth, locations - 1), bound, lengths)
