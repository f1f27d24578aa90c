"""The BERT of `transformers`, imported without the packages that transformers loads beside it for other ends.

Where they are installed, `import transformers` of a model loads scikit-learn, and with it SciPy, for assisted
generation (`generation/candidate_generator.py`) and accelerate for models that are cut up. Neither is used
here, and together they take a processor two seconds of every start of a model server or a training job.
"""

from __future__ import annotations

import sys

UNUSED = ("accelerate", "sklearn")

# None says that a module cannot be imported: https://docs.python.org/3/reference/import.html#the-module-cache
_hidden = {name: None for name in UNUSED if name not in sys.modules}
sys.modules.update(_hidden)  # type: ignore[arg-type]
try:
    from transformers import BertConfig, BertModel, PreTrainedConfig
    from transformers.activations import ACT2FN
    from transformers.modeling_outputs import BaseModelOutput
finally:
    for _name in _hidden:
        sys.modules.pop(_name, None)

__all__ = ["ACT2FN", "BaseModelOutput", "BertConfig", "BertModel", "PreTrainedConfig"]
