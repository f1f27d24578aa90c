"""The network: an encoder of `transformers` and a head that pools its tokens into two answers.

Guarantees that padding never reaches an answer: hidden states of padding are set to zero before anything
looks beyond its own token, and no pooling sees them. Outputs are plain logits, without a squashing
function before the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.serving import composition, substitution
from model.serving.bert import BertSettings
from model.serving.composition import CompositionNetwork, CompositionSettings
from model.serving.convolutions import convolve, pair_rows, pair_table
from model.serving.families import (
    build,
    embeddings_of,
    family_of,
    keys_seen,
    layers_of,
    read_config,
    without_unused,
)
from model.serving.heads import HEADS, ConvolutionAttentionHead, HeadSettings
from model.serving.tokens import PROTEIN_VOCABULARY
from model.serving.upstream import from_transformers

WEIGHTS = "model.safetensors"
POOLING: Final = "pooling"  # all that a network does up to its head's last layers


def attention_mask(mask: Tensor, config: Any) -> Tensor:
    """Turn a mask (batch, tokens) into the one that an encoder of `config` takes, or a BERT's layers alone.

    Four dimensions (batch, heads, queries, keys), which transformers hands on as it is: the fused attention
    broadcasts it, where a mask of two would be written out at (batch, 1, tokens, tokens).
    """
    if not family_of(config).packs:  # it makes its own
        return mask
    seen = mask[:, None, None, :] != 0
    if getattr(config, "_attn_implementation", None) == "eager":  # which adds its mask to the scores
        return torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, -torch.inf)
    return seen


class ProteinClassifier(nn.Module):
    """Encoder and head; `config.stem_kernel_size` above 0 adds a convolution over the word embeddings.

    The stem shows a shallow encoder each residue with its neighbours, which a deep one learns by itself;
    ProtBERT-like encoders have none. `config.ensemble_size` above 1 makes it an ensemble: it and `others` of
    its kind, trained apart (`ensemble.py`), whose probabilities are averaged; `config.compositions` adds
    networks that see the composition of a protein (`composition.py`) instead of the sequence.
    """

    def __init__(self, config: Any, locations: int, head: HeadSettings) -> None:
        super().__init__()
        self.config, self.head_settings, self.locations = config, head, locations
        self.encoder = build(config)
        self.halved = False  # whether the weights are those of bf16
        width = getattr(config, "stem_kernel_size", 0)
        size: int = config.hidden_size
        self.stem = nn.Conv1d(size, size, width, padding=width // 2) if width else None
        self.stem_table: Tensor | None
        self.register_buffer("stem_table", None, persistent=False)
        self.head = HEADS[head.kind](size, locations, head)
        alone = type(config).from_dict(config.to_dict() | {"ensemble_size": 1, "compositions": []})
        others = range(getattr(config, "ensemble_size", 1) - 1)
        self.others = nn.ModuleList(ProteinClassifier(alone, locations, head) for _ in others)
        self.compositions = nn.ModuleList(
            CompositionNetwork(locations, CompositionSettings(**settings))
            for settings in getattr(config, "compositions", ())
        )

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Location logits (batch, locations) and membrane logits (batch) of ids and mask (batch, tokens)."""
        return self.answer(ids, mask)[:2]

    def answer(
        self, ids: Tensor, mask: Tensor, numbers: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `forward`, and the heads' attentions (batch, attentions, tokens), None if they have none.

        The proteins' `numbers` (batch, composition.SIZE) are computed here if they are needed and not given.
        """
        members = [network.answer_alone(ids, mask) for network in self.members()]
        if numbers is None and len(self.compositions):
            numbers = composition.describe_tokens(ids, mask)
        locations, bound = self.unite([member[:2] for member in members], numbers)
        shares = [member[2] for member in members if member[2] is not None]
        return locations, bound, torch.cat(shares, dim=1) if shares else None

    def unite(
        self, answers: Sequence[tuple[Tensor, Tensor]], numbers: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The ensemble's logits, as of `forward`, from each member's and the proteins' numbers.

        Numbers are (batch, composition.SIZE); needed only where there are compositions.
        """
        answers = [*answers, *(network(numbers) for network in self.compositions)]
        if len(answers) == 1:
            return answers[0]
        # Logits again, of the mean of the members' probabilities.
        locations = torch.stack([each[0].log_softmax(dim=1) for each in answers])
        bound = torch.stack([each[1].sigmoid() for each in answers])
        together = locations.logsumexp(dim=0) - math.log(len(answers))
        return together, torch.logit(bound.mean(dim=0), eps=1e-6)

    def members(self) -> list[ProteinClassifier]:
        """The networks of an ensemble, itself first; only itself where it is none."""
        return [self, *(other for other in self.others if isinstance(other, ProteinClassifier))]

    def answer_alone(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `answer`, of this network without the others."""
        hidden = self.encode(ids, mask)
        logits, shares = self.head.look(hidden * mask[..., None].to(hidden.dtype), mask)
        return logits[:, :-1].float(), logits[:, -1].float(), shares

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The encoder's last hidden states (batch, tokens, hidden); those of padding mean nothing."""
        seen = attention_mask(keys_seen(ids, mask, self.encoder.config), self.encoder.config)
        hidden: Tensor = self.encoder(**self.inputs(ids, mask), attention_mask=seen).last_hidden_state
        return hidden

    def inputs(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The input of the encoder: the ids, or the output of the stem for their embeddings."""
        if self.stem is None:
            return {"input_ids": ids}
        if self.stem_table is not None:
            vocabulary, padding = self.config.vocab_size, int(self.config.pad_token_id or 0)
            seen = ids.masked_fill(mask == 0, padding)
            rows = pair_rows(seen, self.stem.weight.shape[2], vocabulary, padding)
            looked_up = nn.functional.embedding_bag(rows, self.stem_table, mode="sum")
            return {"inputs_embeds": looked_up.view(*ids.shape, -1)}
        words = self.encoder.embeddings.word_embeddings(ids) * mask[..., None]  # (batch, tokens, hidden)
        return {"inputs_embeds": words + convolve(self.stem, words)}

    @torch.no_grad()
    def tabulate(self) -> None:
        """Look the stem up in a table of its present weights from now on: for serving, not for training."""
        for network in self.members():
            if network.stem is not None:
                embeddings = network.encoder.embeddings.word_embeddings.weight.clone()
                embeddings[int(network.config.pad_token_id or 0)] = 0  # as padding is masked
                network.stem_table = pair_table(embeddings, network.stem)

    def narrow(self) -> None:
        """Search for motifs in bf16 from now on: the products of the head, with its sums still in fp32."""
        for network in self.members():
            if isinstance(network.head, ConvolutionAttentionHead):
                network.head.motifs.to(torch.bfloat16)
                network.head.score.to(torch.bfloat16)

    def freeze(self, layers: int | str) -> None:
        """Hold the embeddings and the first `layers` encoder layers still.

        "all" holds the encoder, "pooling" also the head before its last layers.
        """
        every = layers_of(self.encoder)
        total = len(every)
        whole = layers in ("all", POOLING)
        if not whole and not (isinstance(layers, int) and 0 <= layers <= total):
            raise ValueError(f"expected 'all', 'pooling' or 0 to {total} frozen layers, found {layers!r}")
        if layers:
            # Embeddings too: left trainable they would send the backward pass through every frozen layer.
            stem = [] if self.stem is None else [self.stem]
            still = every[: None if whole else int(layers)]
            for part in (embeddings_of(self.encoder), *stem, *still):
                part.requires_grad_(False)
        if whole:
            self.encoder.requires_grad_(False)
        if layers == POOLING:
            self.head.requires_grad_(False)
            self.head.answer.requires_grad_(True)
        for other in self.members()[1:]:
            other.freeze(layers)

    def halve(self) -> None:
        """Round the weights of all layers to bf16, in which `save` then writes them; they stay in fp32."""
        self.halved = True
        for value in self.parameters():
            if value.dim() > 1:  # single numbers cost nothing, and some are sums of large and small
                value.data = value.data.bfloat16().float()

    def save(self, folder: Path) -> None:
        """Write `config.json` and the weights (safetensors; no pickle anywhere).

        After `halve`, those of layers are written in bf16.
        """
        self.config.save_pretrained(folder)
        tied = {f"encoder.{name}" for name in family_of(self.config).tied}
        weights = {name: value.contiguous() for name, value in self.state_dict().items() if name not in tied}
        if self.halved:
            weights |= {name: value.bfloat16() for name, value in weights.items() if value.dim() > 1}
        save_file(weights, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # written for its owner alone, but served by another user

    @classmethod
    def load(cls, folder: Path, locations: int, head: HeadSettings) -> ProteinClassifier:
        """The classifier that `save` wrote, ready to answer."""
        classifier, weights = cls(read_config(folder), locations, head), load_file(folder / WEIGHTS)
        for name, other in family_of(classifier.config).tied.items():
            weights[f"encoder.{name}"] = weights[f"encoder.{other}"]
        classifier.load_state_dict(weights)
        return classifier.eval()


def small_config(hidden: int = 128, layers: int = 0, max_residues: int = 2046) -> BertSettings:
    """The embedded encoder: no dropout, which on a CPU costs more than the layer it sits in."""
    return BertSettings(
        vocab_size=len(PROTEIN_VOCABULARY),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(hidden // 64, 1),
        intermediate_size=2 * hidden,
        hidden_act="relu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=max_residues + 2,
        stem_kernel_size=9,
    )


SMALL_HEAD = HeadSettings(
    kernel_sizes=(3, 9, 21),
    channels=64,
    hidden=128,
    dropout=0.4,
    n_terminal=(12, 30, 60, 120),
    c_terminal=(10, 40),
)


def build_small(config: BertSettings, locations: int, head: HeadSettings) -> ProteinClassifier:
    """A small classifier to train from nothing, its residues placed as BLOSUM62 relates them."""
    classifier = ProteinClassifier(config, locations, head)
    embeddings = classifier.encoder.embeddings
    start = substitution.embeddings(PROTEIN_VOCABULARY, config.hidden_size, config.initializer_range * 3)
    with torch.no_grad():
        embeddings.word_embeddings.weight.add_(torch.from_numpy(np.ascontiguousarray(start)))
        # Zero, so that a position which no training protein reaches reads as "somewhere inside".
        embeddings.position_embeddings.weight.zero_()
    return classifier


def load_pretrained(folder: Path, locations: int, head: HeadSettings) -> ProteinClassifier:
    """A pretrained encoder (`Rostlab/prot_bert_bfd` or its like) from a folder, under a new head.

    Raises ValueError naming the weights that are missing or of another shape: transformers would draw them
    at random. Weights of a masked language model's head are passed over.
    """
    config = read_config(folder)
    family = family_of(config)
    # Built with one layer, and replaced by the pretrained encoder: 420 M values are not drawn twice.
    shell = type(config).from_dict(config.to_dict() | {"num_hidden_layers": 1, "num_layers": 1})
    classifier = ProteinClassifier(shell, locations, head)
    classifier.config = config
    encoder, report = from_transformers(family.model).from_pretrained(
        folder,
        **family.options,
        dtype=torch.float32,  # also of weights that are kept in half precision, in which no one trains
        local_files_only=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    classifier.encoder = without_unused(encoder, family)
    wrong = sorted({*report["missing_keys"], *(each[0] for each in report["mismatched_keys"])})
    wrong = [name for name in wrong if not name.startswith(family.unused or "-") and name not in family.tied]
    if wrong:
        raise ValueError(
            f"expected the weights of a {family.model} as its config.json describes it in {folder}, found "
            f"{len(wrong)} missing or of another shape: {', '.join(wrong[:4])}"
        )
    return classifier
