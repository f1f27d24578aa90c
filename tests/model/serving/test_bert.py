"""BERT without what nobody needs of it: a model server is up two seconds of processor time earlier."""

import subprocess
import sys

from model.serving.bert import UNUSED
from tests.conftest import ROOT

LOADED = f"""
import sys
import model.serving.inference
loaded = [name for name in {UNUSED} if name in sys.modules]
import sklearn.metrics, accelerate  # for those who want them
print(loaded)
"""


def test_serving_loads_no_package_it_does_not_use_and_hides_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
