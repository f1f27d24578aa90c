"""Confidence intervals of figures, by bootstrap over proteins. Needs numpy only.

Proteins are drawn with replacement, as many as there are, a thousand times under a fixed seed, and every
figure is measured on each drawing; an interval is the middle 95 % of these values. So an interval covers
other proteins *of this kind*, not other kinds; training another time moves figures too, which no interval
here covers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from model.judging.answered import Answered, Floats, Labels
from model.judging.figures import HEADLINE, calibration_error, figures, point, rounded

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
_INDICES_AT_ONCE = 2_000_000  # 16 MB an array, for any number of proteins
# Drawing the same protein twice tears bins apart, so that these figures grow by resampling alone.
_GROWING = ("ece", "membrane_ece")

Interval = tuple[float | None, float | None]


def drawings(proteins: int, resamples: int, seed: int) -> Iterator[Labels]:
    """Rows (some, proteins) of resamples, `resamples` in all; the same for the same arguments."""
    random = np.random.default_rng(seed)
    block = max(1, _INDICES_AT_ONCE // max(proteins, 1))
    for start in range(0, resamples, block):
        yield random.integers(proteins, size=(min(block, resamples - start), proteins))


def resampled(answered: Answered, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Floats]:
    """Every figure on every resample: (resamples,) or (resamples, locations)."""
    parts = [figures(answered, rows) for rows in drawings(len(answered), resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(values: Floats, *, around: float | None = None) -> Interval:
    """The middle 95 % of `values`, those that cannot be told left out; moved so that its mean is `around`."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None, None
    shift = 0.0 if around is None else around - float(finite.mean())
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + shift
    return rounded(max(low, 0.0) if around is not None else low), rounded(high)


def intervals(answered: Answered, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Any]:
    """The interval of each headline figure, and a list of them, one a location, for those by location.

    Calibration errors are positive by construction and resampling inflates them; their intervals are moved
    back by that much and end at 0.
    """
    estimate, samples = point(answered), resampled(answered, resamples, seed)
    return {
        name: [interval(column) for column in values.T]
        if values.ndim == 2
        else interval(values, around=float(estimate[name]) if name in _GROWING else None)
        for name, values in samples.items()
    }


def error_by_chance(answered: Answered, resamples: int = RESAMPLES) -> Interval:
    """The ECE of a model that is right exactly as often as it says, on this few proteins: mean and 95 %.

    An ECE below the second number is no evidence of miscalibration at all.
    """
    random = np.random.default_rng(SEED)
    confidence = answered.confidence
    block = max(1, _INDICES_AT_ONCE // max(len(confidence), 1))
    errors = np.concatenate(
        [
            calibration_error(
                np.broadcast_to(confidence, (some, len(confidence))),
                random.random((some, len(confidence))) < confidence,
            )
            for some in (min(block, resamples - start) for start in range(0, resamples, block))
        ]
    )
    return rounded(errors.mean()), rounded(np.quantile(errors, LEVEL))


def compare(
    champion: Answered, challenger: Answered, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Two models on the same proteins: each headline figure of both, its difference and interval.

    Both are measured on the same resamples, so the difficulty of a protein for both cancels out. A difference
    is challenger - champion (for errors and losses less is better). `recall` holds the differences by
    location, in their order. Raises ValueError when the proteins are not the same.
    """
    same = (
        np.array_equal(champion.truth, challenger.truth)
        and np.array_equal(champion.bound, challenger.bound)
        and np.array_equal(champion.lengths, challenger.lengths)
    )
    if not same:
        raise ValueError("expected both models' answers to the same proteins, found others")
    old, new = point(champion), point(challenger)
    samples = resampled(champion, resamples, seed), resampled(challenger, resamples, seed)

    pairs = {name: (old[name], new[name], samples[0][name], samples[1][name]) for name in old}
    recalls = zip(*(values.T for values in pairs["location_recall"]), strict=True)
    return {name: _difference(*pairs[name]) for name in HEADLINE} | {
        "recall": [_difference(*values) for values in recalls]
    }


def _difference(before: Floats, after: Floats, first: Floats, second: Floats) -> dict[str, Any]:
    return {
        "champion": rounded(before),
        "challenger": rounded(after),
        "difference": rounded(after - before),
        "interval": interval(second - first),
    }
