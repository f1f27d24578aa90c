"""Every record ends in one place, the holdout is sticky, and nothing learned from has a relative in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.proteins.divided import HOLDOUT, SPLITS, TRAINING, VALIDATION, Division, File, Record, divide
from model.proteins.labelled import LOCATIONS, LabelledProtein
from tests.model.proteins.test_related import labelled, relatives
from tests.model.tiny import random_sequences

BASE, LABELS, MORE = (
    File("data/base/a.fasta", True),
    File("labels/b.fasta", False),
    File("labels/c.tsv", False),
)
FILES = (BASE, LABELS, MORE)
CYTOPLASM, NUCLEUS, PLASTID = (LOCATIONS.index(name) for name in ("Cytoplasm", "Nucleus", "Plastid"))
SEQUENCES = random_sequences([120] * 12, 1)


def record(
    file: int,
    line: int,
    sequence: str,
    location: int = NUCLEUS,
    membrane: float = -1.0,
    *,
    test: bool = False,
) -> Record:
    return Record(file, line, LabelledProtein(f"P{file}{line}", sequence, location, membrane, test))


def many(file: int = 0, *, test: int = 0) -> list[Record]:
    """150 families in ten locations; the first `test` proteins of them are marked."""
    proteins = zip(*labelled(), strict=True)
    return [
        Record(file, 1000 + line, LabelledProtein(accession, sequence, location, 0.0, line < test))
        for line, (sequence, location, accession) in enumerate(proteins)
    ]


def where(division: Division) -> dict[str, str]:
    """The split of each sequence; fails where two have it."""
    split_of = [(protein.sequence, name) for name in SPLITS for protein in division.splits[name]]
    assert len(split_of) == len(dict(split_of))
    return dict(split_of)


def faults_of(division: Division, kind: str) -> list[tuple[int, int, str, bool]]:
    return [
        (each.file, each.line, each.problem, each.left_out) for each in division.faults if each.kind == kind
    ]


def test_the_same_label_twice_is_one_protein_of_known_membrane() -> None:
    both = [record(0, 1, SEQUENCES[0], membrane=-1.0), record(1, 7, SEQUENCES[0], membrane=1.0)]
    division = divide(FILES, both, {})
    assert [protein for name in SPLITS for protein in division.splits[name]] == [
        LabelledProtein("P01", SEQUENCES[0], NUCLEUS, 1.0, False)
    ]
    assert faults_of(division, "duplicates") == [
        (1, 7, "the same protein as data/base/a.fasta line 1", False)
    ]


def test_membrane_bound_against_soluble_is_unknown_and_told() -> None:
    both = [record(1, 1, SEQUENCES[0], membrane=0.0), record(2, 7, SEQUENCES[0], membrane=1.0)]
    division = divide(FILES, both, {})
    assert [protein.membrane for name in SPLITS for protein in division.splits[name]] == [-1.0]
    assert faults_of(division, "conflicts") == [
        (2, 7, "another membrane label than in labels/b.fasta line 1: taken for unknown", False)
    ]


def test_labels_win_over_base_data() -> None:
    both = [record(0, 1, SEQUENCES[0], CYTOPLASM), record(1, 7, SEQUENCES[0], NUCLEUS)]
    division = divide(FILES, both, {})
    assert [
        (protein.accession, protein.location) for name in SPLITS for protein in division.splits[name]
    ] == [("P17", NUCLEUS)]
    assert faults_of(division, "conflicts") == [
        (0, 1, "Cytoplasm, but Nucleus in labels/b.fasta line 7, which wins", True)
    ]


@pytest.mark.parametrize("files", [(0, 0), (1, 2), (1, 1)])
def test_what_contradicts_itself_is_left_out_altogether(files: tuple[int, int]) -> None:
    records = [record(files[0], 1, SEQUENCES[0], CYTOPLASM), record(files[1], 2, SEQUENCES[0], NUCLEUS)]
    division = divide(FILES, records, {})
    assert not where(division)
    names = [FILES[number].name for number in files]
    assert faults_of(division, "conflicts") == [
        (files[0], 1, f"Cytoplasm, but Nucleus in {names[1]} line 2", True),
        (files[1], 2, f"Nucleus, but Cytoplasm in {names[0]} line 1", True),
    ]


def test_contradicting_labels_take_the_base_record_with_them() -> None:
    records = [
        record(file, 1, SEQUENCES[0], location)
        for file, location in ((0, NUCLEUS), (1, NUCLEUS), (2, PLASTID))
    ]
    division = divide(FILES, records, {})
    assert not where(division) and len(faults_of(division, "conflicts")) == 3


def test_a_file_that_marks_its_test_proteins_is_taken_at_its_word() -> None:
    records = many(test=60)
    split = where(divide(FILES, records, {}))
    assert not [each for name in SPLITS for each in divide(FILES, records, {}).splits[name] if each.test]
    assert {sequence for sequence, name in split.items() if name == HOLDOUT} == {
        each.protein.sequence for each in records if each.protein.test
    }


def test_without_marks_a_seventh_of_each_location_is_held_out_in_whole_families() -> None:
    sequences, locations, _ = labelled()
    division = divide(FILES, many(), {})
    split = where(division)
    assert len(split) == len(sequences) and not division.faults
    counts, held_counts = (
        Counter(locations),
        Counter(protein.location for protein in division.splits[HOLDOUT]),
    )
    assert all(1 <= held_counts[location] < counts[location] for location in counts)
    assert all(abs(held_counts[location] - counts[location] / 7) <= 3 for location in range(9))
    assert_no_relatives(division)


def assert_no_relatives(division: Division) -> None:
    """By another way than the code's own: families of all proteins together."""
    from model.proteins.related import families

    proteins = [(name, protein.sequence) for name in SPLITS for protein in division.splits[name]]
    sides: dict[int, set[bool]] = {}
    for (name, _), family in zip(proteins, families([sequence for _, sequence in proteins]), strict=True):
        sides.setdefault(int(family), set()).add(name == HOLDOUT)
    assert all(len(each) == 1 for each in sides.values())


def test_a_relative_of_a_test_protein_in_another_file_is_left_out_and_told() -> None:
    marked = record(0, 3, SEQUENCES[0], test=True)
    kin = relatives(SEQUENCES[0], 2, 0.2, 1)
    records = [marked, record(0, 4, kin[0]), record(1, 9, kin[1]), *many()]
    division = divide(FILES, records, {})
    split = where(division)
    assert split[kin[0]] != HOLDOUT, "the file that marks knows its own"
    assert kin[1] not in split
    assert faults_of(division, "leaks") == [
        (1, 9, "related to a protein of the holdout, data/base/a.fasta line 3", True)
    ]


def test_the_same_sequence_is_held_out_though_another_file_would_learn_from_it() -> None:
    records = [record(0, 3, SEQUENCES[0], test=True), record(0, 4, SEQUENCES[0]), record(1, 5, SEQUENCES[0])]
    assert where(divide(FILES, [*records, *many(2)], {}))[SEQUENCES[0]] == HOLDOUT


def test_what_was_learned_from_is_never_held_out_not_even_when_marked() -> None:
    records = [record(0, 3, SEQUENCES[0], test=True), record(0, 4, SEQUENCES[1], test=True), *many(1)]
    division = divide(FILES, records, {SEQUENCES[0]: TRAINING})
    assert where(division)[SEQUENCES[0]] in (TRAINING, VALIDATION)
    assert where(division)[SEQUENCES[1]] == HOLDOUT
    assert faults_of(division, "conflicts") == [
        (0, 3, "marked test, but learned from before: it is still learned from", False)
    ]


def test_a_new_relative_of_what_was_learned_from_is_learned_from() -> None:
    first = where(divide(FILES, many(), {}))
    grown = [*many(), *(record(1, 10 + n, kin) for n, kin in enumerate(kin_of(first, TRAINING)))]
    after = where(divide(FILES, grown, first))
    assert not {kin for kin in kin_of(first, TRAINING) if after[kin] == HOLDOUT}


def test_a_relative_of_what_a_marking_file_has_learned_from_is_never_drawn() -> None:
    base = many(test=60)
    kin = kin_of(where(divide(FILES, base, {})), TRAINING)
    labels = [record(1, 10 + n, sequence) for n, sequence in enumerate(kin)]
    division = divide(FILES, [*base, *labels], {})
    assert {where(division)[sequence] for sequence in kin} <= {TRAINING, VALIDATION}
    assert len(division.splits[HOLDOUT]) == 60
    others = [record(1, 500 + n, sequence) for n, sequence in enumerate(random_sequences([200] * 20, 5))]
    assert len(divide(FILES, [*base, *labels, *others], {}).splits[HOLDOUT]) > 60


def test_a_mark_in_any_file_holds_a_protein_out() -> None:
    records = [record(0, 3, SEQUENCES[0]), record(1, 5, SEQUENCES[0], test=True)]
    assert where(divide(FILES, [*records, *many(2)], {}))[SEQUENCES[0]] == HOLDOUT


def test_a_file_that_marks_is_heard_about_its_proteins_wherever_else_they_stand() -> None:
    kin = relatives(SEQUENCES[0], 1, 0.2, 1)[0]
    records = [record(0, 3, kin), record(1, 5, SEQUENCES[0], test=True), record(1, 6, kin)]
    assert where(divide(FILES, [*records, *many(2)], {}))[kin] in (TRAINING, VALIDATION)


def test_the_only_protein_of_a_location_is_learned_from() -> None:
    records = [record(0, n, sequence, PLASTID if n == 0 else NUCLEUS) for n, sequence in enumerate(SEQUENCES)]
    assert where(divide(FILES, records, {}))[SEQUENCES[0]] == TRAINING


def test_a_new_relative_of_the_holdout_is_left_out() -> None:
    first = where(divide(FILES, many(), {}))
    kin = kin_of(first, HOLDOUT)
    division = divide(FILES, [*many(), *(record(1, 10 + n, each) for n, each in enumerate(kin))], first)
    assert not set(kin) & where(division).keys()
    assert len(faults_of(division, "leaks")) == len(kin)


def kin_of(split: Mapping[str, str], name: str) -> list[str]:
    chosen = [sequence for sequence, side in split.items() if side == name and len(sequence) > 150][:10]
    return [kin for n, sequence in enumerate(chosen) for kin in relatives(sequence, 1, 0.2, 900 + n)]


def test_one_protein_more_is_learned_from_rather_than_held_out() -> None:
    first = where(divide(FILES, many(), {}))
    after = where(divide(FILES, [*many(), record(1, 5, SEQUENCES[3])], first))
    assert after[SEQUENCES[3]] in (TRAINING, VALIDATION)


def test_one_accession_for_all_proteins_does_no_harm() -> None:
    records = [replace(each, protein=replace(each.protein, accession="protein")) for each in many()]
    splits = divide(FILES, records, {}).splits
    assert all(splits[name] for name in SPLITS)
    assert sum(map(len, splits.values())) == len(records)


FAMILIES = [[founder, *relatives(founder, 2, 0.2, n)] for n, founder in enumerate(SEQUENCES)]
POOL = [sequence for family in FAMILIES for sequence in family]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(POOL),
        st.sampled_from((CYTOPLASM, NUCLEUS)),
        st.sampled_from((-1.0, 0.0, 1.0)),
        st.integers(0, 5),
    ),
    max_size=60,
)


def from_rows(rows: Sequence[tuple[int, str, int, float, int]]) -> list[Record]:
    made = [
        record(file, line, sequence, location, membrane, test=mark == 0 and file != 1)
        for line, (file, sequence, location, membrane, mark) in enumerate(rows)
    ]
    return sorted(made, key=lambda each: (each.file, each.line))


@settings(max_examples=60)
@given(rows=ROWS, more=ROWS)
def test_every_record_ends_in_one_place_and_growing_labels_never_moves_the_holdout(
    rows: list[tuple[int, str, int, float, int]], more: list[tuple[int, str, int, float, int]]
) -> None:
    before: dict[str, str] = {}
    for records in (from_rows(rows), from_rows([*rows, *more])):
        division = divide(FILES, records, before)
        ends = [(each.file, each.line) for each in division.standing]
        ends += [
            (each.file, each.line) for each in division.faults if each.left_out or each.kind == "duplicates"
        ]
        assert sorted(ends) == sorted((each.file, each.line) for each in records)
        after = where(division)
        assert len(after) == len(division.standing)
        for sequence in before.keys() & after.keys():
            assert (before[sequence] == HOLDOUT) is (after[sequence] == HOLDOUT)
        assert divide(FILES, records, before) == division
        before = after
