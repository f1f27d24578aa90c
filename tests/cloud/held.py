"""A test that never ends by itself, for `test_leftovers`: a cloud with a process of every kind, all of them held.

No part of the suite: its name is not one that pytest looks for.
"""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.children import child
from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.models import artifact
from tests.cloud.sagemaker.test_sagemaker import job, put, serving
from tests.cloud.test_stack import ask
from tests.waiting import Gate, until

RECORD = "PROTLOC_TEST_RECORD"


def test_all_is_held(own_stack: Stack, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    serving(own_stack, put(own_stack, "models/m/model.tar.gz", artifact()))
    training = job(own_stack, factor="1", gate=str(gate.path))
    threads = ThreadPoolExecutor(1)
    threads.submit(ask, own_stack, "pid", gate=str(gate.path))
    until(lambda: len(gate.reached) == 2, lambda: f"{training}: {gate.reached}")
    other = subprocess.Popen(child([sys.executable, "-c", "import time; time.sleep(1e6)"]))
    cloud = psutil.Process(own_stack.cloud.pid)
    processes = [psutil.Process(), cloud, *cloud.children(recursive=True), psutil.Process(other.pid)]
    record = Path(os.environ[RECORD])
    record.with_suffix(".part").write_text("\n".join(str(process.pid) for process in processes))
    record.with_suffix(".part").rename(record)
    threading.Event().wait()
