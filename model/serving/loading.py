"""Loads the model of an unpacked artifact, once for every call that it will answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from model.serving import packed
from model.serving.artifact import Artifact, read_artifact
from model.serving.bert import BertSettings
from model.serving.classifier import WEIGHTS, ProteinClassifier
from model.serving.families import family_of, read_config
from model.serving.heads import HeadSettings
from model.serving.outside import Detector
from model.serving.relatives import Relatives
from model.serving.tokens import SPECIAL_TOKENS, ResidueTokenizer

# torch's convolutions keep a preparation for each shape they meet, up to 1,024 of them and over a gigabyte;
# this many are enough for the lengths of one request. Read when the first convolution runs.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

# Padded tokens of one forward pass. A layer's output for so many fits a core's caches (of a large encoder
# fewer do), and a GPU wants more to be busy at all.
TOKENS_SMALL, TOKENS_LARGE, TOKENS_GPU = 8192, 2048, 32768
# Tokens of all answers behind one explanation: some seconds of a small model or a GPU, and some twenty of a
# large encoder on a CPU, which API Gateway waits for.
EXPLAINED_TOKENS, EXPLAINED_TOKENS_LARGE = 1 << 18, 1 << 14


@dataclass(frozen=True)
class Model:
    """The loaded model that every call shares; nothing in it changes after `model_fn`."""

    artifact: Artifact
    classifier: ProteinClassifier
    tokenizer: ResidueTokenizer
    device: torch.device
    dtype: torch.dtype
    token_budget: int
    detector: Detector | None = None  # of proteins outside of its knowledge; older artifacts have none
    relatives: Relatives | None = None  # the labelled proteins that vote
    explained_tokens: int = EXPLAINED_TOKENS


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> Model:
    """The model of an unpacked artifact; `dtype` is a large encoder's.

    A small model answers in fp32, but for its head where the artifact was judged in bf16 and `dtype` is that.
    So does in place of fp16 an encoder that is not packed: T5's values are beyond what fp16 holds
    (https://github.com/huggingface/transformers/issues/9295).
    """
    artifact, tokenizer = read_artifact(folder), ResidueTokenizer.read(folder)
    config = read_config(folder)
    small = bool(getattr(config, "stem_kernel_size", 0))
    head = HeadSettings(**artifact.head)
    if small:
        classifier = ProteinClassifier.load(folder, len(artifact.locations), head)
        classifier.tabulate()
        if artifact.narrow and dtype == torch.bfloat16:
            classifier.narrow()
        dtype = torch.float32
    elif not family_of(config).packs:
        classifier = ProteinClassifier.load(folder, len(artifact.locations), head)
        dtype = torch.float32 if dtype == torch.float16 else dtype
        classifier.encoder.to(dtype)
    else:
        # The head beside an encoder of nothing, which the packed one then replaces.
        shell = {"num_hidden_layers": 0, "vocab_size": 1, "max_position_embeddings": 1, "pad_token_id": 0}
        classifier = ProteinClassifier(
            BertSettings.from_dict(config.to_dict() | shell), len(artifact.locations), head
        )
        for place, network in enumerate(classifier.members()):
            before = f"others.{place - 1}." if place else ""  # an ensemble's others are below its first
            network.head.load_state_dict(_below(folder / WEIGHTS, f"{before}head."))
            network.encoder = packed.PackedEncoder(
                config,
                packed.reader(folder / WEIGHTS, f"{before}encoder."),
                max_tokens=artifact.max_residues + SPECIAL_TOKENS,
                dtype=dtype,
                device=device,
            )
    classifier.config = config
    budget = TOKENS_GPU if device.type == "cuda" else TOKENS_SMALL if small else TOKENS_LARGE
    detector = Detector.read(folder, artifact.outside)
    index = Relatives.read(folder, artifact.relatives)
    explained = EXPLAINED_TOKENS if small or device.type == "cuda" else EXPLAINED_TOKENS_LARGE
    classifier.to(device).eval()
    return Model(artifact, classifier, tokenizer, device, dtype, budget, detector, index, explained)


def _below(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names begin so, by the rest of their names."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
