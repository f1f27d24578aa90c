"""Heads: they pool the hidden states of an encoder's tokens into the logits of the locations and of membrane.

Hidden states of padding are zero, and no pooling sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.serving.convolutions import convolve


@dataclass(frozen=True)
class HeadSettings:
    """All that is needed to build a head again; kept in artifact.json.

    `n_terminal` and `c_terminal` cut the ends of a protein into segments that are pooled on their own:
    (12, 30) means the first 12 tokens and the 18 that follow.
    """

    kind: str = "convolution-attention"
    kernel_sizes: tuple[int, ...] = (9,)
    channels: int = 256
    attentions: int = 6
    hidden: int = 128
    dropout: float = 0.25
    n_terminal: tuple[int, ...] = ()
    c_terminal: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("kernel_sizes", "n_terminal", "c_terminal"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list when it comes from JSON
        if self.kind not in HEADS:
            raise ValueError(f"expected a head of kind {' or '.join(HEADS)}, found {self.kind!r}")
        if any(size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"expected odd kernel sizes, found {self.kernel_sizes}")
        for bounds in (self.n_terminal, self.c_terminal):
            if list(bounds) != sorted(set(bounds)) or min(bounds, default=1) < 1:
                raise ValueError(f"expected segments' ends in rising order, found {bounds}")

    def describe(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


def segments(bounds: Sequence[int]) -> list[tuple[int, int]]:
    """The segments (start, end) that end at `bounds`, from 0 on."""
    return list(zip((0, *bounds), bounds, strict=False))


class ConvolutionAttentionHead(nn.Module):
    """Motifs by convolution, then pooling by several attentions over the tokens (after Light Attention).

    Attention finds a signal wherever it is, the maximum says whether a motif occurs at all and the mean gives
    the composition of the protein. Where the settings name segments of the ends, maximum and mean are taken
    of each as well: signal and transit peptides begin a protein, KDEL and SKL end it, and a few thousand
    examples do not teach attention to count. Stärk et al., Bioinformatics Advances 1 (2021) vbab035.
    """

    def __init__(self, size: int, locations: int, settings: HeadSettings) -> None:
        super().__init__()
        self.motifs = nn.ModuleList(
            nn.Conv1d(size, settings.channels, width, padding=width // 2) for width in settings.kernel_sizes
        )
        features = settings.channels * len(settings.kernel_sizes)
        self.score = nn.Conv1d(features, settings.attentions, 1)
        self.starts, self.ends = segments(settings.n_terminal), segments(settings.c_terminal)
        self.pooled_size = (settings.attentions + 2 + 2 * len(self.starts + self.ends)) * features
        self.answer = nn.Sequential(
            nn.LayerNorm(self.pooled_size),
            nn.Dropout(settings.dropout),
            nn.Linear(self.pooled_size, settings.hidden),
            nn.GELU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, locations + 1),
        )

    @property
    def dtype(self) -> torch.dtype:
        """The numbers in which motifs are searched for; see `ProteinClassifier.narrow`."""
        return next(self.motifs.parameters()).dtype

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Logits (batch, locations + 1) of hidden states (batch, tokens, hidden), zero where masked."""
        return self.look(hidden, mask)[0]

    def look(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and each attention's shares (batch, attentions, tokens), which sum to 1."""
        pooled, shares = self.pool(hidden, mask)
        return self.answer(pooled), shares

    def pool(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool hidden states as `answer` reads them (batch, pooled size), and attentions, as of `look`."""
        seen = hidden if self.dtype == torch.float32 else hidden.to(self.dtype)
        motifs = torch.cat([convolve(motif, seen) for motif in self.motifs], dim=2)
        # Never negative, so that padding set to zero changes neither a maximum nor a sum.
        values = motifs.relu() * mask[..., None].to(motifs.dtype)  # (batch, tokens, features)
        scores = convolve(self.score, values).float().masked_fill(mask[..., None] == 0, -torch.inf)
        shares = scores.softmax(dim=1).transpose(1, 2)  # (batch, attentions, tokens)
        lengths = mask.sum(dim=1)
        pooled = [(shares.to(values.dtype) @ values).float().flatten(1), *pool(values, lengths)]
        for start, end in self.starts:
            pooled += pool(values[:, start:end], lengths - start)
        if self.ends:
            last = torch.arange(self.ends[-1][1], device=mask.device)  # counted from the last token
            places = lengths[:, None] - 1 - last
            tail = values.gather(1, places.clamp(min=0)[..., None].expand(-1, -1, values.shape[2]))
            tail = tail * (places >= 0)[..., None].to(values.dtype)
            for start, end in self.ends:
                pooled += pool(tail[:, start:end], lengths - start)
        return torch.cat(pooled, dim=1), shares


def pool(values: Tensor, present: Tensor) -> list[Tensor]:
    """Maximum and mean (batch, features) of the first `present` (batch) of values (batch, tokens, features).

    Values are zero beyond them and nowhere negative; where nothing is present both are zero. The two are in
    fp32 for values of any precision.
    """
    if not values.shape[1]:  # a batch of proteins shorter than the segment begins
        return [values.new_zeros(values.shape[0], values.shape[2], dtype=torch.float32)] * 2
    count = present.clamp(min=1, max=values.shape[1])
    return [values.amax(dim=1).float(), values.sum(dim=1, dtype=torch.float32) / count[:, None]]


class LinearHead(nn.Module):
    """The article's head, for comparison: one linear layer on the first token's hidden state."""

    def __init__(self, size: int, locations: int, settings: HeadSettings) -> None:
        super().__init__()
        self.pooled_size = size
        self.answer = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(size, locations + 1))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Logits (batch, locations + 1) of hidden states (batch, tokens, hidden)."""
        return self.look(hidden, mask)[0]

    def look(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """As `forward`; this head attends to nothing."""
        pooled, shares = self.pool(hidden, mask)
        return self.answer(pooled), shares

    def pool(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """Pool hidden states into the input of `answer` (batch, hidden)."""
        return hidden[:, 0], None


HEADS: dict[str, type[ConvolutionAttentionHead] | type[LinearHead]] = {
    "convolution-attention": ConvolutionAttentionHead,
    "linear": LinearHead,
}
