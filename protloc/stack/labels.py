"""Labelled proteins, from a file on this machine to where a retraining reads them.

A file is read as the training reads it, and not taken at all where a record of it could not be used: what is
wrong is told by file and line. The name is kept, so a file that is added again replaces what it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.proteins.labelled import LABELLED_SUFFIXES, LOCATIONS, LabelError, LabelledProtein, entries
from protloc.errors import UsageProblem
from protloc.stack.client import TRANSFER, Client

PREFIXES = {"labels": ("UploadsBucket", "labels/"), "base": ("ModelsBucket", "data/base/")}  # kind → where

View = dict[str, Any]


class WrongLabels(UsageProblem):
    """A file has records that cannot be learned from; `faults` are `file:line: problem`, one a record."""

    def __init__(self, message: str, faults: list[str]) -> None:
        super().__init__(message)
        self.faults = faults


def read(path: Path) -> list[LabelledProtein]:
    """The proteins of a labelled file. Raises WrongLabels unless every record of it can be used."""
    proteins, faults = list[LabelledProtein](), list[str]()
    with path.open("rb") as file:
        for line, entry in entries(file, path.name):
            if isinstance(entry, LabelError):
                faults.append(f"{path}:{line}: {entry.problem}")
            else:
                proteins.append(entry)
    if faults:
        records = "1 record" if len(faults) == 1 else f"{len(faults):,} records"
        raise WrongLabels(f"{records} of {path.name} cannot be used, so nothing was added", faults)
    if not proteins:
        raise UsageProblem(f"there are no proteins in {path.name}")
    return proteins


def add(client: Client, path: Path, kind: str) -> View:
    """Check a file and put it where retraining reads it, among the files of this kind (`PREFIXES`)."""
    if path.suffix.lower() not in LABELLED_SUFFIXES:
        raise UsageProblem(f"expected a file ending in {', '.join(LABELLED_SUFFIXES)}, found {path.name}")
    if not path.name.isprintable():
        raise UsageProblem(f"expected a file name of printable characters, found {path.name}")
    proteins = read(path)
    output, prefix = PREFIXES[kind]
    bucket, key = client.outputs[output], prefix + path.name
    client.client("s3").upload_file(str(path), bucket, key, Config=TRANSFER)
    counts = Counter(LOCATIONS[protein.location] for protein in proteins)
    return {
        "uri": f"s3://{bucket}/{key}",
        "proteins": len(proteins),
        "locations": {name: counts[name] for name in LOCATIONS if counts[name]},
    }


def listed(client: Client) -> Iterator[View]:
    """The labelled files that the next retraining reads: the users', then the operator's base data."""
    for kind, (output, prefix) in PREFIXES.items():
        bucket = client.outputs[output]
        pages = client.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for object_view in (object_view for page in pages for object_view in page.get("Contents", [])):
            if object_view["Key"].lower().endswith(LABELLED_SUFFIXES):
                yield {
                    "uri": f"s3://{bucket}/{object_view['Key']}",
                    "name": object_view["Key"].removeprefix(prefix),
                    "kind": kind,
                    "bytes": object_view["Size"],
                    "modified": object_view["LastModified"].isoformat(timespec="seconds"),
                }
