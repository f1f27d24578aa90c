"""Many uploads at once while the machine dies again and again: every record once, and memory that stays.

In between the disk is full for a while once, and the cloud stopped by a signal once.

`PROTLOC_SOAK_UPLOADS` and `PROTLOC_SOAK_KILLS` scale it; the files and the moments of the kills are drawn from a
seed. The cloud is killed when a drawn share of all records is answered, so every kill meets work under way.
"""

import gzip
import io
import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psutil
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser

from tests.conftest import Embedded
from tests.waiting import until

UPLOADS = int(os.environ.get("PROTLOC_SOAK_UPLOADS", "50"))
KILLS = int(os.environ.get("PROTLOC_SOAK_KILLS", "10"))
SEED = 9
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
WAIT_SECONDS = 1200.0

MIN_KNOWN = 10
"""The fewest residues that are answered."""
ROW_BYTES = 2_000
"""The most that a row may cost the embedded cloud, whose tables are on disk: messages and objects stay in memory."""
SLACK_BYTES = 64 * 1024**2
"""The most that a process may grow by besides, from one wave of uploads to the next: noise."""
FUNCTION_BYTES = 256 * 1024**2
SLACK_FILES = 64
"""The most files and connections that the cloud may hold open besides, from one wave to the next."""

pytestmark = pytest.mark.soak


class File(NamedTuple):
    """One file of the soak."""

    name: str
    body: bytes
    text: str


def files(seed: int) -> list[File]:
    """Files of one record to some thousand, some of them compressed, with proteins in common."""
    draw = random.Random(seed)
    common = ["".join(draw.choices(AMINO_ACIDS, k=draw.randint(5, 300))) for _ in range(50)]
    made = []
    for number in range(UPLOADS):
        records = round(10 ** draw.uniform(0, 3))
        text = "".join(f">{name}\n{body}\n" for name, body in _records(draw, number, records, common))
        packed = draw.random() < 0.3
        body = gzip.compress(text.encode(), mtime=0) if packed else text.encode()
        made.append(File(f"{number}.fasta" + ".gz" * packed, body, text))
    return made


def _records(draw: random.Random, number: int, records: int, common: list[str]) -> Iterator[tuple[str, str]]:
    for record in range(records):
        body = draw.choice(common) if draw.random() < 0.2 else "".join(draw.choices(AMINO_ACIDS, k=draw.randint(1, 400)))  # fmt: skip
        if draw.random() < 0.05:
            body += draw.choice("1?")
        yield f"u{number}r{record} of {records}", body


def expected(file: File) -> list[tuple[str, str, int]]:
    """Header, status and length of each record, as Biopython reads the file."""
    return [
        (title, "predicted" if body.isalpha() and len(body) >= MIN_KNOWN else "rejected", len(body))
        for title, body in SimpleFastaParser(io.StringIO(file.text))
    ]


class Memory:
    """The largest resident sizes of a cloud's processes by their kind: cloud, model, function."""

    def __init__(self, cloud_pid: int) -> None:
        self.bytes: dict[str, int] = {}
        self.files = 0  # and connections, that the cloud held open when it was looked at last
        self.look(cloud_pid)

    def look(self, cloud_pid: int) -> None:
        process = psutil.Process(cloud_pid)
        self._note("cloud", process)
        self.files = process.num_fds()
        for child in process.children(recursive=True):
            try:
                words = " ".join(child.cmdline())
                kind = "model" if "serve.py" in words else "function" if "runtime.py" in words else None
                if kind:
                    self._note(kind, child)
            except psutil.Error:
                continue

    def _note(self, kind: str, process: psutil.Process) -> None:
        self.bytes[kind] = max(self.bytes.get(kind, 0), process.memory_info().rss)

    def __str__(self) -> str:
        return ", ".join(f"{kind} {size / 2**20:.0f} MiB" for kind, size in self.bytes.items())


class Soak:
    """Sends files to a cloud and follows them to their ends."""

    def __init__(self, cloud: Embedded) -> None:
        self.cloud = cloud
        self.pid: int = cloud.answer("status")["pid"]
        self.memory = Memory(self.pid)
        self.sent: dict[str, File] = {}

    def send(self, made: list[File]) -> None:
        """Send all files at once."""
        with ThreadPoolExecutor(len(made)) as threads:
            ids = threads.map(
                lambda file: self.cloud.client.send(io.BytesIO(file.body), file.name).upload_id, made
            )
            self.sent |= dict(zip(ids, made, strict=True))

    def follow(self, until: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
        """Look at the uploads and at the memory until it is enough."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            views = {view["upload"]: view for view in self.cloud.client.uploads()}
            self.memory.look(self.pid)
            if until(views):
                return
            time.sleep(0.5)
        raise AssertionError(
            f"not within {WAIT_SECONDS} s: {[v for v in views.values() if not v['finished']]}"
        )

    def all_ended(self, views: dict[str, dict[str, Any]]) -> bool:
        return sum(bool(view["finished"]) for view in views.values()) >= len(self.sent)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.cloud.protloc("up").exit_code == 0
        self.pid = self.cloud.answer("status")["pid"]

    def fill_disk(self) -> None:
        """Let no file of the cloud take another byte, until it says that its state cannot be saved."""
        _, most = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (0, most))
        try:
            until(lambda: "not_saved" in self.cloud.answer("status"))
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (most, most))
        until(lambda: "not_saved" not in self.cloud.answer("status"))

    def suspend(self) -> None:
        """Stop the cloud by a signal, have it told, and let it go on."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            until(lambda: self.cloud.answer("status")["state"] == "stopped by a signal")
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def check(self) -> int:
        """Every upload that was sent is complete and its rows are exactly its records; return how many."""
        views = {view["upload"]: view for view in self.cloud.client.uploads()}
        assert views.keys() == self.sent.keys()
        answers: dict[str, tuple[str, float]] = {}
        for identity, file in self.sent.items():
            rows = self.cloud.rows(identity)
            reference = expected(file)
            assert [(row["header"], row["status"], row["length"]) for row in rows] == reference, file.name
            counts = (views[identity][name] for name in ("status", "records", "predicted", "failed"))
            predicted = sum(status == "predicted" for _, status, _ in reference)
            assert tuple(counts) == ("complete", len(reference), predicted, 0), file.name
            sequences = [body for _, body in SimpleFastaParser(io.StringIO(file.text))]
            for row, sequence in zip(rows, sequences, strict=True):
                if row["location"]:
                    answer = (row["location"], row["confidence"])
                    assert answers.setdefault(sequence, answer) == answer
        return sum(view["records"] for view in views.values())


def test_no_kill_loses_or_doubles_a_record_and_no_upload_leaves_memory_behind(
    start_embedded: Callable[..., Embedded],
) -> None:
    soak = Soak(start_embedded())
    draw = random.Random(SEED)
    made = files(SEED)
    records = sum(file.text.count(">") for file in made)
    began = time.monotonic()
    soak.send(made)
    troubles = [*[soak.kill] * KILLS, soak.fill_disk, soak.suspend]
    draw.shuffle(troubles)
    for share, trouble in zip(sorted(draw.uniform(0, 0.9) for _ in troubles), troubles, strict=True):
        soak.follow(
            lambda views, least=share * records: sum(view["records"] for view in views.values()) >= least
        )
        begin = time.monotonic()
        trouble()
        print(f"{trouble.__name__} at {share:.0%}: {time.monotonic() - begin:.1f} s")
    soak.follow(soak.all_ended)
    print(
        f"\n{len(made)} uploads, {records:,} records, {KILLS} kills, {time.monotonic() - began:.0f} s; {soak.memory}"
    )
    assert soak.check() == records

    waves, files_open, rows = [], [], 0
    for wave in (1, 2, 3):
        soak.memory = Memory(soak.pid)
        made = files(SEED + wave)
        soak.send(made)
        soak.follow(soak.all_ended)
        waves.append(soak.memory.bytes)
        files_open.append(soak.memory.files)
        rows += sum(file.text.count(">") for file in made) * (wave > 1)
        print(f"wave {wave}: {soak.memory}")
    soak.check()
    grown = {kind: waves[-1][kind] - waves[0][kind] for kind in waves[0]}
    print(
        f"{rows:,} rows later: cloud {grown['cloud'] / rows:,.0f} bytes a row, model {grown['model'] / 2**20:.0f} MiB"
    )
    assert files_open[-1] <= files_open[0] + SLACK_FILES, files_open
    assert grown["model"] <= SLACK_BYTES
    assert grown["cloud"] <= rows * ROW_BYTES + SLACK_BYTES
    assert max(wave["function"] for wave in waves) <= FUNCTION_BYTES
    assert json.loads(soak.cloud.protloc("status", "--json").stdout)["state"] == "running"
