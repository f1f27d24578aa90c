"""Fits the calibration of a model that gives a protein several locations.

Each label has a temperature and a threshold, chosen on validation, as DeepLoc 2 has thresholds (Thumuluri et
al., Nucleic Acids Res. 50 (2022) W228).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model.judging.answered import Bools, Floats
from model.judging.calibrating import (
    CERTAIN_ACCURACY,
    MIN_PROTEINS_PER_LOCATION,
    fit_temperature,
    folds_of,
    threshold,
)
from model.serving.calibration import logistic
from model.serving.several import confidence, log_losses, named

THRESHOLDS_TRIED = np.arange(5, 96) / 100  # thresholds that are tried
DEFAULT_THRESHOLD = 0.5  # the threshold of a label that validation has in all proteins, or in none


def fit(logits: Floats, truth: Bools, membrane: Floats, bound: Floats) -> dict[str, Any]:
    """Fit on validation the values that an artifact keeps under `calibration`.

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


def _fitted(logits: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """The temperature and the threshold of each label; rare labels take the temperature of all together."""
    shared = _temperature(logits.ravel(), truth.ravel())
    temperatures = np.full(logits.shape[1], shared)
    for label, held in enumerate(truth.T):
        if min(held.sum(), (~held).sum()) >= MIN_PROTEINS_PER_LOCATION:
            temperatures[label] = _temperature(logits[:, label], held)
    answers = logistic(logits / temperatures)
    return temperatures, np.array([_best(answers[:, label], held) for label, held in enumerate(truth.T)])


def _temperature(logits: Floats, truth: Bools) -> float:
    return fit_temperature(np.stack([np.zeros(len(logits)), logits], axis=1), truth.astype(np.int64))


def _best(answers: Floats, truth: Bools) -> float:
    """The threshold of the highest Matthews correlation; of several the one nearest to a half."""
    if truth.all() or not truth.any():
        return DEFAULT_THRESHOLD
    reached = answers[None] >= THRESHOLDS_TRIED[:, None]  # (steps, proteins)
    hits, names = (reached & truth).sum(axis=1), reached.sum(axis=1)
    true, total = truth.sum(), len(truth)
    scale = np.sqrt(names * (total - names) * true * (total - true), dtype=np.float64)
    scores = np.divide(
        hits * total - names * true, scale, out=np.zeros(len(THRESHOLDS_TRIED)), where=scale > 0
    ).round(9)
    return float(
        min(THRESHOLDS_TRIED[scores == scores.max()], key=lambda step: abs(step - DEFAULT_THRESHOLD))
    )
