"""Relatives stay on one side, and every location is on both."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model.proteins.labelled import LOCATIONS, read_channel
from model.proteins.related import draw, families, hold_out, words
from model.serving.substitution import Mutator
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer
from tests.model.tiny import random_sequences

DEEPLOC = Path(__file__).parents[4] / "shared" / "data" / "deeploc" / "deeploc_data.fasta"


def relatives(sequence: str, count: int, rate: float, seed: int) -> list[str]:
    """Copies of a sequence in which residues are replaced as evolution does."""
    tokenizer, mutator = ResidueTokenizer(PROTEIN_VOCABULARY), Mutator(PROTEIN_VOCABULARY, rate)
    ids = tokenizer.encode(sequence)
    copies = [mutator.mutate(ids, (seed, number)) for number in range(count)]
    return ["".join(PROTEIN_VOCABULARY[token] for token in copy[1:-1]) for copy in copies]


def labelled(seed: int = 0) -> tuple[list[str], list[int], list[str]]:
    """150 families of 1 to 4 relatives each, in ten locations, the last of which is rare."""
    random = np.random.default_rng(seed)
    sequences, locations = list[str](), list[int]()
    for number, founder in enumerate(random_sequences(random.integers(80, 400, 150).tolist(), seed)):
        family = [founder, *relatives(founder, int(random.integers(0, 4)), 0.4, number)]
        sequences += family
        locations += [9 if number in (7, 77) else number % 9] * len(family)
    return sequences, locations, [f"P{number:05}" for number in range(len(sequences))]


def test_families_are_those_that_share_an_ancestor() -> None:
    founders = random_sequences([150, 200, 300, 900])
    sequences = [*founders, *(copy for n, each in enumerate(founders) for copy in relatives(each, 3, 0.4, n))]
    assert families(sequences).tolist() == [0, 1, 2, 3, *(n for n in range(4) for _ in range(3))]


def test_a_fragment_and_a_copy_belong_to_their_whole_and_short_ones_do_no_harm() -> None:
    whole = random_sequences([400])[0]
    assert families([whole, "MKV", whole[100:250], "", "MKV", "M"]).tolist() == [0, 1, 0, 3, 1, 5]


def test_words_are_of_classes_and_each_counts_once() -> None:
    assert words("MKV").size == 0
    assert np.array_equal(words("ILKDE"), words("VMRED"))
    assert words("AAAAAAAA").size == 1 and words("ACDFGH").size == 2
    assert not np.array_equal(words("XXXXX"), words("AAAAA"))


def test_no_family_is_on_both_sides_and_every_location_is() -> None:
    sequences, locations, accessions = labelled()
    held_out = set(hold_out(sequences, locations, accessions))
    for family in np.unique(groups := families(sequences)):
        assert len({index in held_out for index in np.flatnonzero(groups == family)}) == 1
    counts, chosen = Counter(locations), Counter(locations[index] for index in held_out)
    assert all(0 < chosen[location] < counts[location] for location in counts)
    assert all(abs(chosen[n] - counts[n] / 7) <= 3 for n in range(9))


def test_the_order_of_the_file_changes_nothing() -> None:
    sequences, locations, accessions = labelled(1)
    held_out = {accessions[index] for index in hold_out(sequences, locations, accessions)}
    backwards = hold_out(sequences[::-1], locations[::-1], accessions[::-1])
    assert {accessions[::-1][index] for index in backwards} == held_out


def test_a_location_of_one_family_is_learned_from() -> None:
    founder = random_sequences([200], 5)[0]
    sequences = [*relatives(founder, 3, 0.2, 1), *random_sequences([100] * 8)]
    held_out = hold_out(sequences, [1] * 3 + [0] * 8, [f"P{number}" for number in range(11)])
    assert held_out and min(held_out) >= 3


def test_no_more_is_drawn_than_is_wanted() -> None:
    sequences, locations, accessions = labelled()
    of = families(sequences)
    assert draw(of, locations, accessions, {}) == []
    assert {locations[index] for index in draw(of, locations, accessions, {3: 4})} == {3}


@pytest.mark.shared
@pytest.mark.skipif(not DEEPLOC.exists(), reason="needs DeepLoc")
def test_deeploc_is_split_in_well_under_two_minutes() -> None:
    proteins = [protein for protein in read_channel(DEEPLOC) if not protein.test]
    started = time.process_time()
    held_out = hold_out(
        [each.sequence for each in proteins],
        [each.location for each in proteins],
        [each.accession for each in proteins],
    )
    assert time.process_time() - started < 60
    counts, chosen = Counter(p.location for p in proteins), Counter(proteins[n].location for n in held_out)
    for location in range(len(LOCATIONS)):
        assert chosen[location] / counts[location] == pytest.approx(1 / 7, abs=0.02)
