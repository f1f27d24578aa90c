"""Proteins are divided for learning and choosing, counted, and named by a digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.proteins.labelled import LabelError, LabelledProtein, read_labelled
from model.proteins.training_data import describe, digest, split
from tests.model.tiny import write_labelled


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


def test_a_validation_file_takes_its_sequences_from_training_and_not_its_accessions(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">P1 Nucleus-S\nMKV\n>P2 Nucleus-S\nMKW\n>P3 Nucleus-S\nMKY\n")
    (tmp_path / "validation.fasta").write_text(">P1 Nucleus-S\nMAA\n>P9 Nucleus-S\nMKW\n")
    training, validation = split(read_labelled(tmp_path / "a.fasta"), tmp_path / "validation.fasta")
    assert [protein.accession for protein in training] == ["P1", "P3"]
    assert [protein.accession for protein in validation] == ["P1", "P9"]


def test_a_list_that_names_no_protein_is_an_error(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 20))
    listed = tmp_path / "validation.txt"
    listed.write_text("SOMETHING\n")
    with pytest.raises(LabelError, match="found 20 and 0"):
        split(proteins, listed)


def test_a_report_counts_lengths_and_labels(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 60))
    report = describe(proteins)
    assert report["residues"] == sum(len(protein.sequence) for protein in proteins)
    assert sum(report["lengths"].values()) == 60 == report["lengths"]["50"] + report["lengths"]["100"]
    exactly = LabelledProtein("P", "A" * 50, 0, 1.0, False)
    assert describe([exactly])["lengths"]["50"] == 1
    assert report["locations"]["Nucleus"]["proteins"] == 6
    row = report["locations"]["Nucleus"]
    assert row["membrane"] + row["soluble"] + row["unknown"] == 6


def test_the_digest_changes_with_a_label(tmp_path: Path) -> None:
    proteins = read_labelled(write_labelled(tmp_path / "all.fasta", 4))
    assert digest(proteins) == digest(list(proteins)) != digest(proteins[1:])
