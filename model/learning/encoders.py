"""Fetches a pretrained encoder from a folder, or from an S3 prefix, which is copied into one first."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from model.learning.distribution import Processes
from model.serving.tokens import ResidueTokenizer

# An encoder's own files: a repository's other formats (TensorFlow, Flax) would double the download.
WANTED = (".json", ".txt", ".safetensors", ".bin", "spiece.model")


def files_of(names: Iterable[str]) -> list[str]:
    """The files of an encoder among these names: of weights in two formats the safer one alone.

    Files of the folder itself only, so that an object's name never leads out of it.
    """
    wanted = sorted(name for name in names if "/" not in name and name.endswith(WANTED))
    safe = any(name.endswith(".safetensors") for name in wanted)
    return [name for name in wanted if not (safe and name.endswith(".bin"))]


def read_tokenizer(folder: Path) -> ResidueTokenizer:
    """The tokenizer of a pretrained encoder, from whichever file its vocabulary is in.

    Raises FileNotFoundError where there is none, ValueError for one without a token a residue.
    """
    if (folder / "vocab.txt").is_file():
        return ResidueTokenizer.read(folder)
    if (folder / "tokenizer.json").is_file():
        description = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = description["model"]["vocab"]
        named = (
            vocabulary if isinstance(vocabulary, dict) else {each[0]: n for n, each in enumerate(vocabulary)}
        )
        named |= {each["content"]: each["id"] for each in description.get("added_tokens", ())}
        by_id = {index: token for token, index in named.items()}
        return ResidueTokenizer([by_id.get(index, "") for index in range(max(by_id) + 1)])
    if (folder / "spiece.model").is_file():
        return ResidueTokenizer(list(_pieces((folder / "spiece.model").read_bytes())))
    raise FileNotFoundError(
        f"expected a tokenizer's vocab.txt, tokenizer.json or spiece.model in {folder}, found none"
    )


def _pieces(content: bytes) -> Iterator[str]:
    """The pieces of a SentencePiece model in their order: field 1 of each message in its field 1.

    Its format: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
    """
    for field, message in _fields(content):
        if field == 1 and isinstance(message, bytes):
            yield next(
                text.decode() for number, text in _fields(message) if number == 1 and isinstance(text, bytes)
            )


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a protocol buffer: https://protobuf.dev/programming-guides/encoding/."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 0x7F) << shift, shift + 7
            if not byte & 0x80:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"expected a SentencePiece model, found a field of kind {kind}")
        length = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield number, message[place : place + length]
        place += length


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
