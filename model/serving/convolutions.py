"""Convolutions along a protein: as images one pixel high, and as look-ups where the input is few tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def convolve(layer: nn.Module, hidden: Tensor) -> Tensor:
    """A convolution (an `nn.Conv1d`) along (batch, tokens, channels), which stays in that order all the way.

    As `layer` itself computes it, but as an image one pixel high: this is the form that oneDNN's fast
    kernels take channels last.
    """
    assert isinstance(layer, nn.Conv1d)
    image = hidden.transpose(1, 2).unsqueeze(2)  # (batch, channels, 1, tokens)
    kernel, padding = layer.weight.unsqueeze(2), (0, int(layer.padding[0]))
    return nn.functional.conv2d(image, kernel, layer.bias, padding=padding).squeeze(2).transpose(1, 2)


def pair_table(embeddings: Tensor, stem: nn.Conv1d) -> Tensor:
    """A stem over embeddings (vocabulary, hidden) as a table (rows, hidden), whose input `pair_rows` names.

    There are so few tokens that each can be multiplied with the kernel beforehand, and so can each two that
    stand side by side: a convolution of nine then is five look-ups. The token itself is added to the output
    of the kernel, as `ProteinClassifier.inputs` does.
    """
    places = torch.einsum("vi,oik->kvo", embeddings, stem.weight)  # (width, vocabulary, hidden)
    assert stem.bias is not None
    places[len(places) // 2] += embeddings + stem.bias
    pairs = [places[at][:, None] + places[at + 1][None] for at in range(0, len(places) - 1, 2)]
    return torch.cat([*(pair.flatten(0, 1) for pair in pairs), places[-1]])


def pair_rows(ids: Tensor, width: int, vocabulary: int, padding: int) -> Tensor:
    """The rows (batch * tokens, (width + 1) / 2) of `pair_table` whose sum is a stem's output for ids."""
    tokens = ids.shape[1]
    around = nn.functional.pad(ids, (width // 2, width // 2), value=padding)
    pairs = around[:, :-1] * vocabulary + around[:, 1:]
    rows = [pairs[:, at : at + tokens] + at // 2 * vocabulary**2 for at in range(0, width - 1, 2)]
    rows.append(around[:, width - 1 :] + width // 2 * vocabulary**2)
    return torch.stack(rows, dim=2).flatten(0, 1)
