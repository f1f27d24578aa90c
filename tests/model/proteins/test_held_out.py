"""The proteins that a model is chosen and calibrated on: half of them have relatives in training."""

from __future__ import annotations

import random
from pathlib import Path

from model.proteins import held_out, labelled, related, training_data
from model.proteins.labelled import LOCATIONS, LabelledProtein

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def proteins() -> list[LabelledProtein]:
    """Families of four, and as many proteins alone, in every location; some are marked `test`."""
    chance = random.Random(3)
    made = []
    for location in range(len(LOCATIONS)):
        for family in range(14):
            ancestor = "".join(chance.choices(RESIDUES, k=200))
            for member in range(4):
                changed = [chance.choice(RESIDUES) if chance.random() < 0.15 else each for each in ancestor]
                name = f"{location}-{family}-{member}"
                made.append(LabelledProtein(name, "".join(changed), location, 0.0, family == 13))
    return made


def test_half_have_relatives_to_learn_from_and_half_have_none() -> None:
    everything = proteins()
    chosen = set(held_out.held_out(everything))
    learned = {each.accession for each in everything if not each.test} - chosen
    learned_families = {name.rpartition("-")[0] for name in learned}
    alone = [name for name in chosen if name.rpartition("-")[0] not in learned_families]
    assert 0.3 < len(alone) / len(chosen) < 0.7
    assert not chosen & {each.accession for each in everything if each.test}
    for location in range(len(LOCATIONS)):
        assert 4 <= sum(name.startswith(f"{location}-") for name in chosen) <= 16


def test_it_is_the_same_for_any_order() -> None:
    everything = proteins()
    shuffled = random.Random(1).sample(everything, len(everything))
    assert held_out.held_out(everything) == held_out.held_out(shuffled)


def test_the_list_reads_back_as_the_split(tmp_path: Path) -> None:
    everything = proteins()
    (tmp_path / "all.tsv").write_bytes(labelled.table(each for each in everything if not each.test))
    held_out.main([str(tmp_path / "all.tsv"), str(tmp_path / "new" / "list.txt")])
    training, validation = training_data.split(everything, tmp_path / "new" / "list.txt")
    assert {each.accession for each in validation} == set(held_out.held_out(everything))
    assert len(training) + len(validation) == sum(not each.test for each in everything)
    assert related.families([each.sequence for each in training]).size == len(training)
