"""A protein's composition: the same numbers in any batch, and enough to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model import ensemble
from model.proteins import labelled as data
from model.serving import composition
from model.serving.artifact import read_artifact
from model.serving.composition import CompositionSettings, describe_tokens, number_table
from model.serving.inference import Request, model_fn, predict_fn
from model.serving.protein_numbers import describe_all
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer
from tests.model.tiny import build_tiny_artifact, random_sequences, write_labelled

TOKENIZER = ResidueTokenizer(PROTEIN_VOCABULARY)
LENGTHS = [1, 2, 3, 7, 19, 60, 511, 2046]


def test_numbers_of_tokens_are_those_of_the_sequence_alone() -> None:
    sequences = [*random_sequences(LENGTHS), "X", "MXXU", "W" * 40]
    rows = [TOKENIZER.encode(sequence) for sequence in sequences]
    ids, mask = TOKENIZER.pad(rows, 2048)
    together = describe_tokens(torch.from_numpy(ids), torch.from_numpy(mask))
    assert together.shape == (len(sequences), composition.SIZE)
    assert torch.isfinite(together).all()
    assert torch.equal(together, number_table(rows))
    for sequence, numbers in zip(sequences, together, strict=True):
        read = sequence.replace("U", "X").encode()
        assert np.array_equal(describe_all([read])[0], numbers.numpy())


def test_a_network_learns_the_same_from_the_same_proteins(tmp_path: Path) -> None:
    proteins = data.read_labelled(write_labelled(tmp_path / "labelled.fasta", 200))
    numbers = number_table([TOKENIZER.encode(protein.sequence) for protein in proteins])
    settings = CompositionSettings(hidden=32, epochs=5)
    one, other = (ensemble.learn(numbers, [numbers], proteins, settings) for _ in range(2))
    for value, again in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(value, again)
    with torch.no_grad():
        named = one(numbers)[0].argmax(dim=1).numpy()
    assert np.mean(named == [protein.location for protein in proteins]) > 0.9


def test_an_ensemble_with_them_answers_with_the_mean_of_all(tmp_path: Path) -> None:
    proteins = data.read_labelled(write_labelled(tmp_path / "labelled.fasta", 60))
    numbers = number_table([TOKENIZER.encode(protein.sequence) for protein in proteins])
    settings = [CompositionSettings(hidden=8, epochs=1), CompositionSettings(pairs=True, hidden=8, epochs=1)]
    networks = [(each, ensemble.learn(numbers, [numbers], proteins, each)) for each in settings]
    member = build_tiny_artifact(tmp_path / "member")
    ensemble.unite([read_artifact(member)], networks).save(build_tiny_artifact(tmp_path / "together"))
    sequences = random_sequences([5, 60, 300])

    def probabilities(folder: str) -> np.ndarray:
        predictions = predict_fn(Request(sequences), model_fn(str(tmp_path / folder)))["predictions"]
        return np.array([row["probabilities"] for row in predictions])

    table = number_table([TOKENIZER.encode(sequence) for sequence in sequences])
    with torch.no_grad():
        theirs = [network(table)[0].softmax(dim=1).numpy() for _, network in networks]
    expected = np.mean([probabilities("member"), *theirs], axis=0)
    assert probabilities("together") == pytest.approx(expected, abs=1e-6)
    assert np.abs(expected - probabilities("member")).max() > 0.001
