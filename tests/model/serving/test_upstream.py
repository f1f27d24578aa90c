"""Models that need no transformers import none: a server is up seconds of processor time earlier."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model.serving.upstream import UNUSED
from tests.conftest import ROOT
from tests.model import tiny

Build = Callable[[Path], Path]

ANSWERING = """
import sys
from model.serving.inference import model_fn, predict_fn
assert "probabilities" in predict_fn(["MKVLAAGIVGLKWYDE"], model_fn(sys.argv[1]))["predictions"][0]
print([name for name in ("transformers", "sklearn", "scipy", "accelerate") if name in sys.modules])
"""
NAMED = f"""
import sys
from model.serving.upstream import from_transformers
from_transformers("BertModel")
print([name for name in {UNUSED} if name in sys.modules])
import sklearn.metrics, accelerate  # for those who want them
"""


def imported(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("build", [tiny.build_tiny_ensemble, tiny.build_tiny_bert_artifact])
def test_a_small_model_and_a_packed_bert_answer_without_transformers(build: Build, tmp_path: Path) -> None:
    assert imported(ANSWERING, str(build(tmp_path))) == "[]"


def test_training_a_small_model_imports_no_transformers() -> None:
    assert imported("import sys, model.train; print('transformers' in sys.modules)") == "False"


@pytest.mark.slow
def test_what_transformers_loads_for_other_ends_is_neither_imported_nor_hidden() -> None:
    assert imported(NAMED) == "[]"
