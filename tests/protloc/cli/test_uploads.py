"""`protloc uploads`, `show`, `retry`, `cancel` and `delete`: their answers and exit codes, here and on a stack by name."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import SAMPLE, Embedded
from tests.end_to_end.failing import failed_upload, is_split, without_predict
from tests.waiting import until

VIEW_KEYS = {
    "upload",
    "status",
    "reason",
    "records",
    "predicted",
    "rejected",
    "failed",
    "results",
    "progress",
}


def test_show_and_uploads_tell_of_an_upload(embedded: Embedded) -> None:
    upload = embedded.answer("predict", SAMPLE)["upload"]
    answer = embedded.answer("show", upload)
    assert set(answer) >= VIEW_KEYS
    assert (answer["status"], answer["records"], answer["rejected"]) == ("complete", 47, 1)
    assert "sample.fasta" in embedded.protloc("show", upload).stdout
    listed = embedded.answer("uploads", "-n", "1")["uploads"]
    assert [view["upload"] for view in listed] == [upload]
    assert upload in embedded.protloc("uploads").stdout


def test_a_retry_is_offered_and_done(embedded: Embedded, tmp_path: Path) -> None:
    source = tmp_path / "in.fasta"
    source.write_text(">offered\nMKVLAWRETRYCLI\n>odd\nMK1V\n")
    upload = failed_upload(embedded, source)
    written = embedded.protloc("results", upload)
    assert written.exit_code == 1
    assert f"try again what failed with `protloc retry {upload}`" in written.stderr
    result = embedded.protloc("retry", upload, "-o", "again.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "attempt 2 at what failed has begun" in result.stderr
    rows = [json.loads(line) for line in Path("again.jsonl").read_bytes().splitlines()]
    assert [(row["accession"], row["status"]) for row in rows] == [
        ("offered", "predicted"),
        ("odd", "rejected"),
    ]
    assert "attempts  2" in embedded.protloc("show", upload).stdout
    again = embedded.protloc("retry", upload)
    assert again.exit_code == 2 and again.stdout == ""
    assert again.stderr == "protloc: no record of the upload failed; there is nothing to retry\n"


def test_a_retry_on_a_stack_by_name_can_be_left_alone_and_come_back_to(
    embedded: Embedded,
    as_stack: list[str],
    tmp_path: Path,
) -> None:
    source = tmp_path / "in.fasta"
    source.write_text(">left\nMKVLAWRETRYSTACK\n")
    upload = failed_upload(embedded, source)
    with without_predict(embedded):
        result = embedded.protloc("retry", upload, "--no-wait", *as_stack, **os.environ)
        assert (result.exit_code, result.stdout) == (0, f"{upload}\n")
        twice = embedded.protloc("retry", upload, *as_stack, **os.environ)
        assert twice.exit_code == 2 and "still in work" in twice.stderr
    assert embedded.answer("results", upload, "--wait")["predicted"] == 1


def test_an_upload_without_failures_is_left_as_it_is(embedded: Embedded) -> None:
    upload = embedded.answer("predict", SAMPLE)["upload"]
    before = embedded.client.upload(upload)
    assert embedded.protloc("retry", upload).exit_code == 2
    assert embedded.protloc("retry", upload, "--json", "-o", "-").exit_code == 2
    assert embedded.client.upload(upload) == before


def test_an_upload_is_cancelled_and_gone_on_with(embedded: Embedded, tmp_path: Path) -> None:
    source = tmp_path / "unwanted.fasta"
    source.write_text(">unwanted\nMKVLAWCANCELCLI\n>odd\nMK1V\n")
    with without_predict(embedded):
        upload = embedded.answer("predict", source, "--no-wait")["upload"]
        until(lambda: is_split(embedded.client.find_upload(upload)))
        assert embedded.answer("cancel", "unwanted.fasta")["status"] == "running"
        result = embedded.protloc("cancel", upload)
        assert result.exit_code == 0 and f"protloc results {upload} --wait" in result.stdout
    ended = embedded.protloc("results", upload, "--wait", "-o", "out.tsv")
    assert ended.exit_code == 1
    reason = "the upload was cancelled; 1 of 2 records have no answer"
    assert ended.stderr.splitlines()[-1].startswith(f"protloc: {reason}; try again what failed with")
    assert embedded.answer("cancel", upload)["status"] == "cancelled"
    answer = embedded.answer("retry", upload)
    assert (answer["status"], answer["predicted"], answer["rejected"]) == ("complete", 1, 1)
    late = embedded.protloc("cancel", upload)
    assert (late.exit_code, late.stderr) == (2, "protloc: the upload has ended as complete\n")


def test_a_deleted_upload_leaves_nothing_in_the_stack(embedded: Embedded, tmp_path: Path) -> None:
    source = tmp_path / "regretted.fasta"
    source.write_text(">regretted\nMKVLAWREGRETTEDCLI\n")
    upload = embedded.answer("predict", source)["upload"]
    view = embedded.client.upload(upload)
    refused = embedded.protloc("delete", upload)
    assert refused.exit_code == 2 and "add --yes" in refused.stderr
    assert embedded.answer("delete", upload, "--yes") == {"upload": upload, "deleted": True}
    result = embedded.protloc("show", upload)
    assert (result.exit_code, result.stderr) == (2, "protloc: This upload was deleted.\n")
    assert upload not in [each["upload"] for each in embedded.answer("uploads")["uploads"]]
    s3, outputs = embedded.client.client("s3"), embedded.client.outputs

    def remains() -> list[str]:
        prefixes = {outputs["UploadsBucket"]: view["key"], outputs["ResultsBucket"]: ""}
        return [
            each["Key"]
            for bucket, prefix in prefixes.items()
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
            for kind in ("Versions", "DeleteMarkers")
            for each in page.get(kind, [])
            if upload in each["Key"] or each["Key"] == view["key"]
        ]

    until(lambda: not remains(), remains)
    until(lambda: not list(embedded.client.protein("regretted")))
    assert embedded.answer("delete", upload, "--yes")["deleted"]
    nobody = embedded.protloc("delete", "a" * 26, "--yes")
    assert nobody.exit_code == 2 and "there is no upload" in nobody.stderr


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["uploads"], ["upload", "file", "status", "records"]),
        (["models"], ["version", "state", "Q10"]),
        (["predict", str(SAMPLE), "--table"], ["accession", "location", "confidence"]),
    ],
)
def test_a_table_on_a_narrow_terminal_has_fewer_columns_and_whole_words(
    embedded: Embedded, words: list[str], columns: list[str]
) -> None:
    if not list(embedded.client.uploads()):
        embedded.answer("predict", SAMPLE)
    result = embedded.protloc(*words, COLUMNS="60")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    rows = [line for line in lines if line.startswith(" ") and line.endswith(" ")]  # and not of commands
    assert max(map(len, rows)) <= 60 and columns in [row.split() for row in rows]
