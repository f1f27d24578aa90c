import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain import packing
from functions.domain.packing import PackingSettings, pack
from functions.domain.protein import Protein, Rejection
from functions.domain.upload import Shard, Source, Upload
from functions.split import batch_message

SMALL = PackingSettings(batch_residues=50, batch_proteins=4, window_records=12, window_residues=300)


def protein(offset: int, sequence: str, header: str = "") -> Protein:
    return Protein(offset, 0, "P", header, sequence, ())


records = st.lists(
    st.one_of(st.integers(1, 70).map(lambda length: "A" * length), st.none()), max_size=60
).map(
    lambda made: [
        protein(offset, sequence) if sequence else Rejection(offset, 0, "P", "", 0, "empty")
        for offset, sequence in enumerate(made)
    ]
)


@given(records=records)
def test_every_record_is_in_exactly_one_batch(records: list[Protein | Rejection]) -> None:
    batches = list(pack(records, SMALL))
    packed = [record for batch in batches for record in (*batch.proteins, *batch.rejections)]
    assert sorted(packed, key=lambda record: record.offset) == records
    assert [batch.number for batch in batches] == list(range(len(batches)))


@given(records=records)
def test_no_batch_is_over_a_limit_unless_it_is_one_protein(records: list[Protein | Rejection]) -> None:
    for batch in pack(records, SMALL):
        assert bool(batch.proteins) != bool(batch.rejections)
        residues = sum(len(p.sequence) for p in batch.proteins)
        assert len(batch.proteins) <= 4
        assert residues <= 50 or len(batch.proteins) == 1


@given(records=records)
def test_packing_is_a_pure_function(records: list[Protein | Rejection]) -> None:
    assert list(pack(records, SMALL)) == list(pack(iter(records), SMALL))


def test_identical_sequences_meet_in_one_batch() -> None:
    batches = list(
        pack([protein(n, "MK" if n % 5 else "MKVAG") for n in range(10)], replace(SMALL, batch_proteins=2))
    )
    assert [p.sequence for p in batches[0].proteins] == ["MKVAG", "MKVAG"]


def test_a_message_of_hostile_headers_fits_a_queue() -> None:
    shard = Shard("u", 0, Source("b", "k", "v"), 0, 1)
    upload = Upload("u", shard.text, 1, "m", "", 0, True)
    header = "\x01\u202e" * 500
    for batch in pack([protein(n, "MKV", header) for n in range(2_000)], PackingSettings()):
        assert len(json.dumps(batch_message(batch, shard, upload))) < 1024 * 1024


@given(accession=st.text(max_size=20), header=st.text(max_size=60))
def test_the_bytes_of_names_are_those_of_their_json(accession: str, header: str) -> None:
    """The batches of an upload under way depend on them."""
    named = protein(0, "MKV", header)._replace(accession=accession)
    assert packing._names_bytes(named) == len(json.dumps((accession, header)))


def test_no_json_is_written_to_measure_plain_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr("functions.domain.packing.json.dumps", lambda value: written.append(value) or "")
    made = [protein(number, "MKV", f"sp|P{number}|X_HUMAN A protein OS=Homo sapiens") for number in range(50)]
    assert list(pack(made, SMALL)) and not written
