"""Labels are read by name, unknown membranes stay unknown, and every process plans the same steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data import (
    LOCATIONS,
    LabelError,
    LabelledProtein,
    Step,
    class_weights,
    describe,
    digest,
    padding_share,
    parse_header,
    plan_epoch,
    read_channel,
    read_labelled,
    split,
)
from tests.model.tiny import write_labelled


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Q9H400 Cell.membrane-M test", ("Q9H400", "Cell.membrane", 1.0, True)),
        ("P1 Lysosome/Vacuole-S", ("P1", "Lysosome/Vacuole", 0.0, False)),
        ("P1 Cytoplasm-Nucleus-U", ("P1", "Cytoplasm", -1.0, False)),
        ("P1  Nucleus-U ", ("P1", "Nucleus", -1.0, False)),
    ],
)
def test_a_header_splits_at_its_last_hyphen(header: str, expected: tuple[object, ...]) -> None:
    assert parse_header(header, "line 1") == expected


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("P1 Nukleus-S", "file.fasta line 3: unknown location 'Nukleus'"),
        ("P1 Nucleus", "file.fasta line 3: expected a label ending in -M, -S or -U, found 'Nucleus'"),
        ("P1 Nucleus-Q", "ending in -M, -S or -U"),
        ("P1", "found 1 words"),
        ("P1 Nucleus-S train", "found 3 words"),
    ],
)
def test_a_wrong_header_is_an_error_naming_its_line(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "file.fasta"
    path.write_text(f">P0 Nucleus-S\nMKV\n>{header}\nMKV\n")
    with pytest.raises(LabelError, match=message):
        read_labelled(path)


def test_sequences_are_joined_in_upper_case_without_their_stop(tmp_path: Path) -> None:
    path = tmp_path / "file.fasta"
    path.write_text("\n>P0 Nucleus-S\nMk\n\nv*\r\n>P1 Plastid-M test\nMM", newline="")
    first, second = read_labelled(path)
    assert (first.sequence, first.location, first.test) == ("MKV", LOCATIONS.index("Nucleus"), False)
    assert (second.sequence, second.membrane, second.test) == ("MM", 1.0, True)


@pytest.mark.parametrize("body", ["", "MK1V", "MK V\n>", "MKé"])
def test_a_record_that_cannot_be_learned_from_is_an_error(tmp_path: Path, body: str) -> None:
    path = tmp_path / "file.fasta"
    path.write_text(f">P0 Nucleus-S\n{body}\n", encoding="utf-8")
    with pytest.raises(LabelError, match="line"):
        read_labelled(path)


def test_text_before_the_first_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.fasta"
    path.write_text("MKV\n>P0 Nucleus-S\nMKV\n")
    with pytest.raises(LabelError, match="line 1"):
        read_labelled(path)


def test_a_channel_is_every_fasta_file_of_its_folder(tmp_path: Path) -> None:
    write_labelled(tmp_path / "a.fasta", 3)
    write_labelled(tmp_path / "b.fa", 2, seed=1)
    (tmp_path / "notes.md").write_text("no proteins")
    assert len(read_channel(tmp_path)) == 5
    with pytest.raises(LabelError, match="found none"):
        read_channel(tmp_path / "nowhere")


def test_test_proteins_are_on_neither_side(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 40, test=10))
    listed = tmp_path / "validation.txt"
    listed.write_text("\n".join(protein.accession for protein in proteins[5:15]))
    training, validation = split(proteins, listed)
    assert [protein.accession for protein in validation] == [protein.accession for protein in proteins[10:15]]
    assert training == proteins[15:]


def test_without_a_list_the_held_out_families_are_the_same_every_time(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 70))
    training, validation = split(proteins, None)
    _, held_out = split(proteins[::-1], None)
    assert {*validation} == {*held_out} and 2 <= len(validation) <= 25
    assert not {*training} & {*validation} and len(training) + len(validation) == 70


def test_a_validation_channel_may_be_a_fasta_file(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 20))
    channel = tmp_path / "validation"
    channel.mkdir()
    other = write_labelled(channel / "other.fasta", 6, seed=9)
    training, validation = split(proteins, channel)
    assert len(training) == 20 and validation == read_labelled(other)


def test_a_list_that_names_no_protein_is_an_error(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 20))
    listed = tmp_path / "validation.txt"
    listed.write_text("SOMETHING\n")
    with pytest.raises(LabelError, match="found 20 and 0"):
        split(proteins, listed)


TABLE = "membrane\tsequence\taccession\tnote\tlocation\tsplit\n"


def test_a_table_names_its_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(
        f"\ufeff{TABLE}M\tmkv*\tP1\tx\tGolgi.apparatus\ttrain\r\n\nU\tMA\tP2\t\tCytoplasm-Nucleus\ttest\n\tMW\tP3\t\tPlastid\t\n",
        newline="",
    )
    assert read_channel(tmp_path) == [
        LabelledProtein("P1", "MKV", LOCATIONS.index("Golgi.apparatus"), 1.0, False),
        LabelledProtein("P2", "MA", LOCATIONS.index("Cytoplasm"), -1.0, True),
        LabelledProtein("P3", "MW", LOCATIONS.index("Plastid"), -1.0, False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accession\tsequence\tlocation\n", "labelled.tsv line 1: expected columns .* no membrane"),
        (f"{TABLE}M\tMKV\tP1\n", "labelled.tsv line 2: expected 6 columns, found 3"),
        (f"{TABLE}X\tMKV\tP1\t\tNucleus\t\n", "line 2: expected membrane M, S, U or nothing, found 'X'"),
        (f"{TABLE}S\tMK1\tP1\t\tNucleus\t\n", "line 2: expected residues A-Z, found others"),
        (f"{TABLE}S\tMKV\tP1\t\tNukleus\t\n", "line 2: unknown location 'Nukleus'"),
        (f"{TABLE}S\tMKV\tP 1\t\tNucleus\t\n", "line 2: expected an accession without spaces"),
    ],
)
def test_a_wrong_table_is_an_error_naming_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_labelled(path)


def test_a_table_and_fasta_of_the_same_proteins_are_the_same(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 30, test=5))
    letters = {1.0: "M", 0.0: "S", -1.0: "U"}
    rows = [
        (letters[p.membrane], p.sequence, p.accession, "", LOCATIONS[p.location], "test" if p.test else "")
        for p in proteins
    ]
    path = tmp_path / "all.tsv"
    path.write_text(TABLE + "".join("\t".join(row) + "\n" for row in rows))
    assert read_labelled(path) == proteins


def test_a_report_counts_lengths_and_labels(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 60))
    said = describe(proteins)
    assert said["residues"] == sum(len(protein.sequence) for protein in proteins)
    assert sum(said["lengths"].values()) == 60 == said["lengths"]["50"] + said["lengths"]["100"]
    exactly = LabelledProtein("P", "A" * 50, 0, 1.0, False)
    assert describe([exactly])["lengths"]["50"] == 1
    assert said["locations"]["Nucleus"]["proteins"] == 6
    row = said["locations"]["Nucleus"]
    assert row["membrane"] + row["soluble"] + row["unknown"] == 6


def test_the_digest_changes_with_a_label(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 4))
    assert digest(proteins) == digest(list(proteins)) != digest(proteins[1:])


def test_balance_lifts_rare_locations_and_keeps_the_mean(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 100))
    skewed = [protein for protein in proteins if protein.location] + proteins[:20:10]
    assert class_weights(skewed, 0.0) == pytest.approx(np.ones(10))
    weights = class_weights(skewed, 0.5)
    assert weights[0] == pytest.approx(weights[1] * (10 / 2) ** 0.5, rel=1e-5)
    assert np.mean([weights[protein.location] for protein in skewed]) == pytest.approx(1.0)


LENGTHS = np.random.default_rng(1).integers(10, 300, 500)


def members(packs: list[list[int]]) -> list[int]:
    return sorted(index for pack in packs for index in pack)


def test_an_epoch_sees_every_protein_once_in_packs_of_like_length() -> None:
    steps = plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=0)
    packs = [pack for step in steps for pack in step.packs]
    assert members(packs) == list(range(500))
    assert all(step.proteins == sum(map(len, step.packs)) >= 32 for step in steps[:-1])
    padded = sum(len(pack) * (max(LENGTHS[pack]) + 2) for pack in packs)
    assert padded < 1.1 * sum(LENGTHS + 2)
    assert 0 < padding_share(steps, LENGTHS + 2) < 0.2  # here rounded up to a multiple as well
    assert padding_share([Step(2, [[0], []])], np.array([32, 64])) == 0


def test_the_next_epoch_is_ordered_otherwise_and_a_repeated_one_alike() -> None:
    def plan(epoch: int) -> list[list[list[int]]]:
        planned = plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=epoch)
        return [step.packs for step in planned]

    assert plan(0) == plan(0) != plan(1)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_processes_share_each_step_in_equal_number_of_packs(world: int) -> None:
    alone = plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=0)
    shares = [
        plan_epoch(LENGTHS, batch_size=32, token_budget=2000, seed=1, epoch=0, rank=rank, world=world)
        for rank in range(world)
    ]
    for number, step in enumerate(alone):
        parts = [share[number] for share in shares]
        assert members([pack for part in parts for pack in part.packs]) == members(step.packs)
        assert len({len(part.packs) for part in parts}) == 1
        assert {part.proteins for part in parts} == {step.proteins}
