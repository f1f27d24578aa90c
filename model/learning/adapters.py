"""LoRA: small matrices beside an encoder's attention, trained instead of it and added to it when saved.

Hu et al. (2021), arXiv:2106.09685, by the `peft` library, which only a run with `--lora-rank` needs. The
served model is an ordinary encoder: serving knows nothing of adapters. `export` writes them by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
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
    inject_adapter_in_model(settings, classifier.encoder)  # freezes all that it does not add
    if classifier.stem is not None:
        classifier.stem.requires_grad_(False)


def export(classifier: ProteinClassifier, folder: Path, encoder: str | None) -> None:
    """Write the adapters as `PeftModel.from_pretrained(encoder, folder)` reads them, and the head beside.

    Megabytes, where the artifact has the whole encoder. Nothing is written where there are no adapters.
    """
    settings = getattr(classifier.encoder, "peft_config", {}).get("default")
    if settings is None:
        return
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(classifier.encoder, adapter_name="default")
    named = {f"base_model.model.{name}": value.contiguous() for name, value in weights.items()}
    save_file(named, folder / "adapter_model.safetensors")
    save_file(
        {name: value.contiguous() for name, value in classifier.head.state_dict().items()},
        folder / "head.safetensors",
    )
    settings.base_model_name_or_path = encoder
    settings.save_pretrained(folder)


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
