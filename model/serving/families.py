"""The kinds of pretrained encoder that a classifier is built on: those of proteins with one token a residue.

BERT (ProtBERT, ProtBERT-BFD), ESM-1b and ESM-2, ESM-C, and the encoder of a T5 (ProtT5). The differences
between them are here: classes, the names of their parts, how far they read. BERT's layers also run over
packed tokens (`packed.py`); the others' by their own code, over padded batches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.serving.bert import BertSettings, ShallowBert
from model.serving.upstream import from_transformers

UNBOUNDED = 1 << 20  # residues; of encoders whose positions are relative


@dataclass(frozen=True)
class Family:
    """One kind of encoder, by the names that transformers gives its parts."""

    name: str  # `model_type` of a config.json
    config: str
    model: str
    layers: str  # where its layers are
    embeddings: str
    adapted: tuple[str, ...]  # of a layer, the parts with adapters beside them
    options: Mapping[str, Any] = field(default_factory=dict)  # of its construction
    unused: tuple[str, ...] = ()  # parts that no answer depends on: left out
    tied: Mapping[str, str] = field(default_factory=dict)  # weights that are others' under a second name
    packs: bool = False  # whether `packed.py` runs it


# Queries and values alone, as in LoRA's first experiments, learn less.
_BERT_LAYER = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="bert",
            config="BertConfig",
            model="BertModel",
            layers="encoder.layer",
            embeddings="embeddings",
            adapted=_BERT_LAYER,
            options={"add_pooling_layer": False},
            packs=True,
        ),
        Family(
            name="esm",
            config="EsmConfig",
            model="EsmModel",
            layers="encoder.layer",
            embeddings="embeddings",
            adapted=_BERT_LAYER,
            options={"add_pooling_layer": False},
            unused=("contact_head",),
        ),
        Family(
            name="esmc",
            config="EsmcConfig",
            model="EsmcModel",
            layers="layers",
            embeddings="embed_tokens",
            adapted=tuple(f"self_attn.{name}_proj" for name in "qkvo"),
        ),
        Family(
            name="t5",
            config="T5Config",
            model="T5EncoderModel",
            layers="encoder.block",
            embeddings="shared",
            adapted=tuple(f"layer.0.SelfAttention.{name}" for name in "qkvo"),
            tied={"encoder.embed_tokens.weight": "shared.weight"},
        ),
    )
}


def family_of(config: Any) -> Family:
    """The family of an encoder's configuration, ours or one of transformers."""
    return FAMILIES[str(config.model_type)]


def read_config(folder: Path) -> Any:
    """The configuration in a folder; raises ValueError for an encoder of no known family."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "bert")
    if kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ValueError(f"expected an encoder of type {known} in {folder}, found {kind!r}")
    if kind == "bert":
        return BertSettings.read(folder)
    return from_transformers(FAMILIES[kind].config).from_pretrained(folder, local_files_only=True)


def build(config: Any) -> Any:
    """An encoder of this configuration with random weights."""
    family = family_of(config)
    if isinstance(config, BertSettings):
        if not config.num_hidden_layers:
            return ShallowBert(config)
        config = from_transformers(family.config).from_dict(config.to_dict())
    return without_unused(from_transformers(family.model)(config, **family.options), family)


def without_unused(encoder: Any, family: Family) -> Any:
    """The encoder without its unused parts: several processes would wait for their gradients."""
    for name in family.unused:
        setattr(encoder, name, nn.Identity())
    return encoder


def layers_of(encoder: Any) -> nn.ModuleList:
    """The encoder's layers, from below."""
    layers = encoder.get_submodule(family_of(encoder.config).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def embeddings_of(encoder: Any) -> nn.Module:
    """The parts below its layers."""
    part: nn.Module = encoder.get_submodule(family_of(encoder.config).embeddings)
    return part


def max_residues(config: Any) -> int:
    """The number of residues it has positions for, besides the token before and the token after them."""
    if config.model_type == "t5":
        return UNBOUNDED
    positions = int(config.max_position_embeddings)
    # ESM-1b's positions begin after that of padding: transformers' create_position_ids_from_input_ids.
    absolute = config.model_type == "esm" and config.position_embedding_type == "absolute"
    return positions - 2 - (int(config.pad_token_id) + 1 if absolute else 0)


def keys_seen(ids: Tensor, mask: Tensor, config: Any) -> Tensor:
    """The tokens (batch, tokens) that others attend to.

    A T5 learned without a token before the residues: there the place that ours have for it is out of sight.
    """
    if config.model_type != "t5":
        return mask
    seen = mask.clone()
    seen[:, 0] = 0
    return seen
