"""The embedded cloud's persistence on a disk that fails, against a model of the acknowledged objects.

A script of puts, overwrites, deletions and saves runs through the real `objects` and `generations`. It runs
once for each system call and each way in which that call can fail: no room, an error, a write torn in the
middle, and the machine dying before it. A death is tried with every part of the unsynced writes: names that
were changed and come back, and files whose bytes did not arrive. Afterwards all that was acknowledged must be
there, whole.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from protloc.cloud.disk import Writing, objects
from protloc.cloud.engine.generations import Generations, LostStateError

ROOT = "/home/s3"
STATES = "/home/state"
TAKES_ROOM = ("create", "write", "link", "make_folder")


class Death(BaseException):
    """The machine dies."""


class Inode:
    """A file's bytes, and those of them that are on the disk for good."""

    def __init__(self) -> None:
        self.data = b""
        self.synced = b""


@dataclass(frozen=True)
class Fault:
    """The fault of one call: `no room`, `full` from then on, `error`, `torn` or `death`."""

    kind: str
    call: int


@dataclass(frozen=True)
class Loss:
    """The share of unsynced changes that a death takes: of names, and of the bytes of files."""

    names: int
    bytes: str  # all, half or none


class SimulatedDisk:
    """A disk in memory. Names and bytes are volatile until they are synced."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.names: dict[str, Inode] = {}
        self.folders = {"/", "/home", ROOT, STATES}
        self.lasting: dict[str, Inode] = {}
        self.pending: list[tuple[str, str, Inode | None]] = []  # folder, name, its file or none
        self.calls: list[str] = []
        self.fault = fault
        self._full = False

    # Faults

    def _call(self, name: str) -> bool:
        """Count a call and let it fail; True where its write is torn."""
        number = len(self.calls)
        self.calls.append(name)
        if self._full and name in TAKES_ROOM:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fault is None or self.fault.call != number:
            return False
        if self.fault.kind == "death":
            raise Death
        if self.fault.kind in ("no room", "full"):
            self._full = self.fault.kind == "full"
            if name in TAKES_ROOM:
                raise OSError(errno.ENOSPC, "No space left on device")
            return False
        if self.fault.kind == "torn" and name == "write":
            return True
        raise OSError(errno.EIO, "Input/output error")

    def free(self) -> None:
        self._full, self.fault = False, None

    def die(self, loss: Loss) -> None:
        """Start again with the files that a death leaves."""
        for _, name, inode in self.pending[: loss.names]:
            self._make_lasting(name, inode)
        self.names, self.pending = dict(self.lasting), []
        for inode in self.names.values():
            arrived = {"all": len(inode.data), "half": len(inode.data) // 2, "none": 0}[loss.bytes]
            inode.data = inode.synced = inode.synced if inode.synced == inode.data else inode.data[:arrived]
        self.free()

    def _make_lasting(self, name: str, inode: Inode | None) -> None:
        if inode is None:
            self.lasting.pop(name, None)
        else:
            self.lasting[name] = inode

    def _change(self, path: str, inode: Inode | None) -> None:
        if inode is None:
            self.names.pop(path)
        else:
            self.names[path] = inode
        self.pending.append((path.rpartition("/")[0], path, inode))

    def _require(self, path: str) -> None:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    # The calls

    def create(self, path: str) -> Writing:
        self._call("create")
        if path.rpartition("/")[0] not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        inode = self.names.get(path) or Inode()
        inode.data = b""
        self._change(path, inode)
        return _SimulatedFile(self, inode)

    def rename(self, path: str, target: str) -> None:
        self._call("rename")
        self._require(path)
        inode = self.names[path]
        self.names.pop(path)
        self.names[target] = inode
        folder = target.rpartition("/")[0]
        self.pending += [(folder, target, inode), (path.rpartition("/")[0], path, None)]

    def link(self, path: str, target: str) -> None:
        self._call("link")
        if target in self.names:
            raise FileExistsError(errno.EEXIST, "File exists", target)
        self._require(path)
        self._change(target, self.names[path])

    def remove(self, path: str) -> None:
        self._call("remove")
        self._require(path)
        self._change(path, None)

    def sync_folder(self, path: str) -> None:
        self._call("sync_folder")
        for folder, name, inode in self.pending:
            if folder == path:
                self._make_lasting(name, inode)
        self.pending = [each for each in self.pending if each[0] != path]

    def make_folder(self, path: str) -> None:
        self._call("make_folder")
        self.folders.add(path)

    def read(self, path: str) -> bytes:
        self._require(path)
        return self.names[path].data

    def exists(self, path: str) -> bool:
        return path in self.names or path in self.folders


class _SimulatedFile:
    def __init__(self, disk: SimulatedDisk, inode: Inode) -> None:
        self._disk, self._inode = disk, inode

    def write(self, data: bytes) -> None:
        if self._disk._call("write"):
            self._inode.data += bytes(data)[: len(data) // 2]
            raise OSError(errno.EIO, "Input/output error")
        self._inode.data += bytes(data)

    def sync(self) -> None:
        self._disk._call("sync")
        self._inode.synced = self._inode.data

    def close(self) -> None:
        pass


@dataclass
class Model:
    """A model of the disk: requests that were acknowledged, and those neither acknowledged nor refused."""

    current: dict[str, str] = field(default_factory=dict)  # key → version
    bodies: dict[tuple[str, str], bytes] = field(default_factory=dict)  # (key, version) → body
    tags: dict[str, str] = field(default_factory=dict)
    state: int = 0
    doubt: tuple[str, str | None] | None = None
    refused: set[str] = field(default_factory=set)
    """Keys whose deletion was refused: they may be there or not, as after any 500."""
    tried_state: int = 0


class Store:
    """The cloud's own calls to the disk, and the model beside them."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk, self.model = disk, Model()
        self.generations = Generations(Path(STATES), Path(ROOT), disk)

    def path(self, key: str) -> str:
        return f"{ROOT}/bucket/{key}"

    def version_path(self, key: str, version: str) -> str:
        return f"{ROOT}/.versions/{version}/{key}"

    def put(self, key: str, version: str) -> None:
        body = f"{key} {version} ".encode() * 40
        before = self.model.current.get(key)
        with self._asked(key, version):
            if before:
                objects.keep(self.disk, self.path(key), self.version_path(key, before))
            self.model.tags.pop(key, None)
            objects.put(self.disk, self.path(key), body, {"version_id": version})
            self.model.current[key] = version
            self.model.bodies[key, version] = body

    def delete(self, key: str) -> None:
        with self._asked(key, None):
            objects.remove(self.disk, self.path(key))
            version = self.model.current.pop(key, None)
            self.model.bodies.pop((key, version or ""), None)

    def retag(self, key: str) -> None:
        """Change the description of an object, and not its body."""
        if version := self.model.current.get(key):
            with self._asked(key, version):
                about = {"version_id": version, "tags": "new"}
                self.model.tags.pop(key, None)
                objects.put(self.disk, self.path(key), None, about)
                self.model.tags[key] = "new"

    def save(self, number: int) -> None:
        state = {"taken": 1.0, "number": number, "current": dict(self.model.current)}
        self.model.tried_state = number
        with contextlib.suppress(OSError):
            self.generations.write(state)
            self.generations.advance()
            self.model.state = number

    @contextlib.contextmanager
    def _asked(self, key: str, version: str | None) -> Iterator[None]:
        self.model.doubt = (key, version)
        try:
            yield
            self.model.refused.discard(key)
        except OSError:
            if version is None:
                self.model.refused.add(key)
        self.model.doubt = None


def script(store: Store) -> None:
    """Every kind of change, each after every other that could spoil it."""
    store.put("a", "1")
    store.save(1)
    store.put("a", "2")
    store.put("folder/b", "1")
    store.retag("a")
    store.save(2)
    store.put("a", "3")
    store.delete("folder/b")
    store.put("c", "1")
    store.save(3)
    store.put("c", "2")
    store.save(4)


def violations(store: Store) -> list[str]:
    """The acknowledged objects that are not there, or not whole."""
    disk, model, problems = store.disk, store.model, []
    doubted = model.doubt[0] if model.doubt else None
    for key in {*model.current, *([doubted] if doubted else [])}:
        wanted = {model.current.get(key)}
        if key == doubted and model.doubt:
            wanted.add(model.doubt[1])
        if key in model.refused:
            wanted.add(None)
        path = store.path(key)
        there, sidecar, content = _version_of(disk, path), _sidecar(disk, path), _read(disk, path)
        if there not in wanted:
            problems.append(f"{key} is of version {there}, expected {wanted}")
        elif there and hashlib.sha256(content).hexdigest() != sidecar["sha256"]:
            problems.append(f"{key}: the body is not that of its sidecar")
        elif there and content != model.bodies.get((key, there), content):
            problems.append(f"{key}: version {there} has another body")
        elif there and key in model.tags and key != doubted and sidecar.get("tags") != model.tags[key]:
            problems.append(f"{key}: what was noted about it is gone")
    for (key, version), body in model.bodies.items():
        places = [store.version_path(key, version), store.path(key)]
        if (
            key != doubted
            and key not in model.refused
            and body not in [_read(disk, place) for place in places]
        ):
            problems.append(f"{key}: the body of version {version} is gone")
    return problems + _judged_state(store)


def _judged_state(store: Store) -> list[str]:
    model = store.model
    try:
        state = Generations(Path(STATES), Path(ROOT), store.disk).read(objects_exist=bool(model.state))
    except LostStateError as problem:
        return [f"the state is lost: {problem}"]
    number = state["number"] if state else 0
    if not model.state <= number <= model.tried_state:
        return [f"the state is number {number}, expected {model.state}"]
    named = state["current"] if state else {}
    return [
        f"the state names version {version} of {key}, whose body is gone"
        for key, version in named.items()
        if (key, version) in model.bodies
        and model.bodies[key, version]
        not in [_read(store.disk, p) for p in (store.path(key), store.version_path(key, version))]
        and not (model.doubt and model.doubt[0] == key)
        and key not in model.refused
    ]


def _version_of(disk: SimulatedDisk, path: str) -> str | None:
    return _sidecar(disk, path).get("version_id") if path in disk.names else None


def _sidecar(disk: SimulatedDisk, path: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(_read(disk, path + objects.SIDECAR))
    except ValueError:
        return {}
    return about


def _read(disk: SimulatedDisk, path: str) -> bytes:
    return disk.names[path].data if path in disk.names else b""


def recovered(disk: SimulatedDisk) -> None:
    """Recover the objects' files as a start does."""
    objects.recover(disk, objects.interrupted(name for name in disk.names if name.startswith(ROOT)))


def play(fault: Fault, loss: Loss | None, recover: Callable[[SimulatedDisk], None] = recovered) -> list[str]:
    """One case: the script with a fault, and with the files that a death leaves."""
    disk = SimulatedDisk(fault)
    store = Store(disk)
    try:
        script(store)
    except Death:
        assert loss is not None
        disk.die(loss)
        return _started(store, recover)
    problems = violations(store)
    disk.free()
    store.put("a", "last")  # the disk works again, and so does the store
    store.save(9)
    return problems + violations(store)


def _started(store: Store, recover: Callable[[SimulatedDisk], None]) -> list[str]:
    """The faults after a start, and after one that died at any of its own calls before it."""
    problems: list[str] = []
    crashed = store.disk
    for call in itertools.count():
        store.disk = copy.deepcopy(crashed)
        store.disk.calls, store.disk.fault = [], Fault("death", call)
        try:
            recover(store.disk)
        except Death:
            store.disk.die(Loss(0, "none"))
            recover(store.disk)
            problems += violations(store)
        else:
            return problems + violations(store)
    return problems


def cases() -> Iterator[tuple[Fault, Loss | None]]:
    """Every call of the script, with every fault and every loss that can follow it."""
    plain = SimulatedDisk()
    script(Store(plain))
    for call, kind in product(range(len(plain.calls)), ("no room", "full", "error", "torn")):
        yield Fault(kind, call), None
    for call in range(len(plain.calls)):
        dying = SimulatedDisk(Fault("death", call))
        with contextlib.suppress(Death):
            script(Store(dying))
        for names, how in product(range(len(dying.pending) + 1), ("all", "half", "none")):
            yield Fault("death", call), Loss(names, how)
