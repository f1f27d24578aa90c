"""The loss: the error of the locations, of the membrane where it is known, and the weight of each location.

Of a run that goes on from a model that knows something already also how far it leaves that model's answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.proteins.labelled import LOCATIONS, MEMBRANE_UNKNOWN, LabelledProtein
from model.proteins.training_data import memberships

MEMBRANE_WEIGHT = 0.5  # of the membrane loss beside the location loss
PRIOR_PROTEINS, LEAST_SHARE = 50, 1e-3  # of `location_shift`


def summed_loss(
    locations: Tensor, bound: Tensor, truth: Tensor, membrane: Tensor, weights: Tensor, smoothing: float
) -> Tensor:
    """The loss summed over proteins: location, and membrane where it is known.

    Shapes: locations (batch, locations), bound, truth and membrane (batch), weights (locations). Where a
    protein may have several locations, truth is 1 or 0 (batch, locations), and each is learned by itself.
    """
    known = (membrane != MEMBRANE_UNKNOWN).float()
    by_membrane = nn.functional.binary_cross_entropy_with_logits(bound, membrane * known, reduction="none")
    of_membrane = MEMBRANE_WEIGHT * (by_membrane * known).sum()
    if truth.ndim > 1:
        softened = truth * (1 - smoothing) + smoothing / 2
        by_label = nn.functional.binary_cross_entropy_with_logits(locations, softened, reduction="none")
        return (by_label * weights).sum() + of_membrane
    by_class = nn.functional.cross_entropy(locations, truth, reduction="none", label_smoothing=smoothing)
    return (by_class * weights[truth]).sum() + of_membrane


def summed_distance(
    locations: Tensor,
    bound: Tensor,
    taught_locations: Tensor,
    taught_bound: Tensor,
    *,
    several: bool = False,
) -> Tensor:
    """Sum over proteins the distance between answers and a teacher's; all are logits, as of `summed_loss`.

    The Kullback-Leibler divergence from the teacher's probabilities: 0 where both answer alike. Hinton,
    Vinyals & Dean (2015), arXiv:1503.02531; against forgetting: Li & Hoiem (2016), arXiv:1606.09282. With
    `several` locations a protein it is summed over the locations, each yes or no.
    """
    if several:
        by_location = _binary_distance(locations, taught_locations)
    else:
        by_location = nn.functional.kl_div(
            locations.log_softmax(dim=1),
            taught_locations.log_softmax(dim=1),
            log_target=True,
            reduction="sum",
        )
    return by_location + MEMBRANE_WEIGHT * _binary_distance(bound, taught_bound)


def _binary_distance(logits: Tensor, taught: Tensor) -> Tensor:
    """The same divergence of answers that are yes or no, summed over all of them."""
    target = taught.sigmoid()
    entropy = nn.functional.binary_cross_entropy_with_logits(taught, target, reduction="sum")
    return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") - entropy


@dataclass(frozen=True)
class Goal:
    """The goal of a run: the labels it learns, and how much it keeps of the model that it began with."""

    truth: Tensor  # (proteins): their locations; or (proteins, locations), where they may have several
    membrane: Tensor  # (proteins)
    weights: Tensor  # (locations)
    smoothing: float
    shift: Tensor  # (locations): of `location_shift`
    taught: tuple[Tensor, Tensor] | None  # the first model's logits (proteins, locations) and (proteins)
    distillation: float  # share of the loss that is the distance from these

    def summed_loss(self, locations: Tensor, bound: Tensor, chosen: Sequence[int]) -> Tensor:
        """The loss of logits (batch, locations) and (batch) for the `chosen` proteins, summed over these."""
        rows = list(chosen)
        loss = summed_loss(
            locations + self.shift,
            bound,
            self.truth[rows],
            self.membrane[rows],
            self.weights,
            self.smoothing,
        )
        if self.taught is None:
            return loss
        taught_locations, taught_bound = (each[rows] for each in self.taught)
        several = self.truth.ndim > 1
        distance = summed_distance(locations, bound, taught_locations, taught_bound, several=several)
        return torch.lerp(loss, distance, self.distillation)


def class_weights(
    proteins: Sequence[LabelledProtein], balance: float, locations: int = len(LOCATIONS)
) -> NDArray[np.float32]:
    """A loss weight per location (locations,): (mean count / count) ** balance, averaging 1 a protein.

    0 weighs every protein alike, 1 every location alike; a location without proteins weighs 0. Of proteins in
    several locations each counts once in each of them.
    """
    counts = Counter(place for protein in proteins for place in protein.places)
    whole = counts.total()
    raw = np.array(
        [(whole / locations / counts[i]) ** balance if counts[i] else 0.0 for i in range(locations)]
    )
    total = sum(raw[location] * count for location, count in counts.items())
    weights: NDArray[np.float32] = (raw * whole / total).astype(np.float32)
    return weights


def location_shift(
    proteins: Sequence[LabelledProtein], usual: Sequence[float], *, several: bool = False
) -> NDArray[np.float32]:
    """The shift of each location's logit (locations,) from its `usual` share to that among `proteins`.

    Added to the logits while they are learned, it explains the effect of these proteins' selection on the
    locations' frequencies, so that the logits themselves need not: from a hundred nuclear proteins nobody
    learns that the cell is all nucleus. `PRIOR_PROTEINS` more, of the usual kind, keep it finite. Menon et
    al., ICLR 2021, arXiv:2007.07314. Where a protein may have several locations, the share of each is that of
    the proteins which have it, and its logit that of yes against no.
    """
    if several:
        before = np.clip(np.asarray(usual, dtype=np.float64), LEAST_SHARE, 1 - LEAST_SHARE)
        having = memberships(proteins, len(usual)).sum(axis=0)
        now = (having + PRIOR_PROTEINS * before) / (len(proteins) + PRIOR_PROTEINS)
        odds: NDArray[np.float32] = np.log(now / (1 - now) * (1 - before) / before).astype(np.float32)
        return odds
    counts = np.bincount([protein.location for protein in proteins], minlength=len(usual))
    expected = np.maximum(np.asarray(usual, dtype=np.float64), LEAST_SHARE)
    expected /= expected.sum()
    smoothed = counts + PRIOR_PROTEINS * expected
    shift: NDArray[np.float32] = np.log(smoothed / smoothed.sum() / expected).astype(np.float32)
    return shift
