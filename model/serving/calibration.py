"""Calibration: from a network's logits to probabilities that can be taken at their word.

Fitted on validation proteins when training ends (`fit`), kept in the artifact under `calibration`, applied
by serving (`Calibration.apply`). Two methods for the ten locations, chosen by cross-validation: one
temperature for all, which never changes which location is named, or a scale and a shift for each (vector
scaling), which also corrects a location that is named too often. Where a model looks up relatives
(`relatives.py`), proteins with a near one, a distant one and none have a temperature each. Membrane has one.
Beside each answer stands the smallest set of locations that holds the truth `SET_SHARE` of the time: the most
probable ones, up to a reach fitted so on validation (adaptive prediction sets: Romano, Sesia & Candès,
NeurIPS 2020, arXiv:2006.02544). Imports numpy only: this file travels in an artifact's `code/`. Source of
temperatures: Guo et al., ICML 2017, arXiv:1706.04599.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

FOLDS = 5
LEAST_PROTEINS = 20  # of each location in validation, for a scale and a shift of its own
PRIOR = 10.0  # how strongly vector scaling is held to the one temperature; as a penalty on squared steps
LEAST_OF_A_KIND = 100  # proteins in validation, for a temperature and a reach of their own
SET_SHARE = 0.9  # how often a set of locations is to hold the true one
CERTAIN_ACCURACY = 0.8  # how often answers that are not called uncertain are to be right


@dataclass(frozen=True)
class Calibration:
    """A model's calibration: logits to probabilities, and the confidence that makes an answer certain."""

    location_scale: Floats  # (locations), or (kinds, locations)
    location_shift: Floats  # of the same shape
    membrane_scale: float | None  # None: nothing is known of membranes
    uncertain_below: float | None = None
    reach: Floats | None = None  # (kinds): the probability that a set of locations collects
    label_temperatures: Floats | None = None  # (locations), of a model of several locations a protein

    @classmethod
    def read(cls, description: Mapping[str, Any], locations: int) -> Calibration:
        """Read an artifact's `calibration`; older artifacts have temperatures only."""
        of_labels = description.get("label_temperatures")
        if of_labels is not None:
            description = {"location_temperature": 1.0, **description}
        scale = description.get("location_scale", [1 / description["location_temperature"]] * locations)
        shift = description.get("location_shift", [0.0] * locations)
        if by_kind := description.get("temperature_by_relative"):
            scale = [[1 / temperature] * locations for temperature in by_kind]
            shift = [[0.0] * locations for _ in by_kind]
        reach = description.get("reach_by_relative")
        return cls(
            np.array(scale, dtype=np.float64),
            np.array(shift, dtype=np.float64),
            None if description["membrane_temperature"] is None else 1 / description["membrane_temperature"],
            description.get("uncertain_below"),
            None if reach is None else np.array(reach, dtype=np.float64),
            None if of_labels is None else np.array(of_labels, dtype=np.float64),
        )

    def apply(
        self, locations: Floats, membrane: Floats, kinds: Labels | None = None
    ) -> tuple[Floats, Floats]:
        """Probabilities (proteins, locations), rows summing to 1, and (proteins), of logits of these shapes.

        Where a protein may have several locations, each is a probability of its own and rows sum to anything.
        `kinds` (proteins) are indices of `relatives.KINDS`, for a model that looks up relatives. Logits that
        are not finite give NaN in their own row, and a model that learned nothing of membranes NaN for every
        protein's.
        """
        scale, shift = self.location_scale, self.location_shift
        if scale.ndim > 1:
            rows = np.zeros(len(locations), dtype=np.int64) if kinds is None else kinds
            scale, shift = scale[rows], shift[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            if self.label_temperatures is None:
                calibrated = softmax(scaled(locations, scale, shift))
            else:
                calibrated = logistic(locations / self.label_temperatures)
            membrane_scale = np.nan if self.membrane_scale is None else self.membrane_scale
            bound = logistic(membrane * membrane_scale)
        return calibrated, bound


def sets(probabilities: Floats, reach: Floats) -> NDArray[np.bool_]:
    """The locations (proteins, locations) of each protein's set, of calibrated probabilities of this shape.

    The most probable ones, one after the other, until they collect the protein's `reach` (proteins).
    """
    return _before(probabilities) < reach[:, None]


def _before(probabilities: Floats) -> Floats:
    """The probability (proteins, locations) of all locations that come before each, by probability."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.empty_like(ranked)
    np.put_along_axis(before, order, np.cumsum(ranked, axis=1) - ranked, axis=1)
    return before


def fit_reach(probabilities: Floats, truth: Labels, share: float = SET_SHARE) -> float:
    """The least reach at which sets hold the truth this often, also of one protein more."""
    needed = np.sort(_before(probabilities)[np.arange(len(truth)), truth])
    place = min(len(truth), int(np.ceil((len(truth) + 1) * share))) - 1
    return round(float(needed[place]) + 1e-6, 6)


def logistic(logits: Floats) -> Floats:
    """The probability that each of the logits stands for, of any shape."""
    with np.errstate(over="ignore"):
        probabilities: Floats = 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))
    return probabilities


def softmax(logits: Floats) -> Floats:
    """Probabilities (proteins, locations) of logits of the same shape."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def scaled(logits: Floats, scale: Floats, shift: Floats) -> Floats:
    """Logits (proteins, locations), scaled around their row's mean and shifted.

    Only differences between logits carry meaning; taken around the mean, nothing else has an effect.
    """
    logits = np.asarray(logits, dtype=np.float64)
    values: Floats = (logits - logits.mean(axis=1, keepdims=True)) * scale + shift
    return values


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
        fitted = chosen if chosen.sum() >= LEAST_OF_A_KIND else np.ones_like(chosen)
        by_kind.append(fit_temperature(logits[fitted], truth[fitted]))
        reaches.append(fit_reach(softmax(logits[fitted] / by_kind[-1]), truth[fitted]))
        if fitted is chosen:
            probabilities[chosen] = _held_out(logits[chosen], truth[chosen], _by_temperature)
        else:
            probabilities[chosen] = softmax(logits[chosen] / by_kind[-1])
    # The share of proteins with relatives is validation's own; the threshold is to hold without any, too.
    alone = kinds == 0 if (kinds == 0).sum() >= LEAST_OF_A_KIND else np.ones(len(kinds), dtype=np.bool_)
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
    """Fit on validation what an artifact keeps under `calibration`.

    Shapes: logits (proteins, locations), truth (proteins), membrane logits (proteins) and their labels
    `bound` (proteins): 1 bound, 0 soluble, below 0 unknown. Vector scaling is chosen where it is worth its
    parameters on proteins it was not fitted on (`FOLDS` folds): log loss lower by more than one standard
    error, and neither Q10 nor macro-F1 lower. The threshold comes from such held-out probabilities too.
    """
    held_out = {"temperature": _held_out(logits, truth, _by_temperature)}
    if np.bincount(truth, minlength=logits.shape[1]).min() >= LEAST_PROTEINS:
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
        and _macro_f1(vector.argmax(axis=1), truth) >= _macro_f1(plain.argmax(axis=1), truth)
    )


def _macro_f1(named: Labels, truth: Labels) -> float:
    # Here a second time, in five lines, because `figures.py` stays out of an artifact's code.
    size = int(max(named.max(), truth.max())) + 1
    hits = np.bincount(truth[named == truth], minlength=size)
    both = np.bincount(named, minlength=size) + np.bincount(truth, minlength=size)
    return float(np.mean((2 * hits / np.maximum(both, 1))[np.bincount(truth, minlength=size) > 0]))


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
