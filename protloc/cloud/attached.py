"""Run a command that must not outlive its starter: `python attached.py PARENT_PID COMMAND…`.

A training job of the embedded cloud runs under it: it ends, with everything it started, when the cloud ends,
on `kill -9` too. Its exit status is the command's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType


def main() -> int:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    process = subprocess.Popen(command, start_new_session=True)

    asked: list[int] = []

    def end(signal_number: int, frame: FrameType | None) -> None:
        """Asked once, ask the command; asked again, make it."""
        os.killpg(process.pid, signal.SIGKILL if asked else signal_number)
        asked.append(signal_number)

    signal.signal(signal.SIGTERM, end)
    while process.poll() is None:
        if os.getppid() != parent:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.1)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main())
