"""Makes a random small artifact in a blink: the real format and the real network, with nothing learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.judging.card import write_card
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import Artifact, write_description, write_tokenizer
from model.serving.bert import BertSettings
from model.serving.classifier import ProteinClassifier, build_small, small_config
from model.serving.composition import CompositionSettings
from model.serving.heads import HeadSettings
from model.serving.tokens import PROTEIN_VOCABULARY

HEAD = HeadSettings(kernel_sizes=(3, 9), channels=16, attentions=2, hidden=16)


def build_tiny_artifact(
    folder: Path, version: str = "tiny-1", *, seed: int = 0, max_residues: int = 510, max_sequences: int = 256
) -> Path:
    """Write an artifact into `folder`; another `seed` gives a model with other answers."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = small_config(hidden=32, layers=0, max_residues=max_residues)
    return write(folder, build_small(config, len(LOCATIONS), HEAD), version, max_residues, max_sequences)


def build_tiny_bert_artifact(
    folder: Path, *, seed: int = 0, max_residues: int = 510, members: int = 1
) -> Path:
    """Write an artifact that is built like ProtBERT's, only small; several `members` make an ensemble."""
    torch.manual_seed(seed)
    config = BertSettings(
        vocab_size=len(PROTEIN_VOCABULARY),
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=max_residues + 50,
        ensemble_size=members,
    )
    return write(folder, ProteinClassifier(config, len(LOCATIONS), HEAD), "tiny-bert", max_residues, 256)


def build_tiny_ensemble(
    folder: Path, version: str = "tiny-ensemble", *, max_residues: int = 510, dropout: float = 0.5
) -> Path:
    """Write an artifact built like the shipped one: two small networks, and two compositions (of `dropout`)."""
    torch.manual_seed(0)
    plain = CompositionSettings(hidden=8, dropout=(dropout, dropout))
    compositions = [plain, replace(plain, pairs=True)]
    many = {"ensemble_size": 2, "compositions": [settings.describe() for settings in compositions]}
    config = small_config(hidden=32, layers=0, max_residues=max_residues)
    classifier = build_small(BertSettings.from_dict(config.to_dict() | many), len(LOCATIONS), HEAD)
    return write(folder, classifier, version, max_residues, 256)


def write(
    folder: Path, classifier: ProteinClassifier, version: str, max_residues: int, max_sequences: int
) -> Path:
    """Write a classifier as an artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():  # as drawn, every answer would be close to one in ten
        classifier.head.answer[-1].weight.mul_(8)
    classifier.save(folder)
    write_tokenizer(folder, PROTEIN_VOCABULARY, max_residues + 2)
    figures = {"q10": 0.1, "macro_f1": 0.1, "membrane_q2": 0.5, "ece": 0.0}
    artifact = Artifact(
        folder=folder,
        version=version,
        created="2026-11-22T00:00:00Z",
        locations=LOCATIONS,
        head=HEAD.describe(),
        limits={"max_residues": max_residues, "max_sequences": max_sequences},
        calibration={"location_temperature": 1.0, "membrane_temperature": 1.0},
        metrics=figures | {"recall": dict.fromkeys(LOCATIONS, 0.1), "proteins": 10, "split": "validation"},
        data={"sha256": "0" * 64, "proteins": 10},
        training={"parameters": sum(value.numel() for value in classifier.parameters())},
    )
    write_description(artifact)
    write_card(artifact)
    return folder


def random_sequences(lengths: list[int], seed: int = 0) -> list[str]:
    """Sequences of the twenty amino acids, one a length."""
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in lengths]


def write_labelled(path: Path, proteins: int, *, test: int = 0, seed: int = 0) -> Path:
    """Write a DeepLoc-format FASTA whose locations can be learned: each is rich in a residue of its own."""
    random = np.random.default_rng(seed)
    lines = []
    for index in range(proteins):
        location = index % len(LOCATIONS)
        length = int(random.integers(20, 60))
        sequence = random.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)
        sequence[random.random(length) < 0.5] = "ACDEFGHIKL"[location]
        letter = "MSU"[index % 3]
        mark = " test" if index < test else ""
        lines.append(f">P{seed}{index:05} {LOCATIONS[location]}-{letter}{mark}\n{''.join(sequence)}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
