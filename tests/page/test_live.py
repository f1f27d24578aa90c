"""`protloc open` and `protloc report` on an embedded cloud: a file is pasted or dropped, watched, and looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from protloc.page.server import PageServer
from tests.conftest import Embedded
from tests.page.made import fasta
from tests.waiting import until

pytestmark = pytest.mark.page

PASTED = ">sp|P01308|INS_HUMAN Insulin OS=Homo sapiens\nMALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKT\n>odd <b>x</b>\nMK1V\n"


@pytest.fixture
def server(embedded: Embedded) -> Iterator[PageServer]:
    with PageServer(embedded.client) as made:
        Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
        yield made
        made.shutdown()


def test_pasted_sequences_are_looked_through_sent_watched_and_shown(
    open_page: Callable[..., Any], server: PageServer, embedded: Embedded
) -> None:
    page = open_page(server.address)
    assert "/open/" not in page.url
    page.get_by_label("or paste sequences").fill(PASTED)
    page.get_by_role("button", name="Look through it").click()
    summary = page.locator(".found")
    assert "1 protein with 54 residues, and 1 record that will get no answer" in summary.inner_text()
    assert "'1' at residue 3 is no amino acid" in summary.inner_text()
    page.get_by_role("button", name="Predict where they are").click()
    page.wait_for_selector("h1:has-text('2 records: 1 answered')")
    assert "upload=" in page.url
    upload = re.search(r"upload=([a-z2-7]{26})", page.url)
    assert upload
    # The page shows rows as soon as they are there, the results come with the end.
    until(lambda: embedded.client.upload(upload[1])["results"], "results")
    [row, _] = embedded.rows(upload[1])
    page.get_by_role("button", name="P01308").click()
    assert f"confidence of {row['confidence']:.2f}" in page.locator(".protein").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON Lines").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert [json.loads(line)["accession"] for line in text.splitlines()] == ["P01308", "odd"]
    page.get_by_role("button", name="Another file").click()
    page.wait_for_selector("h1:has-text('Where in the cell')")
    page.get_by_role("button", name="pasted.fasta").first.click()
    page.wait_for_selector("h1:has-text('2 records')")


def test_a_chosen_file_shows_rows_until_it_is_done(
    open_page: Callable[..., Any], server: PageServer, tmp_path: Path
) -> None:
    file = tmp_path / "many & <odd>.fasta"
    file.write_bytes(fasta(400))
    page = open_page(server.address)
    page.locator("input[type=file]").set_input_files(file)
    page.wait_for_selector(".found:has-text('395 proteins')")
    page.get_by_role("button", name="Predict where they are").click()
    page.wait_for_selector(".progress")
    page.wait_for_selector(".progress", state="detached")
    page.wait_for_selector("h1:has-text('400 records: 395 answered')")
    assert page.locator(".file").inner_text() == file.name


DROP = """text => {
  const moved = new DataTransfer();
  moved.items.add(new File([text], 'dropped.fa'));
  document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: moved, bubbles: true, cancelable: true}));
}"""


def test_a_file_may_be_dropped_anywhere(open_page: Callable[..., Any], server: PageServer) -> None:
    page = open_page(server.address)
    page.evaluate(DROP, PASTED)
    page.wait_for_selector(".found h2:has-text('dropped.fa')")
    assert "1 protein with 54 residues" in page.locator(".found").inner_text()


def test_a_file_that_is_no_fasta_is_reported_before_it_is_sent(
    open_page: Callable[..., Any], server: PageServer
) -> None:
    page = open_page(server.address)
    page.get_by_label("or paste sequences").fill("<!doctype html><title>404</title>")
    page.get_by_role("button", name="Look through it").click()
    assert "an HTML page" in page.locator(".found").inner_text()
    assert page.get_by_role("button", name="Predict where they are").count() == 0


def test_report_writes_the_page_as_a_file_that_opens_offline(
    open_page: Callable[..., Any], embedded: Embedded, tmp_path: Path
) -> None:
    (tmp_path / "a.fasta").write_text(PASTED)
    upload = embedded.answer("predict", tmp_path / "a.fasta", "--output", tmp_path / "a.tsv")["upload"]
    written = embedded.protloc("report", upload, "--output", tmp_path / "a.html")
    assert written.exit_code == 0, written.output
    page = open_page(tmp_path / "a.html", offline=True)
    assert page.locator("h1").inner_text().startswith("2 records: 1 answered")
    assert page.locator(".protein").count() == 0
    assert "tiny" in page.locator(".verdict").inner_text()
