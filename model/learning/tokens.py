"""Proteins as token ids, in batches, whole or as fragments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.proteins.fragments import crop
from model.serving.substitution import Mutator
from model.serving.tokens import Ids, ResidueTokenizer


class Tokens:
    """Proteins as token ids, in batches; `mutator` redraws residues in training only."""

    def __init__(
        self,
        rows: Sequence[Ids],
        tokenizer: ResidueTokenizer,
        max_tokens: int,
        mutator: Mutator | None = None,
    ) -> None:
        """`rows` are proteins as `tokenizer.encode` gives them."""
        self.rows, self.tokenizer, self.max_tokens, self.mutator = rows, tokenizer, max_tokens, mutator
        self.sizes: NDArray[np.int64] = np.array([len(row) for row in rows])

    def batch(self, chosen: Sequence[int], seed: Sequence[int] = ()) -> tuple[Tensor, ...]:
        """Ids and mask (batch, tokens); mutations are a function of `seed` and the protein's index."""
        return self._padded([self.rows[index] for index in chosen], chosen, seed)

    def fragments(self, chosen: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, ...]:
        """Ids and mask of one fragment of each chosen protein, drawn as its mutations are."""
        rows = [crop(self.rows[index], (*seed, index)) for index in chosen]
        return self._padded(rows, chosen, seed)

    def _padded(self, rows: list[Ids], chosen: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, ...]:
        if self.mutator is not None and seed:
            rows = [self.mutator.mutate(row, (*seed, index)) for row, index in zip(rows, chosen, strict=True)]
        ids, mask = self.tokenizer.pad(rows, self.max_tokens)
        return torch.from_numpy(ids), torch.from_numpy(mask)
