"""plan: the files that a retraining would learn from, and how; or that there is nothing new.

In: the state machine's `{"artifact", "again", "hyperparameters"}`. Out: the champion with the revision it
was read at, the snapshot of all labelled files with `sources.json` written for the jobs that follow, the
hyperparameters as SageMaker takes them, the champion's labels where they are its own, and why there is
nothing to do where there is not.

A challenger learns the labels of the champion: DeepLoc's ten, unless its artifact brought others.

A file's version is pinned here, so that every job reads the same bytes even if files are added meanwhile. The
snapshot is named by the content of the files, not by when they came: the same files give the same snapshot.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import InputError
from functions.domain.judgement import MIN_HELD_OUT
from functions.domain.locations import TEN, LabelSet, read_labels
from functions.services import Services, services
from functions.services.s3 import Storage, read_json

logger = Logger()

LABELS_PREFIX, BASE_PREFIX = "labels/", "data/base/"
SUFFIXES = (".fasta", ".fa", ".faa", ".tsv")
NO_DATA = f"there are no labelled proteins under {LABELS_PREFIX}; add some with `protloc labels add`"
NO_PROGRAM = "there is no training program in the models bucket; `protloc retrain` puts it there"
# Held out are the proteins that are marked, and every seventh of the others (`model/proteins/related.py`),
# rounded up for each location.
HELD_OUT_OF = 7
TOO_FEW = (
    "there are {records} labelled proteins, of which {held} can be held out at most; {enough} are needed to "
    f"judge a model, so about {MIN_HELD_OUT * HELD_OUT_OF} proteins, or {{enough}} marked test"
)
RECORD, MARKED = re.compile(rb"^>", re.MULTILINE), re.compile(rb"^>.*[ \t]test[ \t\r]*$", re.MULTILINE)
MAX_COUNTED_BYTES = 16 * 1024 * 1024
NOTHING_NEW = "the labelled proteins are those that version {version} was judged on"


class LabelledFile(NamedTuple):
    """One version of a file of labelled proteins."""

    uri: str
    version_id: str
    etag: str
    size: int
    kind: str  # base or labels


class Parent(NamedTuple):
    """The snapshot that the next one goes on from, and how many proteins it held out, which stay so."""

    snapshot: str | None = None
    held_out: int = 0


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    return plan(event, services())


def plan(event: dict[str, Any], aws: Services) -> dict[str, Any]:
    """The plan; raises InputError for hyperparameters that are none."""
    alias = aws.models.alias()
    champion = aws.models.get(alias.version) if alias.version else None
    labels = read_labels(champion.get("labels", "") if champion else "")
    planned: dict[str, Any] = {
        "champion": alias.version,
        "champion_artifact": champion["artifact"] if champion else "",
        "revision": alias.revision,
        "hyperparameters": hyperparameters(event.get("hyperparameters") or {}, aws, bool(champion), labels),
        "source": aws.models.source(),
        "snapshot": "",
        "labels": "",
        "nothing": "",
    }
    if event.get("artifact"):
        return planned
    files = sorted(labelled_files(aws))
    latest = aws.models.latest()
    planned |= {"snapshot": snapshot_name(files, labels), "labels": labels.text}
    if not files:
        planned["nothing"] = NO_DATA
    elif latest.get("snapshot") == planned["snapshot"] and not event.get("again"):
        planned["nothing"] = NOTHING_NEW.format(version=latest["version"])
    elif not planned["source"]:
        raise InputError(NO_PROGRAM)
    else:
        parent = parent_of(latest.get("snapshot"), labels, aws)
        planned["nothing"] = _too_few(files, parent, labels, aws)
        if not planned["nothing"]:
            _write(planned["snapshot"], files, parent, labels, aws)
    logger.info("retraining planned", extra={"snapshot": planned["snapshot"], "files": len(files)})
    return planned


def labelled_files(aws: Services) -> Iterator[LabelledFile]:
    """The newest version of each labelled file: the operator's base data, and the users' labels."""
    for bucket, prefix, kind in (
        (aws.settings.models_bucket, BASE_PREFIX, "base"),
        (aws.settings.uploads_bucket, LABELS_PREFIX, "labels"),
    ):
        pages = aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for version in page.get("Versions", []):
                if version["IsLatest"] and version["Key"].lower().endswith(SUFFIXES):
                    uri = f"s3://{bucket}/{version['Key']}"
                    etag = version["ETag"].strip('"')
                    yield LabelledFile(uri, version["VersionId"], etag, version["Size"], kind)


def _too_few(files: list[LabelledFile], parent: Parent, labels: LabelSet, aws: Services) -> str:
    """The reason why these files are too few to judge a model by, or nothing; a parent's holdout counts.

    Counts records before any is dropped, so that only files that cannot be enough are refused: the job that
    makes the snapshot counts exactly. Reads the smallest first, and no further than until there are enough.
    """
    records, marked = 0, 0
    for file in sorted(files, key=lambda each: each.size):
        if file.size > MAX_COUNTED_BYTES:
            return ""
        bucket, _, key = file.uri.removeprefix("s3://").partition("/")
        body = aws.s3.get_object(Bucket=bucket, Key=key, VersionId=file.version_id)["Body"].read()
        if key.lower().endswith(".tsv"):
            rows = body.split(b"\n")[1:]
            records, marked = records + len(rows), marked + sum(b"test" in row for row in rows)
        else:
            records, marked = records + len(RECORD.findall(body)), marked + len(MARKED.findall(body))
        drawn = max(0, records - marked - parent.held_out) // HELD_OUT_OF + len(labels.names)
        most = min(records, parent.held_out + marked + drawn)
        if most >= MIN_HELD_OUT:
            return ""
    return TOO_FEW.format(records=records, held=most, enough=MIN_HELD_OUT)


def parent_of(snapshot: str | None, labels: LabelSet, aws: Services) -> Parent:
    """The snapshot that was judged last, unless it is of other labels: its holdout then cannot be used."""
    if not snapshot:
        return Parent()
    uri = f"s3://{aws.settings.models_bucket}/snapshots/{snapshot}/manifest.json"
    try:
        manifest = read_json(aws.s3, uri)
    except aws.s3.exceptions.NoSuchKey:
        return Parent(snapshot, MIN_HELD_OUT)
    names = [each["name"] for each in manifest["labels"]] if "labels" in manifest else list(TEN.names)
    if names != list(labels.names) or bool(manifest.get("several")) != labels.several:
        return Parent()
    return Parent(snapshot, int(manifest["splits"]["holdout"]["proteins"]))


def snapshot_name(files: list[LabelledFile], labels: LabelSet) -> str:
    """Named by content: the same files under the same names are the same snapshot of the same labels."""
    known = json.dumps(sorted([file.uri, file.etag, file.size, file.kind] for file in files))
    if own := described(labels):
        known += json.dumps(own)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def described(labels: LabelSet) -> dict[str, Any]:
    """The labels as a snapshot's job reads them (`model/proteins/labels.py`).

    Without the champion's thresholds; empty for DeepLoc's ten, of which a protein has one.
    """
    if not labels.own:
        return {}
    own = [{"name": each.name, "display": each.display, "go": list(each.go)} for each in labels.locations]
    return {"labels": own, "several": labels.several}


def hyperparameters(
    chosen: dict[str, Any], aws: Services, champion: bool, labels: LabelSet = TEN
) -> dict[str, str]:
    """The stack's hyperparameters with those given put over them, each as JSON in a string; None takes away.

    Without a champion there is nothing to start from, and whether a protein may have several locations is as
    the champion's `labels` have it. Raises InputError for a name that is SageMaker's.
    """
    values: dict[str, Any] = {**json.loads(aws.settings.training_hyperparameters or "{}"), **chosen}
    for name in values:
        if name.startswith(("sagemaker_", "model-version")):
            raise InputError(repr(name)[:60], expected="a setting of model/train.py", where="hyperparameters")
    if not champion and values.get("start") == "champion":
        del values["start"]
    if labels.several:
        values["several"] = True
    return {name: json.dumps(value) for name, value in values.items() if value is not None}


def _write(snapshot: str, files: list[LabelledFile], parent: Parent, labels: LabelSet, aws: Services) -> None:
    """Write the list that the snapshot's job reads, once: a second attempt reads the first one's list."""
    body = {
        "schema": 1,
        "snapshot": snapshot,
        "parent": parent.snapshot,
        **described(labels),
        "sources": [file._asdict() for file in files],
    }
    key = f"snapshots/{snapshot}/sources.json"
    Storage(aws.s3, aws.settings.models_bucket).put_once(key, json.dumps(body, indent=1).encode())
