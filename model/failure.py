"""Reports why a job failed where SageMaker looks for it.

The first 1,024 characters of the file `failure` in a job's output folder become the `FailureReason` of
DescribeTrainingJob; the training toolkit leaves a file alone that is already there.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OUTPUT = Path("/opt/ml/output")
MAX_REASON_CHARACTERS = 1024  # characters of a FailureReason


@contextmanager
def failures_reported() -> Iterator[None]:
    """Any error within ends the program with status 1 and its message as the job's reason.

    The message of a ValueError or an OSError has the value expected and the one found; of any other error,
    which is a mistake in the program, the log gets the traceback too.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        _write(str(error))
        sys.exit(str(error))
    except Exception as error:
        _write(f"{type(error).__name__}: {error}")
        traceback.print_exc()
        sys.exit(1)


def _write(reason: str) -> None:
    """Write the reason, of several processes only the first one's: the others fail because of it."""
    named = os.environ.get("SM_OUTPUT_DIR")
    folder = Path(named) if named else OUTPUT
    if named or folder.is_dir():
        with suppress(OSError):  # the reason is on its way to the log as well
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "failure").open("x", encoding="utf-8") as file:
                file.write(reason[:MAX_REASON_CHARACTERS])
