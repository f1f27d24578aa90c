"""Runs a command with least access: `python confined.py [--job PORT] FOLDER SCRATCH… -- COMMAND…`.

A model's archive brings code, which runs as the user of the cloud, and so does the program of a training job.
Here it loses, as far as the system lets an ordinary user take it away: the network (a namespace of its own,
in a user namespace), or of a job that has a PORT all of TCP but connections to it; all files but the system's
libraries, the Python installation and its own FOLDER, to read, and each SCRATCH folder, to use (Landlock);
signals to other processes; root's capabilities; so much memory that the cloud would not outlive it. Linux
only; elsewhere, and where a system forbids it, the command runs all the same: `measures` lists those in
force. Needs no package, so that it starts quickly.

https://man7.org/linux/man-pages/man7/user_namespaces.7.html, https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
# The numbers are the same on all architectures that came after the system calls were unified.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE, READ, LIST = 1, 1 << 1, 1 << 2, 1 << 3
CHANGE = 0x1FF0  # remove and make entries of every kind
REFER, TRUNCATE, DEVICES = 1 << 13, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE | READ | TRUNCATE | DEVICES
BIND, CONNECT = 1, 2
OWN_SIGNALS_AND_SOCKETS = 3

READABLE = (
    *(
        "/usr",
        "/lib",
        "/lib64",
        "/lib32",
        "/bin",
        "/opt",
        "/nix/store",
        "/proc",
        "/sys/devices",
        "/sys/fs/cgroup",
    ),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"),
)
DEVICE_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/dri")
LIMITS = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 4096}
FILE_BYTES = 4 << 30  # of a model server, which has little to write
MEMORY_SHARE = 0.75
"""The share of the memory that one process may have. The kernel counts private, writable pages."""
MAX_PROCESSES = 4096  # and threads


def confine(folder: str, usable: Sequence[str], job: int | None = None) -> dict[str, bool]:
    """Confine this process, which must have one thread, and all that it starts; which measures hold.

    `job` is the one port that a training job may connect to, 0 for none; None for a model server.
    """
    for limit, most in LIMITS.items():
        _limit(limit, most)
    if sys.platform != "linux":
        return {"network": False, "files": False}
    _limit_memory()
    if job is None:
        _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    else:
        os.nice(5)  # callers of a model go before jobs
    network = not job and _leave_network()
    if network and _kernel() >= (5, 14):  # which count those of a user namespace apart from the user's others
        _limit(resource.RLIMIT_NPROC, MAX_PROCESSES)
    _leave_rights()
    return {"network": network, "files": _leave_files(folder, usable, job)}


def _limit(limit: int, most: int) -> None:
    _, allowed = resource.getrlimit(limit)
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(limit, (most, most))


def _limit_memory() -> None:
    """Have it get no more memory than this, and be the first that the kernel ends where that is too much.

    CUDA reserves addresses by far more than it uses, so with a GPU the second has to do.
    """
    if not any(name.startswith("nvidia") for name in os.listdir("/dev")):
        _limit(resource.RLIMIT_DATA, int(MEMORY_SHARE * min(_memory_bytes())))
    with contextlib.suppress(OSError):  # a system that forbids it
        Path("/proc/self/oom_score_adj").write_text("1000")


def _memory_bytes() -> Iterator[int]:
    """The memory of the machine, and of the container that it may be."""
    yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # not there, or no limit
            yield int(Path("/sys/fs/cgroup", name).read_text())


def _leave_rights() -> None:
    """Leave root none of its capabilities: CAP_PERFMON reads other processes' variables all the same."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)


def _leave_network() -> bool:
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError:  # the names of user and group are lost, nothing else
            pass
    return True


def _leave_files(folder: str, usable: Sequence[str], job: int | None) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    handled = 0x1FFF
    for since, right in ((2, REFER), (3, TRUNCATE), (5, DEVICES)):
        handled |= right if version >= since else 0
    attributes = struct.pack("=QQQ", handled, BIND | CONNECT, OWN_SIGNALS_AND_SOCKETS)
    attributes = attributes[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return False

    def allow(path: str, rights: int) -> None:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        rights &= handled if os.path.isdir(path) else handled & FILE_RIGHTS
        rule = struct.pack("=Qi", rights, place)
        libc.syscall(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
        os.close(place)

    for path in {*READABLE, *installation(), folder}:
        allow(path, EXECUTE | READ | LIST)
    nvidia = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")]
    for path in (*DEVICE_FILES, *nvidia):
        allow(path, READ | WRITE | LIST | DEVICES)
    # CUDA names its threads in there, and does not start otherwise; seen with an H100, driver of CUDA 13.
    allow("/proc/self/task", READ | WRITE | LIST | TRUNCATE)
    for path in usable:
        allow(path, READ | WRITE | LIST | CHANGE | REFER | TRUNCATE)
    if job is not None:  # locks of multiprocessing are files there
        allow("/dev/shm", READ | WRITE | LIST | CHANGE | TRUNCATE)  # nosec B108
    if job:
        rule = struct.pack("=QQ", CONNECT, job)
        libc.syscall(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(2), rule, ctypes.c_uint32(0))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0)


def installation() -> set[str]:
    """The folders of Python and its packages."""
    places = {sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), os.path.dirname(__file__)}
    return places | {path for path in sys.path if path and os.path.isdir(path)}


def measures() -> dict[str, bool]:
    """The measures this system permits: `network` and `files`, tried in a process of its own."""
    command = [sys.executable, "-P", __file__, "--try"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    try:
        measures: dict[str, bool] = json.loads(done.stdout)
    except ValueError:
        return {"network": False, "files": False}
    return measures


def main() -> None:
    if sys.argv[1:] == ["--try"]:
        print(json.dumps(confine("/", ())))
        return
    words = sys.argv[1:]
    folders, command = words[: words.index("--")], words[words.index("--") + 1 :]
    job = None
    if folders[0] == "--job":
        job, folders = int(folders[1]), folders[2:]
    confine(folders[0], folders[1:], job)
    os.execv(command[0], command)  # nosec B606


if __name__ == "__main__":
    main()
