"""The vote of a protein's relatives among the labelled ones."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from model.serving.relatives import KINDS, LOUDEST, MAX_VOTES, Relatives, join, kinds
from model.serving.words import words

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
CHANCE = random.Random(5)


@pytest.fixture(autouse=True)
def _the_same_chance_in_any_order() -> None:
    CHANCE.seed(6)


def drawn(length: int = 300) -> str:
    return "".join(CHANCE.choices(RESIDUES, k=length))


def mutated(sequence: str, share: float) -> str:
    return "".join(CHANCE.choice(RESIDUES) if CHANCE.random() < share else residue for residue in sequence)


FAMILIES = [drawn() for _ in range(4)]
KNOWN = [mutated(family, 0.1) for family in FAMILIES for _ in range(3)]
LABELS = [place for place in range(4) for _ in range(3)]


@pytest.fixture(scope="module")
def index() -> Relatives:
    CHANCE.seed(26)
    return Relatives.of(KNOWN + [drawn() for _ in range(200)], LABELS + [7] * 200)


def test_relatives_vote_for_their_location_and_strangers_are_silent(index: Relatives) -> None:
    votes, strongest = index.look([mutated(family, 0.2) for family in FAMILIES] + [drawn()], 10)
    assert votes[:4].argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (votes[:4].max(axis=1) == MAX_VOTES).all() and not votes[4].any()
    assert [KINDS[kind] for kind in kinds(strongest)] == ["near"] * 4 + ["none"]


def test_a_domain_is_found_wherever_it_lies(index: Relatives) -> None:
    moved = drawn(500) + FAMILIES[2][50:250] + drawn(200)
    assert index.look([moved], 10)[0].argmax() == 2


def test_the_same_words_in_another_order_are_no_relative(index: Relatives) -> None:
    """Words count along one diagonal only: a repeat or a shuffled sequence shares them by chance."""
    pieces = [FAMILIES[0][start : start + 10] for start in range(0, 300, 10)]
    shuffled = "".join(CHANCE.sample(pieces, len(pieces)))
    whole = index.look([FAMILIES[0]], 10)[1][0]
    assert index.look([shuffled], 10)[1][0] < whole / 3


def test_a_more_distant_relative_is_less_loud(index: Relatives) -> None:
    scores = [index.look([mutated(FAMILIES[1], share)], 10)[1][0] for share in (0.0, 0.2, 0.4, 1.0)]
    assert scores == sorted(scores, reverse=True)


def test_votes_are_bounded_and_added_to_log_probabilities(index: Relatives) -> None:
    votes, _ = index.look([KNOWN[0]], 10)
    assert LOUDEST > 0 and votes.max() == MAX_VOTES
    logits = np.log(np.full((1, 10), 0.1))
    joined = join(logits + 5.0, votes)
    assert joined.argmax() == 0 and np.isclose(joined[0, 0] - joined[0, 9], MAX_VOTES)


@pytest.mark.parametrize("sequence", ["", "M", "MKVF", "X" * 500, "*" * 20, "A" * 3000])
def test_what_has_no_words_of_its_own_has_no_relatives(index: Relatives, sequence: str) -> None:
    votes, strongest = index.look([sequence], 10)
    assert not votes.any() and kinds(strongest)[0] == 0


def test_an_answer_depends_on_neither_company_nor_order(index: Relatives) -> None:
    queries = [mutated(family, 0.3) for family in FAMILIES]
    together = index.look(queries, 10)
    for row, sequence in enumerate(queries):
        alone = index.look([sequence], 10)
        assert (alone[0][0] == together[0][row]).all() and alone[1][0] == together[1][row]


def test_an_index_that_was_kept_answers_as_before(index: Relatives, tmp_path: Path) -> None:
    described = index.save(tmp_path)
    assert described == {"proteins": 212, "words": len(index.proteins)}
    again = Relatives.read(tmp_path, described)
    assert again is not None
    queries = [mutated(family, 0.3) for family in FAMILIES]
    for one, other in zip(index.look(queries, 10), again.look(queries, 10), strict=True):
        assert (one == other).all()
    assert Relatives.read(tmp_path, {}) is None


def test_two_indices_together_are_the_index_of_all() -> None:
    first, second = Relatives.of(KNOWN[:6], LABELS[:6]), Relatives.of(KNOWN[6:], LABELS[6:])
    both, all_at_once = first.extended(second), Relatives.of(KNOWN, LABELS)
    for name in ("labels", "counts", "proteins", "places"):
        assert (getattr(both, name) == getattr(all_at_once, name)).all(), name


def test_no_residue_can_be_read_from_an_index() -> None:
    """Sequences whose residues replace each other make the same index, and half of the words are left out."""
    one = drawn(400)
    other = one.translate(str.maketrans("DFIKLM", "EYVRMI"))
    first, second = Relatives.of([one], [0]), Relatives.of([other], [0])
    assert (first.counts == second.counts).all() and (first.places == second.places).all()
    assert 0.3 < len(first.proteins) / len(words(one)) < 0.7
