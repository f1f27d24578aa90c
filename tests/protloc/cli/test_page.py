"""`protloc report` and `protloc open`, as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from protloc.cli.results import fetch_report
from protloc.stack.client import Client
from tests.conftest import Embedded
from tests.page.made import about, fasta, model, rows

LIMIT_SECONDS = 120


def test_open_prints_an_address_that_lets_one_in_and_ctrl_c_ends_it_well(embedded: Embedded) -> None:
    environment = {**os.environ, "PROTLOC_HOME": str(embedded.home), "PYTHONUNBUFFERED": "1"}
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from protloc.cli.main import main; main()"
    command = [sys.executable, "-c", code, "open", "--no-browser"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            address = urlsplit(process.stdout.readline().decode().strip())
            connection = HTTPConnection("127.0.0.1", cast(int, address.port), timeout=LIMIT_SECONDS)
            connection.request("GET", address.path)
            answer = connection.getresponse()
            assert answer.status == 303
            answer.read()
            connection.request(
                "GET", "/api/uploads", headers={"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
            )
            assert "uploads" in json.loads(connection.getresponse().read())
            connection.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_SECONDS) == 0
            assert process.stderr and b"Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_open_of_an_upload_that_is_not_there_says_so(embedded: Embedded) -> None:
    result = embedded.protloc("open", "a" * 26, "--no-browser")
    assert result.exit_code == 2 and "there is no upload" in result.output


def test_report_refuses_what_has_no_results_and_a_place_that_is_none(
    embedded: Embedded, tmp_path: Path
) -> None:
    assert embedded.protloc("report", "a" * 26).exit_code == 2
    (tmp_path / "a.fasta").write_bytes(fasta(3))
    upload = embedded.answer("predict", tmp_path / "a.fasta", "--output", tmp_path / "a.tsv")["upload"]
    result = embedded.protloc("report", upload, "--output", tmp_path / "nowhere" / "a.html")
    assert result.exit_code == 2 and "there is no folder" in result.output
    assert embedded.protloc("report", upload).exit_code == 0
    assert (Path.cwd() / "a.fasta.protloc.html").read_bytes().startswith(b"<!doctype html>")


def test_an_upload_of_an_older_release_gets_its_report_from_its_rows(tmp_path: Path) -> None:
    answers = list(rows(fasta(20)))

    class Older:
        """A stack whose results have no report."""

        def download(self, _uri: str, target: Path) -> None:
            target.write_text("".join(json.dumps(row) + "\n" for row in answers))

        def models(self) -> dict[str, Any]:
            return {"models": [model()]}

    fetch_report(cast(Client, Older()), about(answers), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert f'"version":"{model()["version"]}"' in text and answers[3]["accession"] in text


@pytest.mark.parametrize("command", ["report", "open"])
def test_without_a_cloud_or_a_port_it_is_one_line(command: str, embedded: Embedded, tmp_path: Path) -> None:
    if command == "report":
        result = embedded.protloc("report", "a" * 26, "--home", tmp_path / "none")
        assert result.exit_code == 3
    else:
        port = urlsplit(embedded.client.api_url).port
        result = embedded.protloc("open", "--no-browser", "--port", port)
        assert result.exit_code == 1 and "cannot be served" in result.output
    assert len(result.output.strip().splitlines()) == 1
