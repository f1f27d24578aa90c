"""Training an encoder of ProtBERT's size, against the article's step, on one machine and on like proteins.

The article's step: four proteins cut at 510 residues and padded to 512 tokens, fp32, eager attention, the
lower half of the layers frozen but not the embeddings, so that the backward pass crosses every layer. Ours:
the frozen part computed once (`activations`), bf16 where the hardware has it, batches of like length without
padding between the layers. Both are counted in residues of real proteins a second, optimizer included. The
pass that computes activations is told beside a step's figure, and is part of the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from transformers import BertConfig

from benchmarks.harness import Row, interleave, median, ratio
from benchmarks.protbert import CONFIG, LENGTHS
from model.learning.activations import Activations
from model.learning.adapters import add_adapters
from model.learning.frozen import Upper
from model.learning.loss import summed_loss
from model.learning.tokens import Tokens
from model.proteins.labelled import LOCATIONS
from model.serving.classifier import ProteinClassifier
from model.serving.hardware import has_bf16
from model.serving.heads import HeadSettings
from model.serving.packed import PackedEncoder
from model.serving.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer, pack_by_length

ARTICLE = "the article's step: batch 4, padded to 512, fp32, half of the layers frozen"
TOKENS, BATCH, EPOCHS = 512, 4, 3
# A GPU is busy with many proteins only; the article's step takes four on any device.
PROTEINS = {"cpu": 2 * len(LENGTHS), "cuda": 16 * len(LENGTHS)}
# Smaller than in a run, whose packs are of like length because they are drawn from hundreds of proteins.
BUDGET = {"cpu": 2176, "cuda": 8 * 2176}
RANK = 8  # of the adapters
CPU = torch.device("cpu")


def network(layers: int, head: str) -> ProteinClassifier:
    """A classifier of ProtBERT's size with random weights."""
    config = BertConfig(**CONFIG | {"num_hidden_layers": layers, "attn_implementation": "eager"})
    return ProteinClassifier(config, len(LOCATIONS), HeadSettings(kind=head))


def stepping(
    reads: nn.Module,
    classifier: ProteinClassifier,
    batches: Sequence[tuple[torch.Tensor, ...]],
    bf16: bool,
) -> Callable[[], None]:
    """One optimizer step over `batches`: forward, backward and AdamW on the weights that move."""
    moving = [value for value in classifier.parameters() if value.requires_grad]
    device = moving[0].device
    optimizer = torch.optim.AdamW(moving, lr=1e-5, fused=True)
    weights = torch.ones(len(LOCATIONS), device=device)

    def step() -> None:
        classifier.train()
        for inputs in batches:
            truth = torch.arange(len(inputs[0]), device=device) % len(LOCATIONS)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                locations, bound = reads(*inputs)
            summed_loss(locations, bound, truth, truth.float() % 2, weights, 0.05).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def run(rounds: int, layers: int = int(CONFIG["num_hidden_layers"])) -> Iterator[Row]:
    """The rows of this benchmark, on the CPU and on a GPU if there is one; fewer `layers` to try it out."""
    yield from steps(rounds, layers, CPU)
    if torch.cuda.is_available():
        yield from steps(rounds, layers, torch.device("cuda"))


def steps(rounds: int, layers: int, device: torch.device) -> Iterator[Row]:
    """The rows of one device; fp32 is fp32 there, without TF32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    bf16 = has_bf16(device)
    tokenizer = ResidueTokenizer(PROTEIN_VOCABULARY)
    lengths = sorted(LENGTHS * (PROTEINS[device.type] // len(LENGTHS)))
    rows = ["".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in lengths]
    tokens = Tokens([tokenizer.encode(row) for row in rows], tokenizer, TOKENS)
    packs = pack_by_length(tokens.sizes - SPECIAL_TOKENS, range(len(rows)), BUDGET[device.type])
    size = int(CONFIG["hidden_size"])
    stored = random.integers(-1000, 1000, (int(tokens.sizes.sum()), size)).astype(np.float32) / 500
    bits = torch.from_numpy(stored).bfloat16().view(torch.int16).numpy()
    kept = Activations(bits, tokens.sizes, TOKENS)
    hidden = [tuple(each.to(device) for each in kept.batch(pack)) for pack in packs]

    whole = network(layers, "linear").to(device)
    for layer in whole.encoder.encoder.layer[: layers // 2]:
        layer.requires_grad_(False)
    ids, mask = tokens.batch(range(len(rows) - BATCH, len(rows)))
    ids, mask = ids.to(device), mask.to(device)
    assert ids.shape == (BATCH, TOKENS)
    encoder = PackedEncoder(
        whole.config,
        whole.encoder.state_dict().__getitem__,
        max_tokens=TOKENS,
        dtype=torch.bfloat16 if bf16 else torch.float32,
        device=device,
    )
    tuned = network(layers - layers // 2, "convolution-attention").to(device)
    adapted = network(layers - layers // 2, "convolution-attention").to(device)
    tuned.encoder.embeddings.requires_grad_(False)
    add_adapters(adapted, RANK, 0)
    head = network(0, "convolution-attention").to(device)
    head.encoder.requires_grad_(False)
    train_head = stepping(Upper(head, 0), head, hidden, bf16)

    @torch.no_grad()
    def activate() -> None:
        for pack in packs:
            encoder(*(each.to(device) for each in tokens.batch(pack)))

    ways = {
        "article": stepping(whole, whole, [(ids, mask)], bf16=False),
        "tuned": stepping(Upper(tuned, 0), tuned, hidden, bf16),
        "adapted": stepping(Upper(adapted, 0), adapted, hidden, bf16),
        "activate": activate,
        "head": train_head,
    }
    seconds = interleave(ways, rounds)
    residues = sum(lengths)
    # Padded to one size, the article's step takes as long for any proteins: theirs are average ones.
    slow = [each * residues / (BATCH * residues / len(rows)) for each in seconds["article"]]
    rates = {name: round(residues / median(each), 1) for name, each in (seconds | {"article": slow}).items()}
    detail = {
        "layers": layers,
        "residues_per_second": rates,
        "padding": round(1 - tokens.sizes.sum() / sum(pack[1].numel() for pack in hidden), 4),
    }
    for name, what in (("tuned", "half of the layers"), ("adapted", f"adapters of rank {RANK} in them")):
        yield Row(
            f"training step, {device.type}: {what}",
            ratio(slow, seconds[name]),
            "×",
            7,
            ARTICLE,
            rounds,
            True,
            detail,
        )
    ours = [one + EPOCHS * other for one, other in zip(seconds["activate"], seconds["head"], strict=True)]
    theirs = [EPOCHS * each for each in slow]
    yield Row(
        f"retraining the head, {device.type}, encoder frozen, 3 epochs",
        ratio(theirs, ours),
        "×",
        20,
        "the article's 3 epochs",
        rounds,
        True,
        detail,
    )
