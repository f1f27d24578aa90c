"""The other commands: models and the cloud itself, here and on a stack by name."""

import json
import os
from pathlib import Path

import pytest

from model.serving.artifact import pack
from protloc.cli.main import main
from tests.conftest import SAMPLE, Embedded
from tests.model.tiny import build_tiny_artifact

STATUS_KEYS = {"pid", "state", "api", "console_url", "home", "active_model"}


def test_status_is_the_agreed_json(embedded: Embedded, tmp_path: Path) -> None:
    answer = embedded.answer("status")
    assert set(answer) >= STATUS_KEYS
    assert answer["state"] == "running" and answer["api"] == embedded.client.api_url
    stopped = embedded.protloc("status", "--json", PROTLOC_HOME=str(tmp_path / "other"))
    assert stopped.exit_code == 0 and json.loads(stopped.stdout)["state"] == "stopped"


def test_up_is_quick_and_says_where_the_api_is_when_all_is_there(embedded: Embedded) -> None:
    result = embedded.protloc("up")
    assert result.exit_code == 0
    assert embedded.client.api_url in result.stdout
    assert "deploying" not in result.stderr
    assert "comes with another model" in result.stderr  # the shipped one, which this cloud has never seen


def test_pages_are_followed_to_the_end(embedded: Embedded, tmp_path: Path) -> None:
    source = tmp_path / "many.fasta"
    source.write_bytes(b"".join(b">p%d\nMKVLAAGIVG\n" % n for n in range(450)))
    upload = embedded.answer("predict", source)["upload"]
    names = [row["accession"] for row in embedded.client.predictions(upload)]
    assert names == [f"p{n}" for n in range(450)]


def test_a_stack_by_name_answers_like_the_embedded_cloud(embedded: Embedded, as_stack: list[str]) -> None:
    answer = embedded.protloc("predict", SAMPLE, "--json", *as_stack, **os.environ)
    assert answer.exit_code == 0, answer.stderr
    upload = json.loads(answer.stdout)["upload"]
    result = embedded.protloc("show", upload, *as_stack, **os.environ)
    assert "complete" in result.stdout and f"protloc results {upload} --stack protloc" in result.stdout


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_REGION", "stack", "cloud"])
def test_a_stack_that_cannot_be_reached_exits_3(
    embedded: Embedded, as_stack: list[str], monkeypatch: pytest.MonkeyPatch, missing: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    if missing == "stack":
        as_stack = ["--stack", "no-such-stack"]
    elif missing == "cloud":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    else:
        monkeypatch.delenv(missing)
    result = embedded.protloc("uploads", *as_stack, **os.environ)
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1


def test_a_model_version_is_added_and_answers_what_comes_next(embedded: Embedded, tmp_path: Path) -> None:
    before = embedded.answer("models")["active"]
    folder = build_tiny_artifact(tmp_path / "tiny-2", "tiny-2", seed=2)
    result = embedded.protloc("models", "add", folder, "--yes")
    assert result.exit_code == 0, result.stderr
    assert "making it the active version" in result.stderr
    after = embedded.answer("models")
    assert before != after["active"] == "tiny-2"
    rows = embedded.rows(embedded.answer("predict", SAMPLE)["upload"])
    assert {row["model_version"] for row in rows if row["status"] == "predicted"} == {"tiny-2"}
    again = embedded.protloc("models", "add", folder, "--yes")
    assert again.exit_code == 2 and "tiny-2" in again.stderr


def test_a_model_of_somebody_else_is_not_run_unasked(embedded: Embedded, tmp_path: Path) -> None:
    folder = build_tiny_artifact(tmp_path / "foreign", "foreign", seed=3)
    archive = pack(folder, tmp_path / "model.tar.gz")
    for artifact in (folder, archive):
        result = embedded.protloc("models", "add", artifact)
        assert result.exit_code == 2, result.output
        assert "brings code that runs on this machine" in result.stderr and "--yes" in result.stderr
    versions = {view["version"] for view in embedded.answer("models")["models"]}
    assert "foreign" not in versions
    bucket = embedded.client.outputs["ModelsBucket"]
    stored = embedded.client.client("s3").list_objects_v2(Bucket=bucket, Prefix="models/foreign/")
    assert not stored["KeyCount"], "nothing of it was sent"


def test_a_broken_artifact_is_refused_before_anything_is_uploaded(embedded: Embedded, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    (tmp_path / "folder").mkdir()
    for artifact in ("model.tar.gz", "folder", "s3://no-such-bucket/model.tar.gz", "s3://"):
        result = embedded.protloc("models", "add", tmp_path / artifact if ":" not in artifact else artifact)
        assert result.exit_code == 2, result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_every_command_explains_itself(embedded: Embedded) -> None:
    assert embedded.protloc().exit_code == 0
    for name in main.commands:
        result = embedded.protloc(name, "--help")
        assert result.exit_code == 0 and "Usage: protloc" in result.stdout
