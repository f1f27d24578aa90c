"""Files become rows through every function of the deployed stack: nothing lost, nothing twice."""

import gzip
import json
import random
from io import StringIO
from pathlib import Path

import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser

from tests.conftest import SAMPLE, Embedded
from tests.waiting import LIMIT_SECONDS

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def messy_fasta(seed: int, records: int = 400) -> str:
    """Records of every kind a file may hold, in an order that `seed` decides."""
    draw = random.Random(seed)

    def residues(length: int, alphabet: str = AMINO_ACIDS) -> str:
        return "".join(draw.choices(alphabet, k=length))

    def wrapped(sequence: str, width: int, end: str) -> str:
        return "".join(sequence[at : at + width] + end for at in range(0, len(sequence), width))

    kinds = [
        lambda: residues(draw.randint(1, 600)),
        lambda: residues(draw.randint(1, 80)).lower(),
        lambda: residues(draw.randint(5, 50)) + "*",
        lambda: residues(30, AMINO_ACIDS + "UOBZJX"),
        lambda: "",
        lambda: residues(90, "ACGT"),
        lambda: residues(20) + draw.choice("-.1*?é") + residues(20),
        lambda: "MKVLAAGIVGLP",
        lambda: residues(draw.randint(2000, 4000)),
    ]
    out = []
    for number in range(records):
        end = draw.choice(["\n", "\n", "\r\n"])
        header = draw.choice(["sp|P%05d|X_Y name", "p%d", "same %d", ">double %d", "%d | tab\there"]) % number
        body = wrapped(draw.choice(kinds)(), draw.choice([60, 80, 10_000]), end)
        out.append(f">{header}{end}{body}" + draw.choice(["", "", end, " " + end]))
    return "".join(out)


def counted_by_biopython(text: str) -> list[str]:
    return [title for title, _ in SimpleFastaParser(StringIO(text, newline=None))]


@pytest.mark.parametrize("seed", range(3))
def test_every_record_ends_as_exactly_one_row(embedded: Embedded, tmp_path: Path, seed: int) -> None:
    text = messy_fasta(seed).rstrip() + "\n"
    (tmp_path / "messy.fasta").write_text(text, newline="")
    answer = embedded.answer("predict", "messy.fasta", "-o", "rows.jsonl")
    rows = [json.loads(line) for line in Path("rows.jsonl").read_bytes().splitlines()]
    titles = counted_by_biopython(text)
    assert [row["header"] for row in rows] == [title.strip() for title in titles]
    assert answer["records"] == len(titles) == answer["predicted"] + answer["rejected"]
    assert answer["failed"] == 0
    assert all(row["reason"].startswith("line ") for row in rows if row["status"] == "rejected")
    assert [row["offset"] for row in rows] == sorted({row["offset"] for row in rows})


def test_a_compressed_file_gives_the_same_rows(embedded: Embedded, tmp_path: Path) -> None:
    text = messy_fasta(7, 120).encode()
    (tmp_path / "plain.fasta").write_bytes(text)
    (tmp_path / "packed.fasta.gz").write_bytes(gzip.compress(text[:9000]) + gzip.compress(text[9000:]))
    plain, packed = (
        embedded.rows(embedded.answer("predict", name)["upload"])
        for name in ("plain.fasta", "packed.fasta.gz")
    )
    assert plain == packed


def test_the_answer_depends_on_neither_case_nor_company(embedded: Embedded, tmp_path: Path) -> None:
    draw = random.Random(5)
    sequences = ["".join(draw.choices(AMINO_ACIDS, k=draw.randint(20, 500))) for _ in range(40)]
    upper = "".join(f">p{n}\n{sequence}\n" for n, sequence in enumerate(sequences))
    lower = "".join(f">p{n}\n{sequence.lower()}*\n" for n, sequence in reversed(list(enumerate(sequences))))
    (tmp_path / "a.fasta").write_text(upper)
    (tmp_path / "b.fasta").write_text(lower)
    rows = [embedded.rows(embedded.answer("predict", name)["upload"]) for name in ("a.fasta", "b.fasta")]
    assert [row["confidence"] for row in rows[0]] == [row["confidence"] for row in reversed(rows[1])]
    changed = {"lower case read as upper case", "terminal * removed"}
    assert all(changed <= set(row["remarks"]) for row in rows[1])


def test_a_protein_longer_than_the_model_reads_says_how_much_was_read(
    embedded: Embedded, tmp_path: Path
) -> None:
    (tmp_path / "titin.fasta").write_text(">titin\n" + "MKTAYIAKQR" * 3435 + "\n>short\nMKVLAAGIVG\n")
    long, short = embedded.rows(embedded.answer("predict", "titin.fasta")["upload"])
    assert (long["length"], long["truncated"]) == (34_350, True)
    assert 0 < long["residues_read"] < long["length"]
    assert (short["residues_read"], short["truncated"]) == (10, False)


def test_an_object_put_by_anybody_is_an_upload(embedded: Embedded) -> None:
    from functions.domain.upload import upload_id

    s3, bucket = embedded.client.client("s3"), embedded.client.outputs["UploadsBucket"]
    for version in (b">one\nMKVLAAGIVG\n", b">two\nMKVLAAGIVGL\n"):
        stored = s3.put_object(Bucket=bucket, Key="by hand/Größe (1)+x.fa", Body=version)
        upload = upload_id(bucket, "by hand/Größe (1)+x.fa", stored["VersionId"])
        view = embedded.client.wait(upload, lambda _: None, LIMIT_SECONDS)
        assert (view["status"], view["records"]) == ("complete", 1)


def test_the_api_holds_what_the_file_holds(embedded: Embedded) -> None:
    upload = embedded.answer("predict", SAMPLE)["upload"]
    rows = embedded.rows(upload)
    listed = list(embedded.client.predictions(upload))
    assert sorted(row["header"] for row in listed) == sorted(row["header"] for row in rows)
    location = next(row["location"] for row in rows if row["location"])
    there = {row["accession"] for row in embedded.client.predictions(upload, location)}
    assert there == {row["accession"] for row in rows if row["location"] == location}
