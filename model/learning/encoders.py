"""Fetches a pretrained encoder from a folder, or from an S3 prefix, which is copied into one first."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from model.learning.distribution import Processes

# A BERT's own files: a repository's other formats (TensorFlow, Flax) would double the download.
WANTED = (".json", ".txt", ".safetensors", ".bin")


def files_of(names: Iterable[str]) -> list[str]:
    """The files of an encoder among these names: of weights in two formats the safer one alone.

    Files of the folder itself only, so that an object's name never leads out of it.
    """
    wanted = sorted(name for name in names if "/" not in name and name.endswith(WANTED))
    safe = any(name.endswith(".safetensors") for name in wanted)
    return [name for name in wanted if not (safe and name.endswith(".bin"))]


def fetch(place: str, processes: Processes) -> Path:
    """The local folder of an encoder named by a path or by `s3://bucket/prefix`.

    Of the processes of one machine the first downloads, and the others wait for it.
    """
    if not place.startswith("s3://"):
        folder = Path(place)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"expected an encoder's config.json in {folder}, found none")
        return folder
    run = os.environ.get("TRAINING_JOB_NAME") or os.environ.get("TORCHELASTIC_RUN_ID", "")
    name = hashlib.sha256(f"{os.getuid()} {os.getppid()} {run} {place}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"encoder-{name}"
    failure: Exception | None = None
    if processes.local_rank == 0:
        try:
            _download(place, folder)
        except Exception as error:  # told once the others are not left waiting
            failure = error
    failed = processes.any(failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise FileNotFoundError(f"expected {place} from this machine's first process; its log says why not")
    return folder


def _download(place: str, folder: Path) -> None:
    # Here only, so that training from a folder needs no AWS library.
    import boto3  # type: ignore[import-untyped, unused-ignore]

    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"expected {folder} to be this user's own, found another's")
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    client = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    names = {entry["Key"].removeprefix(prefix) for page in pages for entry in page.get("Contents", [])}
    for name in files_of(names):
        client.download_file(bucket, prefix + name, str(folder / name))
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"expected an encoder's config.json under {place}, found none")
