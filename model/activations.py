"""What frozen layers give, computed once and read every epoch.

Embeddings and the first layers of an encoder that do not move (and drop nothing out) give the same hidden
states for a protein every time. They are computed once and kept on disk in bf16, 2 x hidden size bytes a
token (2,048 for ProtBERT); `Upper` trains what stands above. The file has no name once it is full, so
nothing is left behind, however the run ends. Processes of one machine fill and read the same file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig

from model.classifier import ProteinClassifier, attention_mask
from model.distribution import Processes
from model.packed import PackedEncoder, through
from model.substitution import Mutator
from model.tokens import SPECIAL_TOKENS, Ids, ResidueTokenizer, pack_by_length, padded_length

BYTES = 2  # of a bf16 number
SPARE = 256 << 20  # bytes of the disk that are left to others


class DiskSpaceError(OSError):
    """The activations do not fit on the disk; says how much they need and how much is free."""


class Tokens:
    """Proteins as token ids, in batches; `mutator` redraws residues in training only."""

    def __init__(
        self,
        rows: Sequence[Ids],
        tokenizer: ResidueTokenizer,
        max_tokens: int,
        mutator: Mutator | None = None,
    ) -> None:
        self.rows, self.tokenizer, self.max_tokens, self.mutator = rows, tokenizer, max_tokens, mutator
        self.sizes: NDArray[np.int64] = np.array([len(row) for row in rows])

    def batch(self, chosen: Sequence[int], seed: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Ids and mask (batch, tokens); mutations are a function of `seed` and the protein's index."""
        rows = [self.rows[index] for index in chosen]
        if self.mutator is not None and seed:
            rows = [self.mutator.mutate(row, (*seed, index)) for row, index in zip(rows, chosen, strict=True)]
        ids, mask = self.tokenizer.pad(rows, self.max_tokens)
        return torch.from_numpy(ids), torch.from_numpy(mask)


class Activations:
    """Proteins as the hidden states that frozen layers gave them, in batches."""

    def __init__(self, stored: NDArray[np.int16], sizes: NDArray[np.int64], max_tokens: int) -> None:
        """`stored` (tokens, hidden) holds the bits of bf16 numbers, protein after protein."""
        self.stored, self.sizes, self.max_tokens = stored, sizes, max_tokens
        self.starts = np.concatenate([[0], np.cumsum(sizes)])

    def batch(self, chosen: Sequence[int], seed: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, tokens, hidden) and mask (batch, tokens)."""
        longest = padded_length(int(self.sizes[list(chosen)].max()), self.max_tokens)
        hidden = np.zeros((len(chosen), longest, self.stored.shape[1]), dtype=np.int16)
        mask = np.zeros((len(chosen), longest), dtype=np.int64)
        for row, index in enumerate(chosen):
            start, size = self.starts[index], self.sizes[index]
            hidden[row, :size] = self.stored[start : start + size]
            mask[row, :size] = 1
        return torch.from_numpy(hidden).view(torch.bfloat16), torch.from_numpy(mask)


class Upper(nn.Module):
    """A classifier above its frozen layers, fed with what they gave."""

    def __init__(self, classifier: ProteinClassifier, layers: int) -> None:
        super().__init__()
        self.layers = classifier.encoder.encoder.layer[layers:]
        self.head, self.config = classifier.head, classifier.encoder.config
        # Packing leaves padding out, but knows no dropout within attention and recomputes nothing.
        self.packs = not classifier.config.attention_probs_dropout_prob and not any(
            getattr(layer, "gradient_checkpointing", False) for layer in self.layers
        )

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, locations) and membrane logits (batch) of hidden (batch, tokens, hidden)."""
        if not torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.float()  # under autocast it stays in bf16, which spares half the memory's traffic
        if self.packs and hidden.device.type == "cpu":
            hidden = through(self.layers, hidden, mask)
        else:
            seen = attention_mask(mask, self.config)
            for layer in self.layers:
                hidden = layer(hidden, seen)
        logits = self.head(hidden * mask[..., None].to(hidden.dtype), mask).float()
        return logits[:, :-1], logits[:, -1]


def still_layers(classifier: ProteinClassifier) -> int | None:
    """How many layers from below always give the same: None where not even the embeddings do."""
    if len(classifier.others) or len(classifier.compositions):
        return None  # each member of an ensemble would give its own
    below = [classifier.encoder.embeddings, *([] if classifier.stem is None else [classifier.stem])]
    if any(value.requires_grad for part in below for value in part.parameters()):
        return None
    still = 0
    for layer in classifier.encoder.encoder.layer:
        if any(value.requires_grad for value in layer.parameters()):
            break
        still += 1
    return still


def begin_training(classifier: ProteinClassifier) -> None:
    """Training mode, but for the parts that do not move: these drop nothing out."""
    classifier.train()
    for part in (classifier.encoder.embeddings, *classifier.encoder.encoder.layer):
        if not any(value.requires_grad for value in part.parameters()):
            part.eval()


def lower(classifier: ProteinClassifier, layers: int, ids: Tensor, mask: Tensor) -> Tensor:
    """Hidden states (batch, tokens, hidden) after the embeddings and the first `layers` layers."""
    encoder = classifier.encoder
    hidden: Tensor = encoder.embeddings(**classifier.inputs(ids, mask))
    seen = attention_mask(mask, encoder.config)
    for layer in encoder.encoder.layer[:layers]:
        hidden = layer(hidden, seen)
    return hidden


def require_space(folder: Path, needed: int) -> None:
    """Raise DiskSpaceError unless `needed` bytes and some to spare are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise DiskSpaceError(
            f"expected {(needed + SPARE) / 1e9:.2f} GB free in {folder} for the activations of the frozen "
            f"layers, found {free / 1e9:.2f} GB; give another --activations-dir, fewer --training-residues, "
            f"or --activations computed"
        )


def compute(
    classifier: ProteinClassifier,
    layers: int,
    parts: Sequence[Tokens],
    processes: Processes,
    *,
    folder: Path,
    precision: str,
    token_budget: int,
) -> list[Activations]:
    """The activations of every part's proteins after `layers` layers; each process computes its share."""
    sizes = [part.sizes for part in parts]
    tokens, hidden = int(sum(size.sum() for size in sizes)), int(classifier.config.hidden_size)
    folder.mkdir(parents=True, exist_ok=True)
    # Every process of a machine arrives at the same name, and two runs on one machine at different ones.
    starter = os.getppid() if processes.world > 1 else os.getpid()
    run = f"{starter} {os.environ.get('MASTER_PORT')} {tokens} {hidden}"
    path = folder / f"activations-{hashlib.sha256(run.encode()).hexdigest()[:16]}.bf16"
    if processes.local_rank == 0:
        require_space(folder, tokens * hidden * BYTES)
        with path.open("wb") as file:
            # Blocks are taken now: a disk that fills up later would end the process without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, tokens * hidden * BYTES)
            else:
                file.truncate(tokens * hidden * BYTES)
    processes.wait()
    try:
        stored = np.memmap(path, dtype=np.int16, mode="r+", shape=(tokens, hidden))
    finally:
        processes.wait()  # all have it open: its name can go, and with the last process its blocks do
        if processes.local_rank == 0:
            path.unlink()
    found, start = [], 0
    for part in parts:
        end = start + int(part.sizes.sum())
        _fill(classifier, layers, part, stored[start:end], processes, precision, token_budget)
        found.append(Activations(stored[start:end], part.sizes, part.max_tokens))
        start = end
    processes.wait()
    return found


@torch.no_grad()
def _fill(
    classifier: ProteinClassifier,
    layers: int,
    part: Tokens,
    stored: NDArray[np.int16],
    processes: Processes,
    precision: str,
    token_budget: int,
) -> None:
    classifier.eval()
    give = _answering(classifier, layers, part.max_tokens, processes, precision)
    starts = np.concatenate([[0], np.cumsum(part.sizes)])
    order = np.argsort(part.sizes, kind="stable").tolist()
    packs = pack_by_length((part.sizes - SPECIAL_TOKENS).tolist(), order, token_budget)
    for pack in packs[processes.local_rank :: processes.local_world]:
        ids, mask = part.batch(pack)
        hidden = give(ids.to(processes.device), mask.to(processes.device))
        bits = hidden.to(torch.bfloat16).view(torch.int16).cpu().numpy()
        for row, index in enumerate(pack):
            stored[starts[index] : starts[index + 1]] = bits[row, : part.sizes[index]]


def _answering(
    classifier: ProteinClassifier, layers: int, max_tokens: int, processes: Processes, precision: str
) -> Callable[[Tensor, Tensor], Tensor]:
    """`lower`, on a CPU by the encoder that serves: it only answers, and is the faster for it."""
    if processes.device.type == "cpu" and classifier.stem is None:
        config = BertConfig.from_dict(classifier.config.to_dict() | {"num_hidden_layers": layers})
        with processes.autocast(precision):
            bf16 = torch.is_autocast_enabled("cpu")
        weights = classifier.encoder.state_dict()
        encoder = PackedEncoder(
            config,
            weights.__getitem__,
            max_tokens=max_tokens,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            device=processes.device,
        )

        def packed(ids: Tensor, mask: Tensor) -> Tensor:
            hidden: Tensor = encoder(ids, mask).last_hidden_state
            return hidden

        return packed

    def padded(ids: Tensor, mask: Tensor) -> Tensor:
        with processes.autocast(precision):
            return lower(classifier, layers, ids, mask)

    return padded
