"""Calibration: from a network's logits to probabilities that can be taken at their word.

Fitted on validation proteins when training ends (`judging/calibrating.py`), kept in the artifact under
`calibration`, applied by serving (`Calibration.apply`). Beside each answer stands the smallest set of
locations that holds the truth nine times in ten: the most probable ones, up to a reach fitted so on
validation (adaptive prediction sets: Romano, Sesia & Candès, NeurIPS 2020, arXiv:2006.02544). Imports numpy
only: this file travels in an artifact's `code/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


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
    return mass_before(probabilities) < reach[:, None]


def mass_before(probabilities: Floats) -> Floats:
    """The probability (proteins, locations) of all locations that come before each, by probability."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.empty_like(ranked)
    np.put_along_axis(before, order, np.cumsum(ranked, axis=1) - ranked, axis=1)
    return before


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
