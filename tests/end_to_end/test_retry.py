"""Failed records are tried again, through every function of the deployed stack and under their own permissions."""

from pathlib import Path

from tests.conftest import Embedded
from tests.end_to_end.failing import failed_upload


def test_a_retry_answers_failed_records_and_leaves_the_rest(embedded: Embedded, tmp_path: Path) -> None:
    sequence = "MKVLAAGIVGLWRETRY"
    source = tmp_path / "in.fasta"
    source.write_text(
        f">known\n{sequence}\n>bad\nMK1V\n" + "".join(f">p{n}\n{sequence}{'AC' * n}\n" for n in range(1, 41))
    )
    upload = failed_upload(embedded, source)
    before = embedded.client.upload(upload)
    assert (before["status"], before["records"], before["failed"], before["rejected"]) == (
        "partial",
        42,
        41,
        1,
    )
    rows = list(embedded.client.predictions(upload))
    assert sum("again and again" in row["reason"] for row in rows) == 41

    answer = embedded.answer("retry", upload)
    counts = [answer[name] for name in ("status", "records", "predicted", "rejected", "failed")]
    assert counts == ["complete", 42, 41, 1, 0]
    exported = embedded.rows(upload)
    assert [row["header"] for row in exported] == ["known", "bad", *(f"p{n}" for n in range(1, 41))]
    rows = list(embedded.client.predictions(upload))
    assert [row["status"] for row in rows].count("predicted") == 41 and len(rows) == 42
    after = embedded.client.upload(upload)
    assert after["attempts"] == 2 and after["results"] != before["results"]
