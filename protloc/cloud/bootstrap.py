"""What a function process of the embedded cloud runs: AWS's own runtime client around one handler.

Started by `workers` with an environment of its own. It takes its events from the address in
`AWS_LAMBDA_RUNTIME_API`, as in AWS, and never outlives the cloud that started it.
"""

from __future__ import annotations

import os
import sys
import threading
import time

PARENT_CHECK_SECONDS = 0.5


def end_with_parent(parent: int) -> None:
    """Exit as soon as the process `parent` is gone, however it ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def main() -> None:
    end_with_parent(int(sys.argv[1]))
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    from awslambdaric.__main__ import main as run_handler

    run_handler(["bootstrap", os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
