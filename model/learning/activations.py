"""Activations of frozen layers, computed once and read every epoch.

Embeddings and the first layers of an encoder that do not move (and drop nothing out) give the same hidden
states for a protein every time. They are computed once and kept on disk in bf16, 2 x hidden size bytes a
token (2,048 for ProtBERT); `Upper` trains what stands above. Where the head's pooling does not move either,
what it makes of a protein is kept instead, as of one token. Members of an ensemble lie side by side, and the
numbers that its compositions read stay in memory. The file has no name once it is full, so nothing is left
behind, however the run ends. Processes of one machine fill and read the same file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.learning.distribution import Processes
from model.proteins.fragments import crop
from model.serving.bert import BertSettings
from model.serving.classifier import POOLING, ProteinClassifier, attention_mask
from model.serving.composition import number_table
from model.serving.families import embeddings_of, family_of, layers_of
from model.serving.packed import PackedEncoder, through
from model.serving.substitution import Mutator
from model.serving.tokens import SPECIAL_TOKENS, Ids, ResidueTokenizer, pack_by_length, padded_length

BYTES = 2  # of a bf16 number
SPARE = 256 << 20  # bytes of the disk that are left to others
Still = int | Literal["pooling"]  # layers from below that do not move, or all up to the head's pooling


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


class Activations:
    """Proteins as what frozen parts gave them, in batches."""

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


class Upper(nn.Module):
    """A classifier above what is frozen of it, fed with what that gave."""

    def __init__(self, classifier: ProteinClassifier, still: Still) -> None:
        super().__init__()
        self.classifier, self.still = classifier, still
        self.width = frozen_width(classifier, still)

    def forward(self, frozen: Tensor, mask: Tensor, numbers: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (batch, locations) and membrane logits (batch) of what `Activations.batch` gives."""
        if not torch.is_autocast_enabled(frozen.device.type):
            frozen = frozen.float()  # under autocast it stays in bf16, which spares half the memory's traffic
        parts = torch.split(frozen, self.width, dim=2)
        answers = []
        for network, part in zip(self.classifier.members(), parts, strict=True):
            logits = self.above(network, part, mask).float()
            answers.append((logits[:, :-1], logits[:, -1]))
        return self.classifier.unite(answers, numbers)

    def above(self, network: ProteinClassifier, activations: Tensor, mask: Tensor) -> Tensor:
        """Logits (batch, locations + 1) of one member."""
        if self.still == POOLING:
            logits: Tensor = network.head.answer(activations[:, 0])
            return logits
        layers = layers_of(network.encoder)[self.still :]
        if not len(layers):
            logits = network.head(activations * mask[..., None].to(activations.dtype), mask)
            return logits
        # Packing leaves padding out, but knows no dropout within attention and recomputes nothing.
        packs = not network.config.attention_probs_dropout_prob and not any(
            getattr(layer, "gradient_checkpointing", False) for layer in layers
        )
        if packs and activations.device.type == "cpu":
            activations = through(layers, activations, mask)
        else:
            seen = attention_mask(mask, network.encoder.config)
            for layer in layers:
                activations = layer(activations, seen)
        logits = network.head(activations * mask[..., None].to(activations.dtype), mask)
        return logits


def frozen_width(classifier: ProteinClassifier, still: Still) -> int:
    """Numbers that the frozen part of one network gives a token, or a protein if it ends with the pooling."""
    return classifier.head.pooled_size if still == POOLING else int(classifier.config.hidden_size)


def still_part(classifier: ProteinClassifier) -> Still | None:
    """The part whose output never changes: a number of layers from below, or POOLING.

    None where not even the embeddings do, or where the members of an ensemble are not frozen alike.
    """
    parts = {_still_part(network) for network in classifier.members()}
    return parts.pop() if len(parts) == 1 else None


def _still_part(network: ProteinClassifier) -> Still | None:
    below = [embeddings_of(network.encoder), *([] if network.stem is None else [network.stem])]
    if _moves(*below):
        return None
    layers = layers_of(network.encoder)
    still = 0
    while still < len(layers) and not _moves(layers[still]):
        still += 1
    if not family_of(network.config).packs and _moves(network.encoder):
        return None  # its layers do not run by themselves
    last = {id(value) for value in network.head.answer.parameters()}
    pooling = [value for value in network.head.parameters() if id(value) not in last]
    if still == len(layers) and not any(value.requires_grad for value in pooling):
        return POOLING
    return still


def _moves(*parts: nn.Module) -> bool:
    return any(value.requires_grad for part in parts for value in part.parameters())


def begin_training(classifier: ProteinClassifier) -> None:
    """Training mode, but for the parts that do not move: these drop nothing out."""
    classifier.train()
    for network in classifier.members():
        for part in (embeddings_of(network.encoder), *layers_of(network.encoder)):
            if not _moves(part):
                part.eval()


def lower(network: ProteinClassifier, still: Still, ids: Tensor, mask: Tensor) -> Tensor:
    """Compute one network's frozen part (batch, tokens, width); one token where it ends pooled."""
    encoder = network.encoder
    if not family_of(network.config).packs:
        hidden = network.encode(ids, mask)
        return pooled(network, hidden, mask) if still == POOLING else hidden
    hidden = encoder.embeddings(**network.inputs(ids, mask))
    seen = attention_mask(mask, encoder.config)
    for layer in encoder.encoder.layer[: None if still == POOLING else still]:
        hidden = layer(hidden, seen)
    return pooled(network, hidden, mask) if still == POOLING else hidden


def pooled(network: ProteinClassifier, hidden: Tensor, mask: Tensor) -> Tensor:
    """Pool the encoder's hidden states (batch, tokens, hidden) as the head does: (batch, 1, pooled size)."""
    return network.head.pool(hidden * mask[..., None].to(hidden.dtype), mask)[0][:, None]


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
    still: Still,
    parts: Sequence[Tokens],
    processes: Processes,
    *,
    folder: Path,
    precision: str,
    token_budget: int,
) -> list[Activations]:
    """The activations of every part's proteins after what is `still`; each process computes its share."""
    counts = [len(part.sizes) if still == POOLING else int(part.sizes.sum()) for part in parts]
    width = frozen_width(classifier, still) * len(classifier.members())
    shape = (sum(counts), width)
    folder.mkdir(parents=True, exist_ok=True)
    # Every process of a machine arrives at the same name, and two runs on one machine at different ones.
    starter = os.getppid() if processes.world > 1 else os.getpid()
    run = f"{starter} {os.environ.get('MASTER_PORT')} {shape}"
    path = folder / f"activations-{hashlib.sha256(run.encode()).hexdigest()[:16]}.bf16"
    if processes.local_rank == 0:
        size = shape[0] * shape[1] * BYTES
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
