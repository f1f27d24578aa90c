"""Answers of a model that gives a protein several locations: each label by itself, yes or no.

Each label has a temperature and a threshold, chosen on validation when training ends (`fit`), as DeepLoc 2
has thresholds (Thumuluri et al., Nucleic Acids Res. 50 (2022) W228). A protein is in every location whose
probability reaches its threshold, and where none does in the one that comes nearest, so that every protein is
somewhere. The confidence of an answer is the probability that it is right as a whole: that the protein is in
each location that is named and in no other, the labels taken as independent. Imports numpy only: this file
travels in an artifact's `code/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.serving.calibration import (
    CERTAIN_ACCURACY,
    LEAST_PROTEINS,
    Floats,
    fit_temperature,
    folds_of,
    logistic,
    threshold,
)

Bools = NDArray[np.bool_]
STEPS = np.arange(5, 96) / 100  # thresholds that are tried
EVEN = 0.5  # the threshold of a label that validation has in all proteins, or in none


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


def fit(logits: Floats, truth: Bools, membrane: Floats, bound: Floats) -> dict[str, Any]:
    """Fit on validation what an artifact keeps under `calibration`.

    Shapes: logits and truth (proteins, locations), membrane logits and their labels `bound` (proteins). The
    bound of uncertain answers comes from proteins that neither temperatures nor thresholds were fitted on.
    """
    known = bound >= 0
    of_membrane: float | None = None
    if not np.isnan(membrane).all():
        of_membrane = 1.0
        if known.any():
            of_membrane = _temperature(membrane[known], bound[known] > 0)
    right, sure, losses = np.empty(len(truth), dtype=np.bool_), np.empty(len(truth)), np.empty(len(truth))
    folds = folds_of(truth.argmax(axis=1))
    for fold in np.unique(folds):
        held, rest = folds == fold, folds != fold
        if not rest.any():  # a single protein: nothing else to fit on
            rest = held
        temperatures, thresholds = _fitted(logits[rest], truth[rest])
        answers = logistic(logits[held] / temperatures)
        names = named(answers, thresholds)
        right[held] = (names == truth[held]).all(axis=1)
        sure[held], losses[held] = confidence(answers, names), log_losses(answers, truth[held])
    temperatures, thresholds = _fitted(logits, truth)
    return {
        "method": "labels",
        "label_temperatures": temperatures.tolist(),
        "thresholds": thresholds.tolist(),
        "membrane_temperature": of_membrane,
        "uncertain_below": threshold(sure, right),
        "certain_accuracy": CERTAIN_ACCURACY,
        "proteins": len(truth),
        "held_out_log_loss": {"labels": round(float(losses.mean()), 4)},
    }


def log_losses(of_labels: Floats, truth: Bools) -> Floats:
    """Minus the log probability of the truth (proteins), summed over the labels."""
    given = np.where(truth, of_labels, 1 - of_labels)
    losses: Floats = -np.log(given + 1e-12).sum(axis=1)
    return losses


def _fitted(logits: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """The temperature and the threshold of each label; rare labels take the temperature of all together."""
    shared = _temperature(logits.ravel(), truth.ravel())
    temperatures = np.full(logits.shape[1], shared)
    for label, held in enumerate(truth.T):
        if min(held.sum(), (~held).sum()) >= LEAST_PROTEINS:
            temperatures[label] = _temperature(logits[:, label], held)
    answers = logistic(logits / temperatures)
    return temperatures, np.array([_best(answers[:, label], held) for label, held in enumerate(truth.T)])


def _temperature(logits: Floats, truth: Bools) -> float:
    return fit_temperature(np.stack([np.zeros(len(logits)), logits], axis=1), truth.astype(np.int64))


def _best(answers: Floats, truth: Bools) -> float:
    """The threshold of the highest Matthews correlation; of several the one nearest to a half."""
    if truth.all() or not truth.any():
        return EVEN
    reached = answers[None] >= STEPS[:, None]  # (steps, proteins)
    hits, names = (reached & truth).sum(axis=1), reached.sum(axis=1)
    true, total = truth.sum(), len(truth)
    scale = np.sqrt(names * (total - names) * true * (total - true), dtype=np.float64)
    scores = np.divide(hits * total - names * true, scale, out=np.zeros(len(STEPS)), where=scale > 0).round(9)
    return float(min(STEPS[scores == scores.max()], key=lambda step: abs(step - EVEN)))
