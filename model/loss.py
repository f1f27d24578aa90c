"""What learning makes small: how wrong the named locations are, and the membrane where it is known."""

from __future__ import annotations

from torch import Tensor, nn

from model.data import MEMBRANE_UNKNOWN

MEMBRANE_WEIGHT = 0.5  # of the membrane loss beside the location loss


def summed_loss(
    locations: Tensor, bound: Tensor, truth: Tensor, membrane: Tensor, weights: Tensor, smoothing: float
) -> Tensor:
    """The loss summed over proteins: location, and membrane where it is known.

    Shapes: locations (batch, locations), bound, truth and membrane (batch), weights (locations).
    """
    by_class = nn.functional.cross_entropy(locations, truth, reduction="none", label_smoothing=smoothing)
    known = (membrane != MEMBRANE_UNKNOWN).float()
    by_membrane = nn.functional.binary_cross_entropy_with_logits(bound, membrane * known, reduction="none")
    return (by_class * weights[truth]).sum() + MEMBRANE_WEIGHT * (by_membrane * known).sum()
