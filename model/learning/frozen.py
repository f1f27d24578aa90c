"""The part of a network that stands still while the rest learns, and the part that is trained above it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from model.serving.classifier import POOLING, ProteinClassifier, attention_mask
from model.serving.families import embeddings_of, family_of, layers_of
from model.serving.packed import through

Still = int | Literal["pooling"]  # layers from below that do not move, or all up to the head's pooling


class Upper(nn.Module):
    """The trainable part of a classifier, fed with the output of its frozen part."""

    def __init__(self, classifier: ProteinClassifier, still: Still) -> None:
        super().__init__()
        self.classifier, self.still = classifier, still
        self.width = frozen_width(classifier, still)

    def forward(self, frozen: Tensor, mask: Tensor, numbers: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (batch, locations) and membrane logits (batch) of a batch from `Activations.batch`."""
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
