"""Answers of a model beside the truth, for figures to be computed from.

Where a protein may have several locations, an answer is right if it names each of them and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.proteins.labelled import LabelledProtein
from model.proteins.training_data import memberships
from model.serving import several as of_several

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Answered:
    """A model's answers beside the truth, a row a protein."""

    probabilities: Floats  # (proteins, locations)
    membrane: Floats  # (proteins)
    truth: Labels  # (proteins), index of the location, the first of several
    bound: Floats  # (proteins), 1 bound, 0 soluble, MEMBRANE_UNKNOWN
    lengths: Labels  # (proteins), residues
    places: Bools | None = None  # (proteins, locations), all true ones, where a protein may have several
    thresholds: Floats | None = None  # (locations), from which on a location is named; with `places`

    @classmethod
    def of(
        cls,
        probabilities: Floats,
        membrane: Floats,
        proteins: Sequence[LabelledProtein],
        thresholds: Sequence[float] | None = None,
        *,
        several: bool = False,
    ) -> Answered:
        """Answers to `proteins`, in their order; `thresholds` of a model of several locations a protein.

        Logits of such a model are `several` before it has any.
        """
        answers = np.asarray(probabilities, dtype=np.float64)
        several = several or thresholds is not None
        return cls(
            answers,
            np.asarray(membrane, dtype=np.float64),
            np.array([protein.location for protein in proteins], dtype=np.int64),
            np.array([protein.membrane for protein in proteins], dtype=np.float64),
            np.array([len(protein.sequence) for protein in proteins], dtype=np.int64),
            memberships(proteins, answers.shape[1]) if several else None,
            None if thresholds is None else np.asarray(thresholds, dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.truth)

    def only(self, chosen: Bools) -> Answered:
        """The rows where `chosen` (proteins) is true."""
        return replace(
            self,
            probabilities=self.probabilities[chosen],
            membrane=self.membrane[chosen],
            truth=self.truth[chosen],
            bound=self.bound[chosen],
            lengths=self.lengths[chosen],
            places=None if self.places is None else self.places[chosen],
        )

    @property
    def memberships(self) -> Bools:
        """Truth by protein and location (proteins, locations)."""
        if self.places is not None:
            return self.places
        table = np.zeros(self.probabilities.shape, dtype=np.bool_)
        table[np.arange(len(self)), self.truth] = True
        return table

    @property
    def named(self) -> Bools:
        """The locations that the answers name (proteins, locations)."""
        if self.thresholds is not None:
            return of_several.named(self.probabilities, self.thresholds)
        table = np.zeros(self.probabilities.shape, dtype=np.bool_)
        table[np.arange(len(self)), self.predicted] = True
        return table

    @property
    def predicted(self) -> Labels:
        """The most probable location of each protein."""
        named: Labels = self.probabilities.argmax(axis=1)
        return named

    @property
    def confidence(self) -> Floats:
        """The probability that an answer is right: its location, or all that it names and no other."""
        if self.thresholds is not None:
            return of_several.confidence(self.probabilities, self.named)
        best: Floats = self.probabilities.max(axis=1)
        return best

    @property
    def right(self) -> Bools:
        """True where the named location is the true one, or all are and no other, as an array (proteins,)."""
        hits: Bools = self.predicted == self.truth
        if self.thresholds is not None:
            hits = (self.named == self.memberships).all(axis=1)
        return hits

    def confusion(self) -> Floats:
        """Counts (locations, locations): a row a true location, a column a named one.

        Of proteins in several locations, each pair of a true and a named one is counted.
        """
        return self.memberships.astype(np.float64).T @ self.named
