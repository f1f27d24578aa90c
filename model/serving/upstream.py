"""Classes of `transformers`, imported when they are needed and without packages that it loads for other ends.

A small model and a ProtBERT that only answers need none of them (`bert.py`, `packed.py`), and importing the
models of transformers takes a processor longer than PyTorch itself. Where they are installed, transformers
also loads scikit-learn for assisted generation (`generation/candidate_generator.py`), SciPy for it and for
the losses of object detection, and accelerate for models that are cut up: two seconds more of every start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNUSED = ("accelerate", "scipy", "sklearn")


@contextmanager
def _without_unused() -> Iterator[None]:
    # None says that a module cannot be imported: https://docs.python.org/3/reference/import.html#the-module-cache
    hidden = {name: None for name in UNUSED if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def from_transformers(name: str) -> Any:
    """Import a class of transformers by its name."""
    with _without_unused():
        import transformers

        return getattr(transformers, name)


def activation(name: str) -> Any:
    """Import the activation that a configuration of transformers names."""
    with _without_unused():
        from transformers.activations import ACT2FN

        return ACT2FN[name]
