"""Parts of `transformers`, imported without the packages that it loads beside them for other ends.

Where they are installed, `import transformers` of a model loads scikit-learn for assisted generation
(`generation/candidate_generator.py`), SciPy for it and for the losses of object detection, and accelerate for
models that are cut up. None is used here, and together they take a processor more than two seconds of every
start of a model server or a training job.
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


with _without_unused():
    from transformers import BertConfig, BertModel, PreTrainedConfig
    from transformers.activations import ACT2FN
    from transformers.modeling_outputs import BaseModelOutput


def from_transformers(name: str) -> Any:
    """A class of transformers by its name; other encoders than BERT are loaded where they are used alone."""
    import transformers

    with _without_unused():
        return getattr(transformers, name)


__all__ = ["ACT2FN", "BaseModelOutput", "BertConfig", "BertModel", "PreTrainedConfig", "from_transformers"]
