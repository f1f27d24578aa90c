"""Run a command that must not outlive its starter: `python attached.py PARENT_PID COMMAND…`.

A training job of the embedded cloud runs under it: it ends, with everything it started, when the cloud ends,
on `kill -9` too. Its exit status is the command's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from types import FrameType

CHECK_SECONDS = 0.1


def main() -> int:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    asked: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def send(signal_number: int) -> None:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal_number)

    def end(signal_number: int, frame: FrameType | None) -> None:
        """Asked once, ask the command; asked again, make it."""
        send(signal.SIGKILL if asked else signal_number)
        asked.append(signal_number)

    signal.signal(signal.SIGTERM, end)  # before there is a command, which would be left alone otherwise
    process = subprocess.Popen(command, start_new_session=True)
    if asked:
        send(signal.SIGKILL if len(asked) > 1 else signal.SIGTERM)
    while process.poll() is None:
        if os.getppid() != parent:
            send(signal.SIGKILL)
        time.sleep(CHECK_SECONDS)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main())
