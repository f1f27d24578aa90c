"""The look at labelled proteins before training counts the proteins, and the residues that each limit would cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import look


def write(folder: Path, *lengths: int) -> Path:
    path = folder / "mine.fasta"
    records = [f">P{number} Nucleus-S\n{'MKV' * length}\n" for number, length in enumerate(lengths)]
    path.write_text("".join(records) + ">T1 Cytoplasm-U test\nMAV\n")
    return path


def test_it_counts_locations_lengths_and_what_a_limit_cuts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look.main([str(write(tmp_path, 10, 10, 200)), "--plot", str(tmp_path / "lengths.png")])
    printed = capsys.readouterr().out
    assert printed.startswith(
        "4 proteins, 663 residues; 1 marked test, 1 with the sequence of another; membrane: 0 M, 3 S, 1 U\n"
    )
    assert "Nucleus                      3" in printed and "none of Cell.membrane," in printed
    assert "--max-residues   510:  25.0% are read at their ends only;  86.4% of the work" in printed
    assert "the longest 600" in printed
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "problem"),
    [("", "expected proteins in"), (">P1 Nowhere-S\nMKV\n", "unknown location 'Nowhere'")],
)
def test_a_file_that_cannot_be_learned_from_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.fasta"
    path.write_text(content)
    with pytest.raises(SystemExit, match=problem):
        look.main([str(path)])
