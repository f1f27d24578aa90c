"""How a training job says why it failed: the first 1,024 characters of its file `output/failure` become the
job's FailureReason. SageMaker's toolkit writes its own account there only where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHARACTERS = 1024


def failure_file() -> Path | None:
    """Where a job of SageMaker tells its failure; None outside of one."""
    if "SM_OUTPUT_DIR" in os.environ:
        return Path(os.environ["SM_OUTPUT_DIR"]) / "failure"
    if "SM_OUTPUT_DATA_DIR" in os.environ:
        return Path(os.environ["SM_OUTPUT_DATA_DIR"]).parent / "failure"
    return None


@contextmanager
def told(*expected: type[Exception]) -> Iterator[None]:
    """Write an error of these kinds into the job's failure file, and end the program with its message.

    Any other error is told by its kind too, and goes on with its traceback: it is a fault of the program.
    """
    try:
        yield
    except expected as error:
        _write(str(error))
        raise SystemExit(f"error: {error}") from error
    except Exception as error:
        _write(f"{type(error).__name__}: {error}")
        raise


def _write(message: str) -> None:
    place = failure_file()
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(message[:CHARACTERS], encoding="utf-8")
