"""Labelled proteins, from a file on this machine to where a retraining reads them.

A file is read as the training reads it, by the labels of the active model, and not taken at all where a
record of it could not be used: the faults are reported by file and line. The name is kept, so a file that is
added again replaces the earlier one.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from functions.domain.judgement import MIN_HELD_OUT
from model.proteins.labelled import LABELLED_SUFFIXES, LabelError, LabelledProtein, entries
from model.proteins.labels import LabelSet
from model.proteins.related import HELD_OUT
from protloc.errors import UsageProblem
from protloc.safe import safe
from protloc.stack.client import TRANSFER, Client, split_uri

PREFIXES = {"labels": ("UploadsBucket", "labels/"), "base": ("ModelsBucket", "data/base/")}  # kind → where

View = dict[str, Any]


class WrongLabels(UsageProblem):
    """A file has records that cannot be learned from; `faults` are `file:line: problem`, one a record."""

    def __init__(self, message: str, faults: list[str]) -> None:
        super().__init__(message)
        self.faults = faults


def read(path: Path, labels: LabelSet) -> list[LabelledProtein]:
    """The proteins of a labelled file. Raises WrongLabels unless every record of it can be used."""
    proteins, faults = list[LabelledProtein](), list[str]()
    with path.open("rb") as file:
        for line, entry in entries(file, path.name, labels.names, several=labels.several):
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
    labels = learned(client)
    proteins = read(path, labels)
    output, prefix = PREFIXES[kind]
    bucket, key = client.outputs[output], prefix + path.name
    client.client("s3").upload_file(str(path), bucket, key, Config=TRANSFER)
    counts = Counter(labels.names[place] for protein in proteins for place in protein.places)
    uri = f"s3://{bucket}/{key}"
    return {
        "uri": uri,
        "proteins": len(proteins),
        "locations": {name: counts[name] for name in labels.names if counts[name]},
        **prospect(client, proteins, uri, labels),
    }


def learned(client: Client) -> LabelSet:
    """The labels that the next retraining learns: those of the active model."""
    active = [view for view in client.models()["models"] if view["active"]]
    own = (active[0].get("labels") if active else None) or []
    return LabelSet.read({"labels": own, "several": "threshold" in own[0]} if own else {})


def prospect(client: Client, proteins: list[LabelledProtein], uri: str, labels: LabelSet) -> View:
    """Count the proteins to learn from with those of the file at `uri`: `labelled`, `held_out` (about), and
    `enough`, which is True if a model can be judged by them.

    The other files are read until there are enough. Those that the caller may not read are not counted.
    """
    held_out, known = 0, dict[str, bool]()  # by sequence: marked test
    with contextlib.suppress(ClientError):
        for each in (proteins, *_others(client, uri, labels)):
            known |= {protein.sequence: protein.test for protein in each}
            held_out = _held_out(known)
            if held_out >= MIN_HELD_OUT:
                break
    return {"labelled": len(known), "held_out": held_out, "enough": held_out >= MIN_HELD_OUT}


def _held_out(known: Mapping[str, bool]) -> int:
    marked = sum(known.values())
    return marked + round((len(known) - marked) * HELD_OUT)


def _others(client: Client, uri: str, labels: LabelSet) -> Iterator[list[LabelledProtein]]:
    """The proteins of each labelled file but the one at `uri`, as far as they can be used."""
    for file in listed(client):
        if file["uri"] != uri:
            bucket, key = split_uri(file["uri"])
            body = client.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            records = entries(io.BytesIO(body), file["name"], labels.names, several=labels.several)
            yield [entry for _, entry in records if not isinstance(entry, LabelError)]


def remove(client: Client, name: str, kind: str) -> str:
    """Take a file away from those that the next retraining reads, and return where it was.

    The bucket keeps its versions for as long as it keeps those of all files.
    """
    output, prefix = PREFIXES[kind]
    bucket, key = client.outputs[output], prefix + name
    if not any(file["uri"] == f"s3://{bucket}/{key}" for file in listed(client)):
        raise UsageProblem(f"there is no labelled file {safe(name, 60)}; `protloc labels` lists them")
    client.client("s3").delete_object(Bucket=bucket, Key=key)
    return f"s3://{bucket}/{key}"


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
