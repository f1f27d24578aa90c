"""Whole proteomes and the messy files of the shared data, with the model that ships."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser

from tests.conftest import ROOT, Embedded

SHARED = ROOT.parent / "shared" / "data"
FILES = sorted(path for folder in ("uploads", "messy") for path in (SHARED / folder).glob("*.*"))
MAX_FUNCTION_BYTES = 512 * 1024 * 1024

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not FILES, reason="the shared data is not there")]


@pytest.fixture(scope="module")
def cloud(start_embedded: Callable[..., Embedded]) -> Embedded:
    return start_embedded(ROOT / "model" / "default")


class LargestFunction:
    """Watches the memory of a cloud's function processes, which are told the cloud's process to end with it."""

    def __init__(self, cloud_pid: int) -> None:
        self.bytes = 0
        self._cloud_pid = str(cloud_pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "LargestFunction":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for process in psutil.process_iter():
                try:
                    words = process.cmdline()
                    if words[-1:] == [self._cloud_pid] and words[-2].endswith("runtime.py"):
                        self.bytes = max(self.bytes, process.memory_info().rss)
                except psutil.Error:
                    continue


def titles(path: Path) -> Iterator[str]:
    """The records Biopython reads from a file, of any line end, compressed or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        for title, _ in SimpleFastaParser(line for line in file if line.strip()):
            yield title.strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_record_of_a_shared_file_is_answered(cloud: Embedded, tmp_path: Path, path: Path) -> None:
    expected = list(titles(path))
    pid = cloud.answer("status")["pid"]
    began = time.monotonic()
    with LargestFunction(pid) as largest:
        answer = cloud.answer("predict", path, "-o", "rows.jsonl")
    seconds = time.monotonic() - began
    with open("rows.jsonl", encoding="utf-8") as file:
        headers = [json.loads(line)["header"] for line in file]
    print(
        f"\n{path.name}: {answer['records']} records, {answer['rejected']} rejected, {seconds:.1f} s, "
        f"{answer['records'] / seconds:.0f} records/s, largest function {largest.bytes / 2**20:.0f} MiB"
    )
    assert headers == expected
    assert answer["records"] == answer["predicted"] + answer["rejected"] == len(expected)
    assert answer["failed"] == 0
    assert 0 < largest.bytes <= MAX_FUNCTION_BYTES
