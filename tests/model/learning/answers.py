"""Answers that are known beforehand."""

from __future__ import annotations

import numpy as np

from model.learning.validation import Answers
from model.proteins.labelled import LOCATIONS, LabelledProtein


def sure(proteins: list[LabelledProtein]) -> Answers:
    """Logits that name each protein's own location, and its membrane where that is known."""
    logits = np.full((len(proteins), len(LOCATIONS)), -2.0)
    logits[np.arange(len(proteins)), [protein.location for protein in proteins]] = 2.0
    return logits, np.array([4.0 if protein.membrane == 1 else -4.0 for protein in proteins])
