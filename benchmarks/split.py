"""Splitting: how fast a core reads a file, judges its records, packs them and writes the messages.

Beside parsers that do no more than cut a text into headers and sequences: Biopython's `SimpleFastaParser`,
and dnaio where it is installed.
"""

from __future__ import annotations

import gzip
import importlib
import io
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from Bio.SeqIO.FastaIO import SimpleFastaParser

from benchmarks.harness import Row, interleave, median, ratio
from benchmarks.text import fasta
from functions.domain.fasta import Record, lookback, read_records
from functions.domain.packing import PackingSettings, pack
from functions.domain.protein import read_protein
from functions.domain.text import Inflater
from functions.domain.upload import Shard, Source, Upload
from functions.services.queues import _dump
from functions.split import batch_message

RECORDS = 20_000
WINDOW_BYTES, SHARD_BYTES = 1 << 20, 4 << 20
UPLOAD = Upload("a" * 26, Source("uploads", "a.fasta", "1"), 0, "small-1", "2026-01-01T00:00:00Z", 0, True)
BIOPYTHON = "Biopython's SimpleFastaParser on the same text"


def run(rounds: int) -> Iterator[Row]:
    """The rows of splitting."""
    text = fasta(RECORDS, seed=7)
    packed = gzip.compress(text, 6)
    ways: dict[str, Callable[[], object]] = {
        "split": lambda: _split(text),
        "read": lambda: sum(1 for part in _shards(text) for _ in part),
        "biopython": lambda: len(list(_biopython(text))),
        "inflate": lambda: sum(map(len, Inflater(1 << 40).text(_windows(packed)))),
    }
    if (dnaio := _dnaio()) is not None:
        ways["dnaio"] = lambda: sum(1 for _ in dnaio.open(io.BytesIO(text), fileformat="fasta"))
    seconds = interleave(ways, rounds, time.process_time)
    megabytes = len(text) / 1e6
    rates = {f"{name}_mb_per_second": round(megabytes / median(seconds[name]), 1) for name in ways}
    whole = megabytes / median(seconds["split"])
    yield Row("split", whole, "MB/s a core", 50.0, "nothing", rounds, detail=rates)
    yield Row("split-read", ratio(seconds["biopython"], seconds["read"]), "×", 0.3, BIOPYTHON, rounds)
    yield Row("split-gzip", rates["inflate_mb_per_second"], "MB/s a core", 150.0, "nothing", rounds)
    yield Row("split-memory", _peak(text), "MB at most", 48.0, "nothing", 1, higher_is_better=False)


def _windows(text: bytes) -> list[bytes]:
    return [text[at : at + WINDOW_BYTES] for at in range(0, len(text), WINDOW_BYTES)]


def _shards(text: bytes) -> Iterator[Iterator[Record]]:
    """The records of each shard, read in windows as from S3."""
    for start in range(0, len(text), SHARD_BYTES):
        end = min(start + SHARD_BYTES, len(text))
        yield read_records(_windows(text[lookback(start) : end + WINDOW_BYTES]), start=start, end=end)


def _split(text: bytes) -> int:
    """Write every message of a file; return how many there are."""
    return sum(len(_messages(records)) for records in _shards(text))


def _messages(records: Iterable[Record]) -> list[int]:
    shard = Shard(UPLOAD.upload_id, 0, UPLOAD.source, 0, SHARD_BYTES)
    batches = pack(map(read_protein, records), PackingSettings())
    return [len(_dump(batch_message(batch, shard, UPLOAD))) for batch in batches]


def _peak(text: bytes) -> float:
    """Most memory that one shard takes, in MB, without its text."""
    records = next(_shards(text))
    tracemalloc.start()
    try:
        _messages(records)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _biopython(text: bytes) -> Iterator[tuple[str, str]]:
    yield from SimpleFastaParser(io.StringIO(text.decode()))  # type: ignore[no-untyped-call]


def _dnaio() -> Any:
    try:
        return importlib.import_module("dnaio")
    except ImportError:
        return None
