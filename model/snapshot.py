"""The Snapshot job of a retraining: fixes the training, validation and holdout proteins, for good.

    python -m model.snapshot --sources s3://MODELS/snapshots/ID/sources.json --output s3://MODELS/snapshots/ID
    python -m model.snapshot --sources sources.json --output snapshots/ID

Reads the labelled files that `sources.json` pins, each in its version, and past any record that is wrong;
divides their proteins (`divided.py`), beside the holdout of the parent snapshot; and writes three tables and
a manifest with the source of each protein and the records left out. Labels other than DeepLoc's ten come with
`sources.json`, and lie beside the tables as a file for the training. Nothing in all of it depends on when or
where the job ran: the same sources give the same bytes, which are written once and never over others. Needs
numpy only.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, as SageMaker's toolkit does: the package is beside this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from model import storage
from model.failure import failures_reported
from model.proteins.divided import (
    CONFLICTS,
    DUPLICATES,
    HOLDOUT,
    LEAKS,
    SPLITS,
    TRAINING,
    VALIDATION,
    Division,
    Fault,
    File,
    Record,
    divide,
)
from model.proteins.labelled import LabelError, LabelledProtein, UnknownLocation, entries, table
from model.proteins.labels import DEEPLOC, LabelSet
from model.proteins.training_data import digest

SCHEMA = 1
KINDS = ("base", "labels")
MALFORMED, UNKNOWN_LOCATIONS = "malformed", "unknown_locations"
PROBLEMS = (MALFORMED, UNKNOWN_LOCATIONS, CONFLICTS, DUPLICATES, LEAKS)
MAX_PROBLEMS_LISTED = 100  # problems of each kind that a manifest tells one by one
MIN_TRAINING_PROTEINS = 20  # proteins to learn from
Splits = Mapping[str, Sequence[LabelledProtein]]


class SnapshotError(ValueError):
    """No snapshot can be made of these sources; the message has the value expected and the one found."""


@dataclass(frozen=True)
class Source:
    """A labelled file in one version."""

    uri: str
    version_id: str
    etag: str
    size: int
    kind: str

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> Source:
        """A source as `sources.json` has it; raises SnapshotError where it is another kind."""
        source = cls(*(description[name] for name in ("uri", "version_id", "etag", "size", "kind")))
        if source.kind not in KINDS:
            raise SnapshotError(f"expected a source of kind {' or '.join(KINDS)}, found {source.kind!r}")
        return source

    @property
    def file(self) -> File:
        """The part of it that `divided` needs."""
        return File(storage.name_of(self.uri), self.kind == "base")


@dataclass(frozen=True)
class Sources:
    """The content of `sources.json`: base data first, then labels, each by address."""

    snapshot: str
    parent: str | None
    files: list[Source]
    labels: LabelSet = DEEPLOC

    @classmethod
    def read(cls, content: bytes) -> Sources:
        """Read a `sources.json`; raises SnapshotError where it is none."""
        try:
            description = json.loads(content)
            if description["schema"] != SCHEMA:
                raise SnapshotError(f"expected sources of schema {SCHEMA}, found {description['schema']!r}")
            files = sorted(map(Source.read, description["sources"]), key=lambda each: (each.kind, each.uri))
            labels = LabelSet.read(description)
            return cls(description["snapshot"], description["parent"], files, labels)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise SnapshotError(f"expected a whole sources.json, found: {error!r}") from error


def snapshot(
    sources: Sources, contents: Sequence[bytes], parent: Splits | None
) -> tuple[Splits, dict[str, Any]]:
    """The splits of `contents` (the bytes of each file), and the manifest.

    `parent` holds the parent's splits. Raises SnapshotError where too little is left to train and to judge.
    """
    files, labels = [source.file for source in sources.files], sources.labels
    records, faults = list[Record](), list[Fault]()
    for number, (file, content) in enumerate(zip(files, contents, strict=True)):
        for line, entry in entries(io.BytesIO(content), file.name, labels.names, several=labels.several):
            if isinstance(entry, LabelError):
                kind = UNKNOWN_LOCATIONS if isinstance(entry, UnknownLocation) else MALFORMED
                faults.append(Fault(number, line, kind, entry.problem, left_out=True))
            else:
                records.append(Record(number, line, entry))
    before = {protein.sequence: name for name in SPLITS for protein in (parent or {}).get(name, ())}
    division = divide(files, records, before, labels.names)
    problems = _problems(sorted([*faults, *division.faults]), files)
    _expect_enough(division.splits, problems)
    return division.splits, {
        "schema": SCHEMA,
        "snapshot": sources.snapshot,
        "parent": sources.parent,
        "sources": _accounts(sources, division, faults),
        **labels.described(),
        "splits": {name: _described(division.splits[name], labels) for name in SPLITS},
        "changes": {"since": sources.parent} | _changes(division.splits, parent),
        "problems": problems,
    }


def _accounts(sources: Sources, division: Division, faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Count the records of each file by their fate, each once."""
    standing = Counter(record.file for record in division.standing)
    duplicates = Counter(fault.file for fault in division.faults if fault.kind == DUPLICATES)
    left_out = Counter(fault.file for fault in (*faults, *division.faults) if fault.left_out)
    return [
        {
            **vars(source),
            "proteins": standing[number],
            "duplicates": duplicates[number],
            "left_out": left_out[number],
        }
        for number, source in enumerate(sources.files)
    ]


def _problems(faults: Sequence[Fault], files: Sequence[File]) -> dict[str, Any]:
    """`total` problems of each kind, how many records they cost, and the first of them."""
    by_kind = {kind: [fault for fault in faults if fault.kind == kind] for kind in PROBLEMS}
    return {
        kind: {
            "total": len(faults_of_kind),
            "left_out": sum(fault.left_out for fault in faults_of_kind),
            "first": [
                {"where": f"{files[fault.file].name} line {fault.line}", "problem": fault.problem}
                for fault in faults_of_kind[:MAX_PROBLEMS_LISTED]
            ],
        }
        for kind, faults_of_kind in by_kind.items()
    }


def _described(proteins: Sequence[LabelledProtein], labels: LabelSet) -> dict[str, Any]:
    counts = Counter(place for protein in proteins for place in protein.places)
    return {
        "proteins": len(proteins),
        "sha256": digest(proteins),
        "locations": {name: counts[number] for number, name in enumerate(labels.names)},
    }


def _changes(splits: Splits, parent: Splits | None) -> dict[str, int]:
    """Proteins, by sequence, that came, went, or are labelled otherwise than in the parent."""
    now, before = (
        {
            protein.sequence: (frozenset(protein.places), protein.membrane)
            for name in SPLITS
            for protein in each.get(name, ())
        }
        for each in (splits, parent or {})
    )
    return {
        "added": len(now.keys() - before.keys()),
        "removed": len(before.keys() - now.keys()),
        "relabelled": sum(now[sequence] != before[sequence] for sequence in now.keys() & before.keys()),
    }


def _expect_enough(splits: Splits, problems: Mapping[str, Any]) -> None:
    learned = len(splits[TRAINING]) + len(splits[VALIDATION])
    locations = len({place for protein in splits[TRAINING] for place in protein.places})
    if learned < MIN_TRAINING_PROTEINS:
        problem = f"expected at least {MIN_TRAINING_PROTEINS} proteins to learn from, found {learned}"
    elif locations < 2:
        problem = f"expected proteins of two locations or more to learn from, found {locations}"
    elif not splits[VALIDATION]:
        problem = "expected two families or more of a location to learn from, found none to choose on"
    elif not splits[HOLDOUT]:
        problem = "expected proteins to judge on, found none to hold out: all are learned from"
    else:
        return
    costs = [
        f"{problem_counts['left_out']} {kind.replace('_', ' ')} (first: {first['where']}: {first['problem']})"
        for kind, problem_counts in problems.items()
        if problem_counts["left_out"]
        for first in problem_counts["first"][:1]
    ]
    raise SnapshotError(problem + (f"; left out: {', '.join(costs)}" if costs else ""))


def read_split(place: str, name: str, labels: LabelSet = DEEPLOC) -> list[LabelledProtein]:
    """The proteins of a split of the snapshot at `place`, in its order; raises LabelError at any fault."""
    proteins, file = list[LabelledProtein](), io.BytesIO(storage.read(_table_of(place, name)))
    for _, entry in entries(file, f"{name}/proteins.tsv", labels.names, several=labels.several):
        if isinstance(entry, LabelError):
            raise entry
        proteins.append(entry)
    return proteins


def _table_of(place: str, name: str) -> str:
    return storage.inside(place, name, "proteins.tsv")


def write(place: str, splits: Splits, manifest: Mapping[str, Any]) -> None:
    """Store a snapshot: the tables, then the manifest, by which a reader knows that it is whole."""
    labels = LabelSet.read(manifest)
    if labels != DEEPLOC:
        storage.write_once(storage.inside(place, "labels", "labels.tsv"), labels.table(), storage.TABLE)
    for name in SPLITS:
        storage.write_once(_table_of(place, name), table(splits[name], labels.names), storage.TABLE)
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    storage.write_once(storage.inside(place, "manifest.json"), text.encode(), storage.JSON)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Fix the proteins that a model is trained and judged on.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--sources", required=True, help="sources.json, a file or its address in S3")
    add("--output", required=True, help="folder or S3 prefix of the snapshot; its parent lies beside it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the snapshot, and print how many proteins each split has."""
    with failures_reported():
        options = parse(arguments)
        sources = Sources.read(storage.read(options.sources))
        contents = [
            storage.read(_located(source.uri, options.sources), version=source.version_id, etag=source.etag)
            for source in sources.files
        ]
        parent = None
        if sources.parent is not None:
            place = storage.beside(options.output, sources.parent)
            parent = {name: read_split(place, name, sources.labels) for name in SPLITS}
        splits, manifest = snapshot(sources, contents, parent)
        write(options.output, splits, manifest)
    counts = {name: len(splits[name]) for name in SPLITS}
    lost = {kind: counts["left_out"] for kind, counts in manifest["problems"].items()}
    print(json.dumps({"snapshot": sources.snapshot, "proteins": counts, "left_out": lost}), flush=True)


def _located(uri: str, sources: str) -> str:
    """Resolve a source's address: a path is relative to the folder of `sources.json`."""
    return uri if storage.in_s3(uri) else str(Path(sources).parent / uri)


if __name__ == "__main__":
    main()
