"""Cold starts: the processor's time from an empty process to a handler that has the clients of its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Row, median

ROOT = Path(__file__).parents[1]
DATABASE = "uploads.table.database.client"
HANDLERS = {  # and the clients that nearly each of their calls uses, besides the database's
    "receive": ("storage.client", "shards_queue.client"),
    "split": ("storage.client", "shards_queue.client"),
    "predict": ("storage.client", "endpoint.client"),
    "complete": ("storage.client", "events"),
    "query": (),
    "sweep": ("shards_queue.client",),
}
START = """
import json, operator, sys, time
bare = time.process_time()
import importlib
importlib.import_module(f"functions.{sys.argv[1]}")
imported = time.process_time()
from functions.services import services
aws = services()
for client in sys.argv[2:]:
    operator.attrgetter(client)(aws).meta
print(json.dumps([imported - bare, time.process_time() - bare, len(sys.modules)]))
"""
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "RESULTS_BUCKET": "results",
    "ENDPOINT_NAME": "stack",
    **{f"{name}_TABLE": name for name in ("UPLOADS", "PREDICTIONS", "ANSWERS", "MODELS")},
}


def run(rounds: int) -> Iterator[Row]:
    """A row a handler."""
    for handler in HANDLERS:
        starts = [start(handler) for _ in range(rounds)]
        imports = round(1000 * median([each[0] for each in starts]))
        yield Row(
            f"start-{handler}",
            1000 * median([each[1] for each in starts]),
            "ms of a processor",
            200.0,
            "nothing",
            rounds,
            higher_is_better=False,
            detail={"imports_ms": imports, "modules": starts[0][2]},
        )


def start(handler: str) -> tuple[float, float, int]:
    """Seconds of the imports, seconds with the clients, and modules, of one process."""
    done = subprocess.run(
        [sys.executable, "-c", START, handler, DATABASE, *HANDLERS[handler]],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        check=True,
        capture_output=True,
        text=True,
    )
    imports, whole, modules = json.loads(done.stdout.splitlines()[-1])
    return imports, whole, modules
