"""`protloc estimate`, as it is typed."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protloc.cli.main import main
from protloc.estimate.offers import PROTBERT, SMALL
from protloc.estimate.reading import examine
from tests.conftest import SAMPLE, Embedded


def estimate(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["estimate", *map(str, arguments)], input=stdin)


def packed(name: str) -> bytes:
    text = SAMPLE.read_bytes()
    if name == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.fasta", text)
            archive.writestr("b.pdf", b"%PDF-1.4")
        return file.getvalue()
    return gzip.compress(text, mtime=0) if name == "gzip" else text


def test_an_estimate_agrees_with_what_comes_of_the_file(embedded: Embedded) -> None:
    expected = embedded.answer("predict", SAMPLE)
    answer = json.loads(estimate(SAMPLE, "--json").stdout)
    assert [answer[name] for name in ("records", "proteins", "rejected")] == [
        expected[name] for name in ("records", "predicted", "rejected")
    ]
    rejected = [row for row in embedded.rows(expected["upload"]) if row["status"] == "rejected"]
    assert [
        (each["accession"], f"line {each['line']}: {each['reason']}") for each in answer["first_rejected"]
    ] == [(row["accession"], row["reason"]) for row in rejected]


@pytest.mark.parametrize("way", ["plain", "gzip", "zip"])
def test_files_are_read_as_they_come(way: str, tmp_path: Path) -> None:
    plain = examine(io.BytesIO(SAMPLE.read_bytes()))
    path = tmp_path / "input"
    path.write_bytes(packed(way))
    answer = json.loads(estimate(path, "--json").stdout)
    assert (answer["records"], answer["residues"]) == (plain.records, plain.work.residues)
    assert [name for name in answer["warnings"] if "b.pdf" in name] or way != "zip"
    if way != "zip":
        assert json.loads(estimate("-", "--json", stdin=packed(way)).stdout)["records"] == plain.records


def test_the_offers_have_minutes_and_dollars_by_service() -> None:
    answer = json.loads(estimate(SAMPLE, "--json").stdout)
    here, *on_aws = answer["offers"]
    assert "this machine" in here["where"]
    assert here["dollars"] == 0
    assert {offer["where"] for offer in on_aws} == {*SMALL, *PROTBERT}
    for offer in on_aws:
        assert offer["minutes"] > here["minutes"]
        assert offer["dollars"] == pytest.approx(sum(offer["by_service"].values()), abs=1e-3)
    text = estimate(SAMPLE).stdout
    assert "46 to be predicted" in text
    assert "no residues" in text
    assert "ml.c7i.2xlarge" in text


def test_a_file_that_would_be_refused_is_refused_with_the_same_reason(tmp_path: Path) -> None:
    path = tmp_path / "text.pdf"
    path.write_bytes(b"%PDF-1.7 and so on")
    result = estimate(path)
    assert result.exit_code == 2
    assert "text.pdf would be refused: expected FASTA text" in result.output
    assert estimate(tmp_path / "none.fasta").exit_code == 2


def test_a_file_without_a_protein_has_no_offers(tmp_path: Path) -> None:
    path = tmp_path / "dna.fasta"
    path.write_bytes(b">a\nACGTACGTACGTACGTACGT\n")
    answer = json.loads(estimate(path, "--json").stdout)
    assert (answer["proteins"], answer["rejected"], answer["offers"]) == (0, 1, [])
