"""Starts a command that does not outlive the test run: `python children.py PARENT COMMAND…`.

On Linux the kernel kills it when the process that started it is gone, on `kill -9` too (PR_SET_PDEATHSIG, which an
`exec` keeps: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html). Elsewhere it ends by itself, later.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def child(command: Sequence[str]) -> list[str]:
    """The command that runs `command` as a child of this process, for as long as this process lives."""
    return [sys.executable, __file__, str(os.getpid()), *command]


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # A shell starts background commands with Ctrl-C ignored, and each `exec` keeps that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getppid() != parent:  # it was gone before
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
