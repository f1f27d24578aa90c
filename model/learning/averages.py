"""The running average of the weights that move: it is measured and kept instead of the last step's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential average beside the moving weights; frozen ones are not copied."""

    def __init__(self, moving: Mapping[str, nn.Parameter]) -> None:
        self._moving = moving
        self.values: dict[str, Tensor] = {name: value.detach().clone() for name, value in moving.items()}

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move a step toward the current weights."""
        for name, value in self._moving.items():
            self.values[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over the values of these names; others are left alone."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Within, the network has the averaged weights; afterwards its own again, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, value in self._moving.items():
            value.data, self.values[name] = self.values[name], value.data
