"""Fits a calibration on validation proteins, which an artifact keeps under `calibration`.

Two methods for the ten locations, chosen by cross-validation: one temperature for all, which never changes
which location is named, or a scale and a shift for each (vector scaling), which also corrects a location that
is named too often. Where a model looks up relatives (`serving/relatives.py`), proteins with a near one, a
distant one and none have a temperature each. Membrane has one. Source of temperatures: Guo et al., ICML 2017,
arXiv:1706.04599.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.judging.answered import Floats, Labels
from model.judging.figures import confusion, macro_f1
from model.serving.calibration import mass_before, scaled, softmax

FOLDS = 5
MIN_PROTEINS_PER_LOCATION = 20  # of each location in validation, for a scale and a shift of its own
PRIOR = 10.0  # how strongly vector scaling is held to the one temperature; as a penalty on squared steps
MIN_PROTEINS_PER_KIND = 100  # proteins in validation, for a temperature and a reach of their own
SET_SHARE = 0.9  # how often a set of locations is to hold the true one
CERTAIN_ACCURACY = 0.8  # how often answers that are not called uncertain are to be right


def fit_reach(probabilities: Floats, truth: Labels) -> float:
    """The least reach at which sets hold the truth in SET_SHARE of cases, also of one protein more."""
    needed = np.sort(mass_before(probabilities)[np.arange(len(truth)), truth])
    place = min(len(truth), int(np.ceil((len(truth) + 1) * SET_SHARE))) - 1
    return round(float(needed[place]) + 1e-6, 6)


def temperatures(logits: Floats, truth: Labels, membrane: Floats, bound: Floats) -> dict[str, float | None]:
    """The two temperatures alone; arguments as those of `fit`. None where membrane logits are NaN."""
    known = bound >= 0
    if np.isnan(membrane).all():
        return {"location_temperature": fit_temperature(logits, truth), "membrane_temperature": None}
    two = np.stack([np.zeros(int(known.sum())), membrane[known]], axis=1)
    return {
        "location_temperature": fit_temperature(logits, truth),
        "membrane_temperature": fit_temperature(two, bound[known].astype(np.int64)) if known.any() else 1.0,
    }


def fit_kinds(
    logits: Floats, truth: Labels, membrane: Floats, bound: Floats, kinds: Labels, count: int
) -> dict[str, Any]:
    """As `fit`, with a temperature and a reach for each of `count` kinds of proteins; `kinds` (proteins).

    Kinds of which there are few take those of all. The threshold comes from held-out probabilities, of the
    first kind alone.
    """
    probabilities, overall = np.empty(logits.shape), temperatures(logits, truth, membrane, bound)
    by_kind, reaches = list[float](), list[float]()
    for kind in range(count):
        chosen = kinds == kind
        fitted = chosen if chosen.sum() >= MIN_PROTEINS_PER_KIND else np.ones_like(chosen)
        by_kind.append(fit_temperature(logits[fitted], truth[fitted]))
        reaches.append(fit_reach(softmax(logits[fitted] / by_kind[-1]), truth[fitted]))
        if fitted is chosen:
            probabilities[chosen] = _held_out(logits[chosen], truth[chosen], _by_temperature)
        else:
            probabilities[chosen] = softmax(logits[chosen] / by_kind[-1])
    # The share of proteins with relatives is validation's own; the threshold is to hold without any, too.
    alone = kinds == 0 if (kinds == 0).sum() >= MIN_PROTEINS_PER_KIND else np.ones(len(kinds), dtype=np.bool_)
    right = (probabilities.argmax(axis=1) == truth)[alone]
    return {
        "method": "temperature",
        **overall,
        "temperature_by_relative": by_kind,
        "reach_by_relative": reaches,
        "set_share": SET_SHARE,
        "uncertain_below": threshold(probabilities[alone].max(axis=1), right),
        "certain_accuracy": CERTAIN_ACCURACY,
        "proteins": len(truth),
        "held_out_log_loss": {"temperature": round(float(_losses(probabilities, truth).mean()), 4)},
    }


def fit(logits: Floats, truth: Labels, membrane: Floats, bound: Floats) -> dict[str, Any]:
    """Fit on validation the values that an artifact keeps under `calibration`.

    Shapes: logits (proteins, locations), truth (proteins), membrane logits (proteins) and their labels
    `bound` (proteins): 1 bound, 0 soluble, below 0 unknown. Vector scaling is chosen where it is worth its
    parameters on proteins it was not fitted on (`FOLDS` folds): log loss lower by more than one standard
    error, and neither Q10 nor macro-F1 lower. The threshold comes from such held-out probabilities too.
    """
    held_out = {"temperature": _held_out(logits, truth, _by_temperature)}
    if np.bincount(truth, minlength=logits.shape[1]).min() >= MIN_PROTEINS_PER_LOCATION:
        held_out["vector"] = _held_out(logits, truth, fit_vector)
    method = "vector" if _worth_it(held_out, truth) else "temperature"
    chosen = held_out[method]
    fitted: dict[str, Any] = {
        "method": method,
        **temperatures(logits, truth, membrane, bound),
        "uncertain_below": threshold(chosen.max(axis=1), chosen.argmax(axis=1) == truth),
        "certain_accuracy": CERTAIN_ACCURACY,
        "proteins": len(truth),
        "held_out_log_loss": {
            name: round(float(_losses(part, truth).mean()), 4) for name, part in held_out.items()
        },
    }
    if method == "vector":
        scale, shift = fit_vector(logits, truth)
        fitted |= {"location_scale": scale.round(6).tolist(), "location_shift": shift.round(6).tolist()}
    return fitted


def _worth_it(held_out: Mapping[str, Floats], truth: Labels) -> bool:
    if "vector" not in held_out:
        return False
    plain, vector = held_out["temperature"], held_out["vector"]
    gain = _losses(plain, truth) - _losses(vector, truth)
    return bool(
        gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain))
        and (vector.argmax(axis=1) == truth).mean() >= (plain.argmax(axis=1) == truth).mean()
        and _macro_f1(vector, truth) >= _macro_f1(plain, truth)
    )


def _macro_f1(probabilities: Floats, truth: Labels) -> float:
    return float(macro_f1(confusion(truth, probabilities.argmax(axis=1), probabilities.shape[1])))


def _losses(probabilities: Floats, truth: Labels) -> Floats:
    losses: Floats = -np.log(probabilities[np.arange(len(truth)), truth] + 1e-12)
    return losses


def fit_temperature(logits: Floats, truth: Labels) -> float:
    """The number by which to divide `logits` (proteins, classes) so that confidence fits accuracy best."""
    candidates = np.exp(np.linspace(np.log(0.25), np.log(8.0), 241))
    losses = [_losses(softmax(logits / value), truth).mean() for value in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def _by_temperature(logits: Floats, truth: Labels) -> tuple[Floats, Floats]:
    locations = logits.shape[1]
    return np.full(locations, 1 / fit_temperature(logits, truth)), np.zeros(locations)


def fit_vector(logits: Floats, truth: Labels) -> tuple[Floats, Floats]:
    """A scale and a shift for each location of `logits` (proteins, locations) that fit `truth` best.

    Newton's method on the log loss, which is convex in both, plus `PRIOR` / 2 times the squared distance
    from the one temperature and from no shift: a location with few proteins stays near them.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    locations = centred.shape[1]
    start = np.concatenate(_by_temperature(logits, truth))
    diagonal = np.arange(locations)

    def loss(values: Floats) -> float:
        probabilities = softmax(centred * values[:locations] + values[locations:])
        return float(_losses(probabilities, truth).sum() + PRIOR / 2 * ((values - start) ** 2).sum())

    values = start.copy()
    for _ in range(100):
        probabilities = softmax(centred * values[:locations] + values[locations:])  # (proteins, locations)
        missed = probabilities - np.eye(locations)[truth]
        slope = np.concatenate([(missed * centred).sum(axis=0), missed.sum(axis=0)]) + PRIOR * (
            values - start
        )
        together = np.concatenate([probabilities * centred, probabilities], axis=1)  # (proteins, 2 locations)
        curve = PRIOR * np.eye(2 * locations) - together.T @ together
        curve[diagonal, diagonal] += (probabilities * centred**2).sum(axis=0)
        curve[diagonal + locations, diagonal + locations] += probabilities.sum(axis=0)
        curve[diagonal, diagonal + locations] += (probabilities * centred).sum(axis=0)
        curve[diagonal + locations, diagonal] += (probabilities * centred).sum(axis=0)
        step, length = np.linalg.solve(curve, slope), 1.0
        while loss(values - length * step) > loss(values) and length > 1e-6:
            length /= 2
        values = values - length * step
        if np.abs(step).max() < 1e-9:
            break
    return values[:locations], values[locations:]


def _held_out(
    logits: Floats, truth: Labels, fitted: Callable[[Floats, Labels], tuple[Floats, Floats]]
) -> Floats:
    """Probabilities (proteins, locations) of each protein by a calibration fitted on the other folds."""
    folds = folds_of(truth)
    probabilities = np.empty(logits.shape)
    for fold in np.unique(folds):
        held, rest = folds == fold, folds != fold
        if not rest.any():  # a single protein: nothing else to fit on
            rest = held
        probabilities[held] = softmax(scaled(logits[held], *fitted(logits[rest], truth[rest])))
    return probabilities


def folds_of(truth: Labels) -> Labels:
    """A fold for each protein, the same every time; each location is spread evenly over them."""
    shuffled = np.random.default_rng(0).permutation(len(truth))
    by_location = shuffled[np.argsort(truth[shuffled], kind="stable")]
    folds = np.empty(len(truth), dtype=np.int64)
    folds[by_location] = np.arange(len(truth)) % FOLDS
    return folds


def threshold(confidence: Floats, right: NDArray[np.bool_], accuracy: float = CERTAIN_ACCURACY) -> float:
    """The lowest confidence, to 0.01, at and above which answers are right at least this often.

    1 where no confidence is enough: then every answer is uncertain.
    """
    for step in range(100):
        certain = confidence >= step / 100
        if certain.any() and right[certain].mean() >= accuracy:
            return step / 100
    return 1.0
