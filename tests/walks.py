"""The walk of an upload and of a training through the project: the files that they enter, in order.

`python -m tests.walks upload` (or `training`) prints it, `test_walks.py` holds docs/architecture.md against it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.house import modules

PROTEINS = 20


def upload() -> None:
    """Have one small file predicted, by the functions and a model that is made up."""
    os.environ.pop("AWS_ENDPOINT_URL", None)
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    from tests.functions.test_flow import fasta
    from tests.functions.world import world

    with world() as made:
        made.activate()
        event = made.upload(fasta(PROTEINS))
        print_entered("functions", lambda: made.run(event))


def training() -> None:
    """Train the small model for one epoch."""
    from model import train
    from tests.model.runs import plain, write_channels

    with tempfile.TemporaryDirectory() as folder:
        arguments = plain(write_channels(Path(folder) / "ml"), Path(folder) / "out", "--epochs", "1")
        print_entered("model", lambda: train.main(arguments))


def print_entered(package: str, call: Callable[[], object]) -> None:
    """Print each file of a package of which `call` enters a function, when it does so first."""
    names = {str(path): name for name, path in modules().items() if name.startswith(f"{package}.")}
    entered: list[str] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name != "<module>" and (name := names.pop(code.co_filename, None)):
            entered.append(name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    print("entered:", *entered)


if __name__ == "__main__":
    {"upload": upload, "training": training}[sys.argv[1]]()
