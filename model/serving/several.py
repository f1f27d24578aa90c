"""Answers of a model that gives a protein several locations: each label by itself, yes or no.

Each label has a temperature and a threshold, chosen on validation (`judging/calibrating_several.py`). A
protein is in every location whose probability reaches its threshold, and where none does in the one that
comes nearest, so that every protein is somewhere. The confidence of an answer is the probability that it is
right as a whole: that the protein is in each location that is named and in no other, the labels taken as
independent. Imports numpy only: this file travels in an artifact's `code/`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.serving.calibration import Floats

Bools = NDArray[np.bool_]


def named(of_labels: Floats, thresholds: Floats) -> Bools:
    """Return the locations that an answer names (proteins, locations): at least one of each protein.

    >>> named(np.array([[0.7, 0.4], [0.1, 0.2]]), np.array([0.5, 0.3])).tolist()
    [[True, True], [False, True]]
    """
    reached: Bools = of_labels >= thresholds
    nearest = (of_labels / thresholds).argmax(axis=1)
    alone = ~reached.any(axis=1)
    reached[alone, nearest[alone]] = True
    return reached


def confidence(of_labels: Floats, names: Bools) -> Floats:
    """The probability (proteins) that exactly the named locations are the true ones.

    >>> confidence(np.array([[0.9, 0.2]]), np.array([[True, False]])).round(2).tolist()
    [0.72]
    """
    product: Floats = np.where(names, of_labels, 1 - of_labels).prod(axis=1)
    return product


def log_losses(of_labels: Floats, truth: Bools) -> Floats:
    """Minus the log probability of the truth (proteins), summed over the labels."""
    of_truth = np.where(truth, of_labels, 1 - of_labels)
    losses: Floats = -np.log(of_truth + 1e-12).sum(axis=1)
    return losses
