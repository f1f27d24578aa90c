"""Sequences become the very ids that training's and the article's tokenizer gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from transformers import BertTokenizer

from model.serving.artifact import write_tokenizer
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer, pack_by_length, window
from tests.model.tiny import random_sequences

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, PROTEIN_VOCABULARY, 1024)
    return BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "sequence", ["M", ALPHABET, ALPHABET[::-1] * 3, *random_sequences([7, 300]), "MKTUZOBJX", "XXXX"]
)
def test_ids_equal_those_of_bert_tokenizer_on_the_spaced_sequence(
    reference: BertTokenizer, sequence: str
) -> None:
    spaced = " ".join(re.sub("[UZOBJ]", "X", sequence))
    ids = ResidueTokenizer(PROTEIN_VOCABULARY).encode(sequence)
    assert ids.tolist() == reference(spaced)["input_ids"]


def test_the_tokenizer_is_read_from_an_artifact(tiny_artifact: Path, reference: BertTokenizer) -> None:
    tokenizer = ResidueTokenizer.read(tiny_artifact)
    assert tokenizer.encode("MKV").tolist() == reference("M K V")["input_ids"]
    assert (
        BertTokenizer.from_pretrained(tiny_artifact)("M K V")["input_ids"] == reference("M K V")["input_ids"]
    )


def test_another_order_of_the_vocabulary_gives_its_own_ids() -> None:
    shuffled = [*PROTEIN_VOCABULARY[5:], *PROTEIN_VOCABULARY[:5]]
    ids = ResidueTokenizer(shuffled).encode("MU")
    assert [shuffled[index] for index in ids] == ["[CLS]", "M", "X", "[SEP]"]


def test_a_vocabulary_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"none of the tokens \[CLS\], \[SEP\], X"):
        ResidueTokenizer(["[PAD]", "[UNK]", "the"])


def test_a_folder_without_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        ResidueTokenizer.read(tmp_path)


def test_padding_is_masked() -> None:
    tokenizer = ResidueTokenizer(PROTEIN_VOCABULARY)
    ids, mask = tokenizer.pad([tokenizer.encode("MKV"), tokenizer.encode("M")], 5)
    assert ids.shape == mask.shape == (2, 5)
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert (ids[mask == 0] == tokenizer.padding).all()


@pytest.mark.parametrize(("residues", "tokens"), [(1, 32), (30, 32), (31, 64), (62, 64), (63, 70), (68, 70)])
def test_lengths_are_rounded_up_as_far_as_there_are_positions(residues: int, tokens: int) -> None:
    tokenizer = ResidueTokenizer(PROTEIN_VOCABULARY)
    ids, mask = tokenizer.pad([tokenizer.encode("M" * residues)], 70)
    assert ids.shape == (1, tokens) and mask.sum() == residues + 2


def test_a_window_keeps_both_ends_and_gives_the_odd_residue_to_the_first() -> None:
    assert window("ABCDEFGH", 8) == "ABCDEFGH"
    assert window("ABCDEFGH", 5) == "ABCGH"
    assert window("ABCDEFGH", 1) == "A"


def test_packs_hold_everything_once_and_keep_to_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 400, 200)
    order = np.argsort(lengths).tolist()
    packs = pack_by_length(lengths, order, 1000)
    assert [index for pack in packs for index in pack] == order
    assert all(len(pack) * (max(lengths[pack]) + 2) <= 1000 for pack in packs)


def test_a_protein_beyond_the_budget_is_a_pack_of_its_own() -> None:
    assert pack_by_length([5, 5, 500], [0, 1, 2], 20) == [[0, 1], [2]]
