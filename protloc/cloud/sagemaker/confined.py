"""Runs a command with what little it needs: `python confined.py FOLDER SCRATCH [FOLDER…] -- COMMAND…`.

A model's archive brings code, which runs as the user of the cloud. Here it loses, as far as the system
lets an ordinary user take it away: the network (a namespace of its own, in a user namespace); all files but
the system's libraries, the Python installation and its own FOLDER, to read, and SCRATCH and further folders,
to use (Landlock); signals to other processes. Linux only; elsewhere, and where a system forbids it, the
command runs all the same: `measures` says what holds. Needs no package, so that it starts quickly.

https://man7.org/linux/man-pages/man7/user_namespaces.7.html, https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Sequence

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_NO_NEW_PRIVS = 38
# The numbers are the same on all architectures that came after the system calls were unified.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE, READ, LIST = 1, 1 << 1, 1 << 2, 1 << 3
CHANGE = 0x1FF0  # remove and make entries of every kind
REFER, TRUNCATE, DEVICES = 1 << 13, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE | READ | TRUNCATE | DEVICES
NO_TCP = 3  # neither bind nor connect
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
LIMITS = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 4 << 30, resource.RLIMIT_NOFILE: 4096}


def confine(folder: str, usable: Sequence[str]) -> dict[str, bool]:
    """Confine this process, which must have one thread, and all that it starts; which measures hold."""
    for limit, most in LIMITS.items():
        _, allowed = resource.getrlimit(limit)
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (most, most))
    if sys.platform != "linux":
        return {"network": False, "files": False}
    return {"network": _leave_network(), "files": _leave_files(folder, usable)}


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


def _leave_files(folder: str, usable: Sequence[str]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    known = 0x1FFF
    for since, right in ((2, REFER), (3, TRUNCATE), (5, DEVICES)):
        known |= right if version >= since else 0
    attributes = struct.pack("=QQQ", known, NO_TCP, OWN_SIGNALS_AND_SOCKETS)
    attributes = attributes[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return False

    def allow(path: str, rights: int) -> None:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        rights &= known if os.path.isdir(path) else known & OF_FILES
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
    confine(folders[0], folders[1:])
    os.execv(command[0], command)  # nosec B606


if __name__ == "__main__":
    main()
