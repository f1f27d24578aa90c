"""The generations of the state on disk, and which of them a start may trust.

A state file ends with a seal: a checksum, its number, when it was taken, and whether it was the last one of
an orderly end. The one before it stays beside it. The number of the newest is noted among the objects too: a
state that is missing, damaged or older than its objects is told, and never taken for an empty cloud.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from protloc.cloud.disk import SYSTEM, TEMPORARY, Disk, Writing, remove_quietly, replace
from protloc.cloud.engine.state import UnreadableStateError, decode, encode

MAGIC = b"protloc1"
SEAL = struct.Struct(">32sQd?8s")  # sha256 of all before it, number, taken, last, magic
STATE, BEFORE = "state.pickle", "state.before.pickle"
NOTED = ".generation"
"""The file among the objects that holds the number of the newest state."""


class Seal(NamedTuple):
    """The end of a state file."""

    number: int
    taken: float
    last: bool
    """True if everything was kept with it: the cloud ended in order right after."""


class LostStateError(Exception):
    """The state that the objects belong to is not there, or not whole; the message has the remedy."""


class _Hashed:
    """A file whose content is hashed as it is written."""

    def __init__(self, file: Writing) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        plain = bytes(data)
        self.hash.update(plain)
        self._file.write(plain)
        return len(plain)


class Generations:
    """The state files in `folder`, of the objects in `objects`."""

    def __init__(self, folder: Path, objects: Path, disk: Disk = SYSTEM) -> None:
        self._disk = disk
        self._folder = str(folder)
        self._state, self._before = str(folder / STATE), str(folder / BEFORE)
        self._noted = str(objects / NOTED)
        self._number = 0

    @property
    def number(self) -> int:
        """The number of the newest state; 0 where there is none."""
        return self._number

    def advance(self) -> None:
        """Note that a child has written the next generation."""
        self._number += 1

    def write(self, state: dict[str, Any], last: bool = False) -> None:
        """Make `state` the newest generation, entirely and for good, or not at all. Raises OSError."""
        disk, fresh = self._disk, self._state + TEMPORARY
        number = self._number + 1
        try:
            file = disk.create(fresh)
            try:
                hashed = _Hashed(file)
                with io.BufferedWriter(_Raw(hashed), 1 << 20) as buffered:
                    encode(state, buffered)
                taken = float(state.get("taken", time.time()))
                file.write(SEAL.pack(hashed.hash.digest(), number, taken, last, MAGIC))
                file.sync()
            finally:
                file.close()
            if disk.exists(self._state):
                aside = self._before + TEMPORARY
                remove_quietly(disk, aside)
                disk.link(self._state, aside)
                disk.rename(aside, self._before)
            disk.rename(fresh, self._state)
            disk.sync_folder(self._folder)
        except BaseException:
            remove_quietly(disk, fresh)
            raise
        replace(disk, self._noted, str(number).encode())

    def read(self, objects_exist: bool, recover: bool = False) -> dict[str, Any] | None:
        """The newest state, or None where nothing was ever saved.

        Raises `LostStateError` where something was and the newest state is not there; with `recover`, gives
        the newest one that is whole instead, or None. Raises `UnreadableStateError` for a foreign file.
        """
        noted = self._noted_number()
        problem, data = self._trouble(noted, objects_exist)
        if not problem:
            self._number = max(noted, self._sealed(data).number if data else 0)
            return decode(data, Path(self._state)) if data else None
        before = self._whole(self._before)
        if not recover:
            raise LostStateError(f"{problem}. {self._remedy(before)}")
        newest = max(
            (each for each in (data, before) if each), key=lambda each: self._sealed(each).number, default=b""
        )
        self._number = max(noted, self._sealed(newest).number if newest else 0)
        return decode(newest, Path(self._state)) if newest else None

    def any_whole(self) -> bool:
        """True if there is any state to begin with."""
        return bool(self._whole(self._state) or self._whole(self._before))

    def last_seal(self) -> Seal | None:
        """The seal of the newest state; None where there is none, or none that is whole."""
        data = self._whole(self._state)
        return self._sealed(data) if data else None

    def _trouble(self, noted: int, objects_exist: bool) -> tuple[str, bytes]:
        """The fault of the newest state, if it has one, and its content where it is whole."""
        path = self._state
        if not self._disk.exists(path):
            if noted or objects_exist or self._disk.exists(self._before):
                return f"{path} is missing, while files of this cloud are there", b""
            return "", b""
        data = self._whole(path)
        if not data:
            return f"{path}: expected a saved state, and its checksum does not match: it is damaged", b""
        number = self._sealed(data).number
        before = self._whole(self._before)
        newest = max(noted, self._sealed(before).number if before else 0)
        if number < newest:
            return f"{path} is older than the files of this cloud: generation {number} of {newest}", data
        if number > 1 and not noted:  # the first is noted right after it is written
            return (
                f"{os.path.dirname(self._noted)} is not that of this cloud: its files are missing",
                data,
            )
        return "", data

    def _remedy(self, before: bytes) -> str:
        start = "Put it back from a backup; or `protloc up --recover` begins"
        end = "; or `protloc down --erase` deletes all that is left"
        if before:
            taken = datetime.fromtimestamp(self._sealed(before).taken).isoformat(" ", "seconds")
            return f"{start} with the newest whole state, of {taken} or later, without what came after{end}"
        return f"{start} with what is whole, and puts files without a state aside{end}"

    def _noted_number(self) -> int:
        try:
            return int(self._disk.read(self._noted))
        except (OSError, ValueError):
            return 0

    def _whole(self, path: str) -> bytes:
        """The content of a state file whose checksum matches; empty for any other."""
        try:
            data = self._disk.read(path)
        except OSError:
            return b""
        if not data.endswith(MAGIC):
            return data if _is_unsealed(data) else b""
        digest = SEAL.unpack(data[-SEAL.size :])[0]
        return data if hashlib.sha256(memoryview(data)[: -SEAL.size]).digest() == digest else b""

    def _sealed(self, data: bytes) -> Seal:
        if not data.endswith(MAGIC):
            return Seal(0, 0.0, True)  # of a version before there were seals
        _, number, taken, last, _ = SEAL.unpack(data[-SEAL.size :])
        return Seal(number, taken, last)


class _Raw(io.RawIOBase):
    """Puts a buffer before a file: a pickler writes a few bytes at a time."""

    def __init__(self, file: _Hashed) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)


def _is_unsealed(data: bytes) -> bool:
    """True if this is a state of a version before there were seals."""
    try:
        decode(data, Path(STATE))
    except UnreadableStateError:
        return False
    return True
