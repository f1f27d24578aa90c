"""Activations of frozen layers, computed once and read every epoch.

Embeddings and the first layers of an encoder that do not move (and drop nothing out) give the same hidden
states for a protein every time. They are computed once and kept on disk in bf16, 2 x hidden size bytes a
token (2,048 for ProtBERT); `frozen.Upper` trains the layers above. Where the head's pooling does not move
either, its output for a protein is kept instead, as one token. Members of an ensemble lie side by side, and
the numbers that its compositions read stay in memory. The file has no name once it is full, so nothing is
left behind, however the run ends. Processes of one machine fill and read the same file.
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
from torch import Tensor

from model.learning.distribution import Processes
from model.learning.frozen import Still, frozen_width, lower, pooled
from model.learning.tokens import Tokens
from model.serving.bert import BertSettings
from model.serving.classifier import POOLING, ProteinClassifier
from model.serving.composition import number_table
from model.serving.families import family_of, layers_of
from model.serving.packed import PackedEncoder
from model.serving.tokens import SPECIAL_TOKENS, pack_by_length, padded_length

BYTES_PER_NUMBER = 2  # of a bf16 number
SPARE_DISK_BYTES = 256 << 20  # bytes of the disk that are left to others


class DiskSpaceError(OSError):
    """The activations do not fit on the disk; says how much they need and how much is free."""


class Activations:
    """Proteins as the outputs of frozen parts, in batches."""

    def __init__(
        self,
        stored: NDArray[np.int16],
        sizes: NDArray[np.int64],
        max_tokens: int,
        *,
        pooled: bool = False,
        numbers: Tensor | None = None,
    ) -> None:
        """`stored` holds the bits of bf16 numbers, protein after protein: (tokens, width), or if `pooled`
        (proteins, width). `numbers` (proteins, composition.SIZE) are for an ensemble's compositions.
        """
        self.stored, self.sizes, self.max_tokens = stored, sizes, max_tokens
        self.pooled, self.numbers = pooled, numbers
        self.counts = np.ones_like(sizes) if pooled else sizes
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])

    def batch(self, chosen: Sequence[int], seed: Sequence[int] = ()) -> tuple[Tensor, ...]:
        """Stored activations (batch, tokens, width), mask (batch, tokens), and numbers, if any."""
        longest = 1 if self.pooled else padded_length(int(self.sizes[list(chosen)].max()), self.max_tokens)
        values = np.zeros((len(chosen), longest, self.stored.shape[1]), dtype=np.int16)
        mask = np.zeros((len(chosen), longest), dtype=np.int64)
        for row, index in enumerate(chosen):
            start, count = self.starts[index], self.counts[index]
            values[row, :count] = self.stored[start : start + count]
            mask[row, :count] = 1
        batch = torch.from_numpy(values).view(torch.bfloat16), torch.from_numpy(mask)
        return batch if self.numbers is None else (*batch, self.numbers[list(chosen)])


def require_space(folder: Path, needed: int) -> None:
    """Raise DiskSpaceError unless `needed` bytes and some to spare are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_DISK_BYTES:
        raise DiskSpaceError(
            f"expected {(needed + SPARE_DISK_BYTES) / 1e9:.2f} GB free in {folder} for the activations of "
            f"the frozen layers, found {free / 1e9:.2f} GB; give another --activations-dir, fewer "
            f"--training-residues, or --activations computed"
        )


def compute(
    classifier: ProteinClassifier,
    still: Still,
    parts: Sequence[Tokens],
    processes: Processes,
    *,
    folder: Path,
    precision: str,
    token_budget: int,
) -> list[Activations]:
    """The activations of every part's proteins after the frozen layers; each process computes its share."""
    counts = [len(part.sizes) if still == POOLING else int(part.sizes.sum()) for part in parts]
    width = frozen_width(classifier, still) * len(classifier.members())
    shape = (sum(counts), width)
    folder.mkdir(parents=True, exist_ok=True)
    # Every process of a machine arrives at the same name, and two runs on one machine at different ones.
    starter = os.getppid() if processes.world > 1 else os.getpid()
    run = f"{starter} {os.environ.get('MASTER_PORT')} {shape}"
    path = folder / f"activations-{hashlib.sha256(run.encode()).hexdigest()[:16]}.bf16"
    if processes.local_rank == 0:
        size = shape[0] * shape[1] * BYTES_PER_NUMBER
        require_space(folder, size)
        with path.open("wb") as file:
            # Blocks are taken now: a disk that fills up later would end the process without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
    processes.wait()
    try:
        stored = np.memmap(path, dtype=np.int16, mode="r+", shape=shape)
    finally:
        processes.wait()  # all have it open: its name can go, and with the last process its blocks do
        if processes.local_rank == 0:
            path.unlink()
    computed, start = [], 0
    for part, count in zip(parts, counts, strict=True):
        activations = Activations(
            stored[start : start + count],
            part.sizes,
            part.max_tokens,
            pooled=still == POOLING,
            numbers=number_table(part.rows) if len(classifier.compositions) else None,
        )
        _fill(classifier, still, part, activations, processes, precision, token_budget)
        computed.append(activations)
        start += count
    processes.wait()
    return computed


@torch.no_grad()
def _fill(
    classifier: ProteinClassifier,
    still: Still,
    part: Tokens,
    activations: Activations,
    processes: Processes,
    precision: str,
    token_budget: int,
) -> None:
    classifier.eval()
    members = [
        _answering(network, still, part.max_tokens, processes, precision) for network in classifier.members()
    ]
    order = np.argsort(part.sizes, kind="stable").tolist()
    packs = pack_by_length((part.sizes - SPECIAL_TOKENS).tolist(), order, token_budget)
    for pack in packs[processes.local_rank :: processes.local_world]:
        ids, mask = (each.to(processes.device) for each in part.batch(pack))
        outputs = torch.cat([give(ids, mask) for give in members], dim=2)
        bits = outputs.to(torch.bfloat16).view(torch.int16).cpu().numpy()
        for row, index in enumerate(pack):
            activations.stored[activations.starts[index] : activations.starts[index + 1]] = bits[
                row, : activations.counts[index]
            ]


def _answering(
    network: ProteinClassifier, still: Still, max_tokens: int, processes: Processes, precision: str
) -> Callable[[Tensor, Tensor], Tensor]:
    """`lower`, on a CPU by the encoder that serves: it only answers, and is the faster for it."""
    if processes.device.type == "cpu" and network.stem is None and family_of(network.config).packs:
        layers = len(layers_of(network.encoder)) if still == POOLING else still
        config = BertSettings.from_dict(network.config.to_dict() | {"num_hidden_layers": layers})
        with processes.autocast(precision):
            bf16 = torch.is_autocast_enabled("cpu")
        weights = network.encoder.state_dict()
        encoder = PackedEncoder(
            config,
            weights.__getitem__,
            max_tokens=max_tokens,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            device=processes.device,
        )

        def packed(ids: Tensor, mask: Tensor) -> Tensor:
            hidden: Tensor = encoder(ids, mask).last_hidden_state
            with processes.autocast(precision):
                return pooled(network, hidden, mask) if still == POOLING else hidden

        return packed

    def padded(ids: Tensor, mask: Tensor) -> Tensor:
        with processes.autocast(precision):
            return lower(network, still, ids, mask)

    return padded
