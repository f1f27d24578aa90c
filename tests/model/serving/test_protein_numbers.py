"""The numbers of a protein: as their formulas say, in any batch, and at a bounded number of steps."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.serving import protein_numbers
from model.serving.protein_numbers import HYDROPATHY, MOTIFS, RESIDUES, Batch, describe_all
from tests.model.serving import plain_numbers

LETTERS = RESIDUES + "X"
ODD = [b"X", b"M", b"MXX", b"W" * 40, b"I" * 70, b"K" * 10 + b"D" * 10, b"A" * 2046, b"KDEL", b"CC", b"SKL"]


def drawn(lengths: list[int], seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return ["".join(chance.choices(LETTERS, k=length)).encode() for length in lengths]


def plainly(sequences: list[bytes]) -> np.ndarray:
    return np.stack([plain_numbers.describe(sequence) for sequence in sequences])


def test_the_numbers_are_those_of_their_formulas_at_every_length() -> None:
    """Up to 130 residues, where windows and regions end one after the other, and beyond."""
    sequences = drawn([*range(1, 131), 333, 511, 2046])
    assert describe_all(sequences) == pytest.approx(plainly(sequences), abs=1e-6)


@settings(max_examples=40)
@given(st.lists(st.text(LETTERS, min_size=1, max_size=90).map(str.encode) | st.sampled_from(ODD), min_size=1))
def test_the_numbers_are_those_of_their_formulas_for_any_letters(sequences: list[bytes]) -> None:
    assert describe_all(sequences) == pytest.approx(plainly(sequences), abs=1e-6)


@pytest.mark.parametrize("sequence", [b"FAMYVCT", b"ICDCICQIH", b"YICELWKLLFCVGI", b"TGAMWVLVVICGNKITT"])
def test_a_protein_shorter_than_a_window_lies_on_a_threshold_as_its_mean_does(sequence: bytes) -> None:
    """The mean hydropathy of each is one of the thresholds of a helix, to the last bit of the division."""
    assert describe_all([sequence])[0] == pytest.approx(plainly([sequence])[0], abs=1e-6)


def test_a_proteins_numbers_are_the_same_to_the_last_bit_beside_any_other() -> None:
    sequences = [*drawn([400, 3, 61, 19, 1200, 20]), *ODD]
    together = describe_all(sequences)
    for at, sequence in enumerate(sequences):
        assert np.array_equal(describe_all([sequence])[0], together[at])


def test_an_empty_sequence_is_one_unknown_residue() -> None:
    assert np.array_equal(describe_all([b""]), describe_all([b"X"]))


def test_the_arrays_of_a_batch_are_made_for_all_of_its_proteins_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many reductions for fifty proteins as for one; only a running sum and the motifs are done for each."""
    counts = []
    for sequences in (drawn([300]), drawn([300] * 50)):
        calls = []
        over = Batch.over
        with monkeypatch.context() as patched:
            patched.setattr(Batch, "over", lambda *arguments: calls.append(1) or over(*arguments))  # noqa: B023
            describe_all(sequences)
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


def test_residues_that_are_not_known_count_for_nothing() -> None:
    assert describe_all([b"AXA"])[0, :20].tolist() == [1.0, *[0.0] * 19]


def test_hydropathy_is_measured_on_its_published_scale() -> None:
    scale = dict(zip(RESIDUES, HYDROPATHY, strict=True))
    assert (scale["I"], scale["R"]) == (4.5, -4.5)
    first = protein_numbers._measured(Batch([b"I" * 30]))[0, 0]
    charge = protein_numbers._measured(Batch([b"K" * 10 + b"D" * 10]))[0, 9:11]  # of windows of 7
    assert first == pytest.approx(4.5) and charge.tolist() == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize(
    ("with_signal", "without"),
    [("M" + "A" * 40 + "KDEL", "M" + "A" * 40 + "KDEA"), ("PKKKRKV" + "G" * 30, "PKGKGKV" + "G" * 30)],
)
def test_a_sorting_signal_shows(with_signal: str, without: str) -> None:
    signal, none = protein_numbers._counted(Batch([with_signal.encode(), without.encode()]))
    assert (signal[-2 * len(MOTIFS) :] > none[-2 * len(MOTIFS) :]).any()
