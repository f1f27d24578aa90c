"""LoRA: small matrices beside an encoder's attention, trained instead of it and added to it when saved.

Hu et al. (2021), arXiv:2106.09685, by the `peft` library, which only a run with `--lora-rank` needs. What
is saved is an ordinary encoder: serving knows nothing of adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from model.serving.classifier import ProteinClassifier
from model.serving.families import family_of, layers_of


def add_adapters(classifier: ProteinClassifier, rank: int, frozen: int) -> None:
    """Hold the encoder still but for adapters of `rank` in its layers from `frozen` on; the head moves."""
    from peft import LoraConfig, inject_adapter_in_model

    family, layers = family_of(classifier.config), len(layers_of(classifier.encoder))
    if frozen >= layers:
        raise ValueError(
            f"expected layers that move for --lora-rank, found {frozen} of {layers} frozen; "
            f"give fewer --frozen-layers or no --lora-rank"
        )
    targets = [
        f"{family.layers}.{layer}.{name}" for layer in range(frozen, layers) for name in family.adapted
    ]
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)
    inject_adapter_in_model(settings, classifier.encoder)  # freezes what it does not add
    if classifier.stem is not None:
        classifier.stem.requires_grad_(False)


@contextmanager
def merged(classifier: ProteinClassifier) -> Iterator[None]:
    """Within, adapters are part of the weights beside them; afterwards all is as before, to the bit."""
    adapted: list[tuple[nn.Module, str, Any, torch.Tensor]] = []
    for owner in list(classifier.encoder.modules()):
        children: list[tuple[str, Any]] = list(owner.named_children())
        for name, child in children:
            if hasattr(child, "get_delta_weight"):
                base = child.get_base_layer()
                adapted.append((owner, name, child, base.weight.data))
                base.weight.data = base.weight.data + child.get_delta_weight("default").to(base.weight.dtype)
                setattr(owner, name, base)
    try:
        yield
    finally:
        for owner, name, child, weight in adapted:
            child.get_base_layer().weight.data = weight
            setattr(owner, name, child)
