"""Places in S3 and on this machine are read and written alike, and an object written once stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model import storage


@pytest.fixture(params=("s3", "path"))
def place(request: pytest.FixtureRequest, bucket: Any, tmp_path: Path) -> str:
    return "s3://models/a/b" if request.param == "s3" else str(tmp_path / "a" / "b")


def test_what_was_written_is_read(place: str, tmp_path: Path) -> None:
    storage.write(place, b"first", storage.JSON)
    storage.write(place, b"second", storage.JSON)
    assert storage.read(place) == b"second"
    assert storage.fetch(place, tmp_path / "copy").read_bytes() == b"second"


def test_what_is_written_once_is_never_written_over(place: str) -> None:
    storage.write_once(place, b"first", storage.JSON)
    storage.write_once(place, b"first", storage.JSON)
    with pytest.raises(storage.StorageError, match="found something else"):
        storage.write_once(place, b"second", storage.JSON)
    assert storage.read(place) == b"first"


def test_what_is_missing_is_named(place: str) -> None:
    with pytest.raises(storage.StorageError, match=r"expected .*a/b, found "):
        storage.read(place)


def test_a_missing_object_is_not_fetched(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(storage.StorageError, match="expected the object s3://models/y, found 404"):
        storage.fetch("s3://models/y", tmp_path / "y")


def test_an_unversioned_object_that_changed_since_is_an_error(bucket: Any) -> None:
    etag = bucket.put_object(Bucket="models", Key="x", Body=b"as listed")["ETag"]
    assert storage.read("s3://models/x", version="null", etag=etag.strip('"')) == b"as listed"
    bucket.put_object(Bucket="models", Key="x", Body=b"otherwise")
    with pytest.raises(storage.StorageError, match="changed since"):
        storage.read("s3://models/x", version="null", etag=etag)
    with pytest.raises(storage.StorageError, match="expected the object s3://models/y, found NoSuchKey"):
        storage.read("s3://models/y")


def test_names_are_those_of_a_bucket_or_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.name_of("s3://uploads/labels/a b.fasta") == "labels/a b.fasta"
    assert storage.name_of("labels/a.fasta") == "labels/a.fasta"
    assert storage.inside("s3://models/snapshots/", "x", "y") == "s3://models/snapshots/x/y"
    assert storage.beside("s3://models/snapshots/x/", "y") == "s3://models/snapshots/y"
    monkeypatch.chdir(tmp_path)
    assert storage.beside("x", "y") == str(tmp_path / "y")
