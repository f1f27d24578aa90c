"""Fetches a pretrained encoder from a folder, or from an S3 prefix, which is copied into one first."""

from __future__ import annotations

import tempfile
from pathlib import Path

# A BERT's own files: a repository's other formats (TensorFlow, Flax) would double the download.
WANTED = (".json", ".txt", ".safetensors", ".bin")


def fetch(place: str) -> Path:
    """The local folder of an encoder named by a path or by `s3://bucket/prefix`."""
    if not place.startswith("s3://"):
        folder = Path(place)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"expected an encoder's config.json in {folder}, found none")
        return folder
    # Here only, so that training from a folder needs no AWS library.
    import boto3  # type: ignore[import-untyped, unused-ignore]

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    client = boto3.client("s3")
    folder = Path(tempfile.mkdtemp(prefix="encoder-"))
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = entry["Key"].removeprefix(prefix)
            # Files of the prefix itself only: an object's name never leads out of the folder.
            if "/" not in name and name.endswith(WANTED):
                client.download_file(bucket, entry["Key"], str(folder / name))
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"expected an encoder's config.json under {place}, found none")
    return folder
