"""A training job's checkpoint folder and its place in S3, kept alike as SageMaker keeps them.

Checkpoints in S3 are in the folder when the job starts; from then on every new or changed file is stored, and
one deleted here is deleted there. A name that begins with a dot is of a file still being written: it stays
here.
"""

from __future__ import annotations

import logging
from pathlib import Path

from protloc.cloud.sagemaker.storage import Storage

log = logging.getLogger("protloc.cloud")

Signature = tuple[int, int]  # nanoseconds of the last change, bytes


class Checkpoints:
    """The folder that stands for the container's, and the prefix it is mirrored to."""

    def __init__(self, folder: Path, uri: str, storage: Storage) -> None:
        self._folder, self._uri, self._storage = folder, uri.rstrip("/") + "/", storage
        self._stored: dict[str, Signature] = {}

    def fetch(self) -> None:
        """Bring the checkpoints of an earlier attempt."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._storage.fetch_prefix(self._uri, self._folder, may_be_empty=True)
        self._stored = self._files()

    def store(self) -> None:
        """Store new files, then delete removed ones: in between, S3 holds more than it needs."""
        files = self._files()
        for name, signature in files.items():
            if self._stored.get(name) != signature:
                try:
                    self._storage.store(self._folder / name, self._uri + name)
                except FileNotFoundError:
                    continue  # deleted meanwhile
                self._stored[name] = signature
        for name in self._stored.keys() - files.keys():
            try:
                self._storage.remove(self._uri + name)
            except Exception as problem:  # storing needs no permission to delete
                log.warning("%s%s stays: %s", self._uri, name, problem)
            del self._stored[name]

    def _files(self) -> dict[str, Signature]:
        files = {}
        for path in self._folder.rglob("*"):
            name = path.relative_to(self._folder)
            if any(part.startswith(".") for part in name.parts):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                files[name.as_posix()] = (status.st_mtime_ns, status.st_size)
        return files
