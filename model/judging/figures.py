"""Figures: how good answers are, as pure functions over arrays. Needs numpy only.

Counting figures are functions of a confusion matrix (truth, predicted), and all figures take any number of
leading dimensions, so that a thousand resamples (`bootstrap.py`) are measured by the code that measures
one. A figure that its proteins cannot tell (the recall of a location without any) is NaN, None in JSON.

Where a protein may have several locations, an answer is right if it names each of them and no other
(`answered.py`), and each location is counted by itself, against the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.judging.answered import Answered, Bools, Floats, Labels
from model.proteins.labelled import MEMBRANE_UNKNOWN
from model.serving import several as of_several

BINS = 15  # equally wide, of a calibration error; as in DeepLoc's successors and the calibration papers
# Residues, both ends in: the article reads 510, the shipped model 2,046.
LENGTH_BANDS = ((1, 200), (201, 510), (511, 1000), (1001, 2046), (2047, None))
TRUNCATED_FROM = 511  # the first length that the article's recipe cuts
HEADLINE = ("q10", "macro_f1", "mcc", "membrane_q2", "ece", "membrane_ece", "log_loss")
BY_LOCATION = ("precision", "recall", "f1", "mcc")


def confusion(truth: Labels, predicted: Labels, locations: int) -> Floats:
    """Counts (..., locations, locations) of pairs (..., proteins): a row a true location."""
    cells = truth * locations + predicted
    flat = cells.reshape(-1, cells.shape[-1])
    offsets = np.arange(len(flat))[:, None] * locations**2
    counts = np.bincount((flat + offsets).ravel(), minlength=len(flat) * locations**2)
    return counts.reshape(*cells.shape[:-1], locations, locations).astype(np.float64)


def accuracy(counts: Floats) -> Floats:
    """The share of proteins whose location is right; over ten locations this is the field's Q10."""
    return _share(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def by_location(counts: Floats) -> dict[str, Floats]:
    """Precision, recall, F1 and Matthews correlation of each location against the rest (..., locations).

    Precision is NaN for a location never named, recall for one that no protein has, F1 where both hold. The
    correlation of a location that is never named or never true is 0, as is usual.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _against_the_rest(hits, counts.sum(axis=-1), counts.sum(axis=-2), counts.sum(axis=(-2, -1)))


def _against_the_rest(hits: Floats, true: Floats, named: Floats, total: Floats) -> dict[str, Floats]:
    """The same of counts (..., locations) and the number of proteins (...)."""
    total = total[..., None]
    scale = np.sqrt(true * (total - true)) * np.sqrt(named * (total - named))
    return {
        "precision": _share(hits, named),
        "recall": _share(hits, true),
        "f1": _share(2 * hits, true + named),
        "mcc": np.nan_to_num(_share(hits * total - true * named, scale)),
    }


def macro_f1(counts: Floats) -> Floats:
    """The mean F1 over the locations that occur, each counting alike."""
    occurs = counts.sum(axis=-1) > 0
    scores = np.where(occurs, np.nan_to_num(by_location(counts)["f1"]), 0.0)
    return _share(scores.sum(axis=-1), occurs.sum(axis=-1))


def correlation(counts: Floats) -> Floats:
    """Gorodkin's R_K, the Matthews correlation of many classes; 0 where only one is named or true.

    Source: J. Gorodkin, Comput. Biol. Chem. 28 (2004) 367.
    """
    true, named, total = counts.sum(axis=-1), counts.sum(axis=-2), counts.sum(axis=(-2, -1))
    hits = np.trace(counts, axis1=-2, axis2=-1)
    scale = np.sqrt(total**2 - (named**2).sum(axis=-1)) * np.sqrt(total**2 - (true**2).sum(axis=-1))
    return np.nan_to_num(_share(hits * total - (true * named).sum(axis=-1), scale))


def bin_sums(
    confidence: Floats, right: NDArray[Any], counted: NDArray[Any] | None = None
) -> tuple[Floats, Floats, Floats]:
    """Proteins, summed confidence and right answers (..., BINS) in equally wide bins of confidence.

    Of proteins (..., proteins); those where `counted` is false are in no bin.
    """
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    flat = place.reshape(-1, place.shape[-1])
    index = (flat + np.arange(len(flat))[:, None] * BINS).ravel()
    weight = np.ones(place.shape) if counted is None else counted.astype(np.float64)

    def summed(values: Floats) -> Floats:
        sums = np.bincount(index, weights=values.ravel(), minlength=len(flat) * BINS)
        return sums.astype(np.float64).reshape(*place.shape[:-1], BINS)

    return summed(weight), summed(weight * confidence), summed(weight * right)


def calibration_error(confidence: Floats, right: NDArray[Any], counted: NDArray[Any] | None = None) -> Floats:
    """ECE of (..., proteins): the gap of confidence to accuracy in each bin, weighed by its proteins."""
    proteins, confident, correct = bin_sums(confidence, right, counted)
    return _share(np.abs(confident - correct).sum(axis=-1), proteins.sum(axis=-1))


def figures(answered: Answered, rows: Labels) -> dict[str, Floats]:
    """The figures of each of several samples: `rows` (samples, proteins) are indices into `answered`.

    Those of `HEADLINE` come as (samples,), those of `BY_LOCATION` as (samples, locations) under
    `location_<name>`.
    """
    truth, confidence, right = answered.truth, answered.confidence, answered.right
    if answered.thresholds is not None:
        return _of_several(answered, rows)
    counts = confusion(truth[rows], answered.predicted[rows], answered.probabilities.shape[1])
    of_truth = answered.probabilities[np.arange(len(truth)), truth]
    return {
        "q10": accuracy(counts),
        "macro_f1": macro_f1(counts),
        "mcc": correlation(counts),
        **_of_membrane(answered, rows),
        "ece": calibration_error(confidence[rows], right[rows]),
        "log_loss": -np.log(of_truth + 1e-12)[rows].mean(axis=-1),
    } | {f"location_{name}": values for name, values in by_location(counts).items()}


def _of_several(answered: Answered, rows: Labels) -> dict[str, Floats]:
    """The same where a protein may have several locations.

    `q10` is the share of answers that are right as a whole, macro-F1 and the correlation are means over the
    locations that occur, each against the rest, and the log loss is the sum over the locations.
    """
    truth, named = answered.memberships, answered.named
    drawn = np.stack([np.bincount(sample, minlength=len(answered)) for sample in rows]).astype(np.float64)
    hits, true = drawn @ (truth & named), drawn @ truth  # (samples, locations)
    of_locations = _against_the_rest(hits, true, drawn @ named, drawn.sum(axis=-1))
    occurs, right = true > 0, answered.right
    losses = of_several.log_losses(answered.probabilities, truth)

    def mean(values: Floats) -> Floats:
        return _share(np.where(occurs, np.nan_to_num(values), 0.0).sum(axis=-1), occurs.sum(axis=-1))

    return {
        "q10": right[rows].mean(axis=-1),
        "macro_f1": mean(of_locations["f1"]),
        "mcc": mean(of_locations["mcc"]),
        **_of_membrane(answered, rows),
        "ece": calibration_error(answered.confidence[rows], right[rows]),
        "log_loss": losses[rows].mean(axis=-1),
    } | {f"location_{name}": values for name, values in of_locations.items()}


def overlap(answered: Answered) -> float | None:
    """The mean Jaccard index of named and true locations: those in both by those in either."""
    truth, named = answered.memberships, answered.named
    return rounded(((truth & named).sum(axis=1) / (truth | named).sum(axis=1)).mean())


def _of_membrane(answered: Answered, rows: Labels) -> dict[str, Floats]:
    """Membrane Q2, the share of right calls at 0.5, and its ECE; proteins of unknown label count nowhere."""
    known = (answered.bound != MEMBRANE_UNKNOWN) & ~np.isnan(answered.membrane)  # a model may know none
    call = answered.membrane >= 0.5
    right = (call == (answered.bound == 1.0)) & known
    confidence = np.where(known, np.where(call, answered.membrane, 1 - answered.membrane), 0.0)
    return {
        "membrane_q2": _share(right[rows].sum(axis=-1), known[rows].sum(axis=-1)),
        "membrane_ece": calibration_error(confidence[rows], right[rows], known[rows]),
    }


def point(answered: Answered) -> dict[str, Any]:
    """All figures of the proteins as they are: (), and (locations,) for those by location."""
    return {
        name: values[0]
        for name, values in figures(answered, np.arange(len(answered), dtype=np.int64)[None]).items()
    }


def reliability(answered: Answered) -> list[dict[str, Any]]:
    """Each bin of confidence that holds proteins: its edges, proteins, mean confidence and accuracy."""
    proteins, confident, correct = bin_sums(answered.confidence, answered.right)
    return [
        {
            "from": rounded(index / BINS),
            "to": rounded((index + 1) / BINS),
            "proteins": int(proteins[index]),
            "confidence": rounded(confident[index] / proteins[index]),
            "accuracy": rounded(correct[index] / proteins[index]),
        }
        for index in np.flatnonzero(proteins)
    ]


def accuracy_by_rank(confidence: Floats, right: Bools) -> tuple[Floats, Floats]:
    """Confidences, highest first, and the accuracy of the answers up to each: answers given first.

    Equally confident answers count each as their mean, so that their order does not matter.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group, sizes = np.unique(confidence[order], return_inverse=True, return_counts=True)
    mean = np.bincount(group, weights=right[order].astype(np.float64)) / sizes
    return confidence[order], np.cumsum(mean[group]) / np.arange(1, len(order) + 1)


def abstention(answered: Answered, points: int = 20) -> dict[str, Any]:
    """Accuracy against the share answered, when the least confident are left unanswered.

    `area` is the mean accuracy over all shares (1 is perfect; Q10 itself when confidence says nothing).
    """
    confidence, accuracies = accuracy_by_rank(answered.confidence, answered.right)
    ranks = np.unique(np.ceil(np.linspace(1 / points, 1, points) * len(accuracies)).astype(int))
    curve = [
        {
            "share": rounded(rank / len(accuracies)),
            "accuracy": rounded(accuracies[rank - 1]),
            "confidence": rounded(confidence[rank - 1]),
        }
        for rank in ranks
    ]
    return {"area": rounded(accuracies.mean()), "points": curve}


def uncertain(answered: Answered, below: float) -> dict[str, Any]:
    """The effect of the threshold `below`: the share of certain answers, and the accuracy of each kind."""
    certain = answered.confidence >= below
    return {
        "below": below,
        "certain_share": rounded(certain.mean()),
        "certain_accuracy": rounded(answered.right[certain].mean() if certain.any() else np.nan),
        "uncertain_accuracy": rounded(answered.right[~certain].mean() if not certain.all() else np.nan),
    }


def mistakes(answered: Answered, most: int = 20) -> list[tuple[int, float]]:
    """Row and confidence of the most confident wrong answers, worst first."""
    confidence = answered.confidence
    wrong = np.flatnonzero(~answered.right)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [(int(row), rounded(confidence[row]) or 0.0) for row in worst]


def rounded(value: Any) -> float | None:
    """To 4 decimals as JSON holds it; None if it is no finite number."""
    number = float(value)
    return round(number, 4) if np.isfinite(number) else None


def _share(part: Any, whole: Any) -> Floats:
    """`part / whole`, NaN where the whole is 0."""
    above, below = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    shares: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return shares
