"""A classifier of ProtBERT's size to measure with: random weights, but answers that tell proteins apart.

As drawn, random weights answer nearly the same for every protein, and two ways of computing would agree or
not by chance. So proteins are made up here whose location shows in their composition, faintly or clearly, and
the head is trained on some of them, the encoder held still: the answers then are as sure, and as unsure, as
those of a trained model, and agreement on other such proteins means something. And thirty layers drawn by
BERT's recipe forget their input, so that rounding shows as much as the protein does; each addition to the
residual stream is scaled by 1/sqrt(2 * layers), as GPT-2 draws it for that reason.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig

from model.proteins.labelled import LOCATIONS
from model.serving.artifact import Artifact, write_description, write_tokenizer
from model.serving.classifier import ProteinClassifier
from model.serving.heads import HeadSettings
from model.serving.loading import Model, load
from model.serving.tokens import PROTEIN_VOCABULARY

# Rostlab/prot_bert_bfd's config.json.
CONFIG: dict[str, Any] = {
    "vocab_size": len(PROTEIN_VOCABULARY),
    "hidden_size": 1024,
    "num_hidden_layers": 30,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 40000,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
MAX_RESIDUES = 2046
CONFIDENCE = 0.8  # the mean that the fitted head is given; the small trained model's is near it
FITTED, EPOCHS = 400, 8  # proteins, and how often the head sees them
# Lengths of DeepLoc's proteins at their 6th, 19th, … 94th percentile, cut at 510 as the article's are.
LENGTHS = (105, 194, 307, 391, 489, 510, 510, 510)


def proteins(sizes: list[int], seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """Made-up proteins and their locations: each location is richer in a residue of its own."""
    random = np.random.default_rng(seed)
    places = random.integers(0, len(LOCATIONS), len(sizes))
    chosen = []
    for size, place in zip(sizes, places, strict=True):
        sequence = random.choice(list(RESIDUES), size)
        sequence[random.random(size) < random.uniform(0.0, 0.4)] = RESIDUES[place]
        chosen.append("".join(sequence))
    return chosen, places


def build(folder: Path, *, seed: int = 1, layers: int = 30) -> Path:
    """Write an artifact of ProtBERT's size into `folder`: 1.7 GB."""
    torch.manual_seed(seed)
    config = BertConfig(**CONFIG | {"num_hidden_layers": layers})
    head = HeadSettings(dropout=0.0)
    classifier = ProteinClassifier(config, len(LOCATIONS), head).eval()
    with torch.no_grad():
        for name, value in classifier.encoder.named_parameters():
            if name.endswith("output.dense.weight"):
                value.mul_((2 * layers) ** -0.5)
    classifier.save(folder)
    write_tokenizer(folder, PROTEIN_VOCABULARY, MAX_RESIDUES + 2)
    artifact = Artifact(
        folder=folder,
        version="protbert-random",
        created="2026-11-23T00:00:00Z",
        locations=LOCATIONS,
        head=head.describe(),
        limits={"max_residues": MAX_RESIDUES, "max_sequences": 2048},
        calibration={"location_temperature": 1.0, "membrane_temperature": 1.0},
    )
    write_description(artifact)
    model = load(folder, torch.device("cpu"), torch.float32)
    temperature = fit(model, seed)
    classifier.head.load_state_dict(model.classifier.head.state_dict())
    classifier.save(folder)
    write_description(
        replace(artifact, calibration={"location_temperature": temperature, "membrane_temperature": 1.0})
    )
    return folder


def fit(model: Model, seed: int) -> float:
    """Train the head on made-up proteins; the temperature at which it has CONFIDENCE on others."""
    head = model.classifier.head
    hidden, mask, truth = _hidden_states(model, FITTED, seed)
    others, other_mask, _ = _hidden_states(model, FITTED // 4, seed + 1000)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(FITTED, generator=order), 32):
            logits = head(hidden[chosen], mask[chosen])[:, :-1]
            nn.functional.cross_entropy(logits, truth[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    with torch.inference_mode():
        logits = head(others, other_mask)[:, :-1]
    candidates = torch.logspace(-1, 1, 100)
    confidence = torch.stack([(logits / one).softmax(1).amax(1).mean() for one in candidates])
    return float(candidates[(confidence - CONFIDENCE).abs().argmin()])


@torch.inference_mode()
def _hidden_states(model: Model, number: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The encoder's output for made-up proteins (number, tokens, hidden), its mask, and their locations."""
    sequences, places = proteins([60] * number, seed)
    ids = torch.from_numpy(np.stack([model.tokenizer.encode(sequence) for sequence in sequences]))
    mask = torch.ones_like(ids)
    parts = [
        model.classifier.encoder(input_ids=some, attention_mask=torch.ones_like(some)).last_hidden_state
        for some in torch.split(ids, 32)
    ]
    return torch.cat(parts), mask, torch.from_numpy(places)
