"""`protloc explain`: the residues that an answer hangs on, in the terminal and as JSON."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protloc.cli.explaining import drawn, verdict
from tests.conftest import Embedded
from tests.end_to_end.failing import without_model

INSULIN = "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQCCTSICSLYQLENYCN"
FASTA = f">sp|P01308|INS_HUMAN Insulin\n{INSULIN}\n>odd\nMK1V\n>same\nMKVLAAGIVGLCAK\n>same\nMKVLAAGIVGLCAW\n"


def test_lines_without_a_marked_residue_are_left_out_but_for_the_ends() -> None:
    sequence = "A" * 320
    importance = [0.0] * 320
    importance[155] = 2.0
    lines = list(drawn(sequence, importance, [156]))
    assert [line.split()[0] for line in lines[::1] if line.strip() and line.split()[0].isdigit()] == [
        "1",
        "151",
        "301",
    ]
    assert sum("…" in line for line in lines) == 2
    assert sum(line.count("█") for line in lines) == 1
    assert max(map(len, lines)) <= 60


def test_an_answer_that_rests_on_the_whole_protein_says_so() -> None:
    view = {"probability": 0.9, "without_marked": 0.8, "without_others": 0.9, "marked": [1, 2]}
    assert any("whole protein" in sentence for sentence in verdict(view))
    assert not any("whole protein" in sentence for sentence in verdict(view | {"without_marked": 0.2}))
    assert verdict(view)[-1] == "It marks where the answer comes from, not why."


@pytest.fixture(scope="module")
def upload(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("explained") / "four.fasta"
    file.write_text(FASTA)
    identity: str = embedded.answer("predict", file, "-o", file.with_suffix(".tsv"))["upload"]
    return identity


def test_a_protein_of_an_upload_is_explained_by_the_whole_stack(embedded: Embedded, upload: str) -> None:
    view = embedded.answer("explain", upload, "P01308")
    row = next(row for row in embedded.rows(upload) if row["accession"] == "P01308")
    assert (view["sequence"], view["location"]) == (INSULIN, row["location"])
    assert len(view["importance"]) == len(INSULIN) and view["marked"]
    result = embedded.protloc("explain", upload[:8], "P01308")
    assert result.exit_code == 0, result.output
    assert INSULIN[:50] in result.stdout and "not why" in result.stdout


def test_a_protein_without_an_answer_is_reported_in_one_line(embedded: Embedded, upload: str) -> None:
    for accession, words in (("odd", "has no answer for odd"), ("none", "has no protein none")):
        result = embedded.protloc("explain", upload, accession)
        assert result.exit_code == 2 and words in result.stderr


def test_of_records_of_one_name_the_first_is_explained(embedded: Embedded, upload: str) -> None:
    result = embedded.protloc("explain", upload, "same")
    assert result.exit_code == 0 and "2 records have this name" in result.stderr
    assert "MKVLAAGIVGLCA" in result.stdout


def explaining(cloud: Embedded, *arguments: str) -> subprocess.Popen[str]:
    """`protloc explain` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from protloc.cli.main import main; main()", "explain", *arguments],
        env=os.environ | {"PROTLOC_HOME": str(cloud.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_model_that_starts_is_waited_for(embedded: Embedded, tmp_path: Path) -> None:
    file = tmp_path / "new.fasta"
    file.write_text(">new\nMKVWWWLAAGIVGLCAKMKV\n")
    upload = embedded.answer("predict", file)["upload"]
    with without_model(embedded):
        command = explaining(embedded, upload, "new")
        assert command.stderr
        assert "waiting for it" in command.stderr.readline()
    stdout, stderr = command.communicate()
    assert command.returncode == 0 and "MKVWWWLAAGIVGLCAKMKV" in stdout, stderr


def test_a_model_that_does_not_come_leaves_the_command_to_ask_again(
    embedded: Embedded, tmp_path: Path
) -> None:
    file = tmp_path / "other.fasta"
    file.write_text(">o|dd;name\nMKVWWYLAAGIVGLCAKMKV\n")
    upload = embedded.answer("predict", file)["upload"]
    with without_model(embedded):
        result = embedded.protloc("explain", "latest", "o|dd;name", "--timeout", "1s")
    assert result.exit_code == 3 and len(result.stderr.splitlines()) == 1
    assert f"`protloc explain {upload} 'o|dd;name'`" in result.stderr
    assert embedded.protloc("explain", upload, "o|dd;name").exit_code == 0
