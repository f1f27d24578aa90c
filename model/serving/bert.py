"""BERT's configuration, and a BERT of embeddings alone, both without importing `transformers`.

Names, defaults and the order in which weights are drawn are those of transformers' BertConfig and BertModel:
either reads the files of the other, and a seed gives the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class BertSettings(SimpleNamespace):
    """The configuration of a BERT by transformers' names, with all else in its config.json."""

    DEFAULTS: Mapping[str, Any] = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }

    def __init__(self, **values: Any) -> None:
        super().__init__(**{**self.DEFAULTS, **values})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BertSettings:
        """Build a configuration from the values of a config.json; defaults stand for missing ones."""
        return cls(**values)

    @classmethod
    def read(cls, folder: Path) -> BertSettings:
        """Read a folder's config.json."""
        return cls.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))

    def to_dict(self) -> dict[str, Any]:
        """Return all values by their names."""
        return dict(vars(self))

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json into a folder, as transformers' configurations do."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True)
        (folder / "config.json").write_text(f"{text}\n", encoding="utf-8")


@dataclass(frozen=True)
class Hidden:
    """An encoder's output, by the name that transformers gives it."""

    last_hidden_state: Tensor  # (batch, tokens, hidden)


class Embeddings(nn.Module):
    """Words, their positions and the kind of their sentence, summed and normalised: a BERT's lowest part."""

    position_ids: Tensor

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        size = settings.hidden_size
        self.word_embeddings = nn.Embedding(settings.vocab_size, size, padding_idx=settings.pad_token_id)
        self.position_embeddings = nn.Embedding(settings.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(settings.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=settings.layer_norm_eps)
        self.dropout = nn.Dropout(settings.hidden_dropout_prob)
        positions = torch.arange(settings.max_position_embeddings)
        self.register_buffer("position_ids", positions, persistent=False)
        with torch.no_grad():
            for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
                table.weight.normal_(0.0, settings.initializer_range)
                if table.padding_idx is not None:
                    table.weight[table.padding_idx].zero_()

    def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None) -> Tensor:
        """Hidden states (batch, tokens, hidden) of ids (batch, tokens), or of their embeddings."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        positions = self.position_embeddings(self.position_ids[: words.shape[1]])
        summed = words + self.token_type_embeddings.weight[0] + positions
        result: Tensor = self.dropout(self.LayerNorm(summed))
        return result


class _NoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ModuleList()


class ShallowBert(nn.Module):
    """A BERT without layers, called as a BertModel is."""

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        self.config = settings
        self.embeddings = Embeddings(settings)
        self.encoder = _NoLayers()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Hidden:
        """As `Embeddings`; the mask changes nothing: no token looks at another."""
        return Hidden(self.embeddings(input_ids, inputs_embeds))
