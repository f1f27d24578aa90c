"""Serving a classifier of ProtBERT's size, against the article's recipe on the same weights.

The article's recipe: one sequence at a time, cut at 510 residues, padded to 512 tokens, fp32, eager
attention. Both sides read the same residues, so residues a second compare. The share of the ceiling counts
the multiplications of the linear layers and of attention over real tokens only, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import BertConfig

from benchmarks import protbert
from benchmarks.harness import CEILING, Row, ceiling, interleave, median, operations, ratio
from model.serving.artifact import read_artifact
from model.serving.classifier import WEIGHTS, ProteinClassifier
from model.serving.hardware import has_amx, precision
from model.serving.heads import HeadSettings
from model.serving.inference import model_fn, predict_fn
from model.serving.loading import Model, load
from model.serving.tokens import ResidueTokenizer

ARTICLE = "the article's recipe: one sequence, padded to 512, fp32, eager"
TOKENS = 512
AGREEING = 200  # proteins whose answers are compared
SMALL = Path(__file__).parents[1] / "model" / "default"
MEDIAN_RESIDUES = 426  # of DeepLoc's proteins


class Article:
    """The article's way of answering, with the weights of an artifact."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        artifact = read_artifact(folder)
        config = BertConfig.from_pretrained(folder, attn_implementation="eager")
        # Weights as the file maps them, so that nothing lies in memory twice here either.
        with torch.device("meta"):
            classifier = ProteinClassifier(config, len(artifact.locations), HeadSettings(**artifact.head))
        classifier.load_state_dict(load_file(folder / WEIGHTS), assign=True)
        # BERT makes these buffers itself and keeps them in no file.
        embeddings, numbers = (
            classifier.encoder.embeddings,
            torch.arange(config.max_position_embeddings)[None],
        )
        embeddings.register_buffer("position_ids", numbers, persistent=False)
        embeddings.register_buffer("token_type_ids", torch.zeros_like(numbers), persistent=False)
        self.classifier, self.device = classifier.to(device).eval(), device
        self.tokenizer = ResidueTokenizer.read(folder)
        self.temperature = artifact.calibration["location_temperature"]

    @torch.inference_mode()
    def answer(self, sequences: list[str]) -> np.ndarray:
        """Probabilities (sequences, locations)."""
        rows = []
        for sequence in sequences:
            row = self.tokenizer.encode(sequence)
            ids = np.full((1, TOKENS), self.tokenizer.padding)
            ids[0, : len(row)] = row
            mask = (np.arange(TOKENS) < len(row)).astype(np.int64)[None]
            ids_on_device, seen = (torch.from_numpy(part).to(self.device) for part in (ids, mask))
            hidden = self.classifier.encoder(input_ids=ids_on_device, attention_mask=seen).last_hidden_state
            logits = self.classifier.head(hidden * seen[..., None], seen)[:, :-1]
            rows.append((logits.double() / self.temperature).softmax(1)[0].cpu().numpy())
        return np.stack(rows)


def served(model: Model, sequences: list[str]) -> np.ndarray:
    """Probabilities (sequences, locations) as the project answers."""
    return np.array([row["probabilities"] for row in predict_fn(sequences, model)["predictions"]])


def multiplications(sizes: list[int], config: BertConfig) -> float:
    """Multiplications and additions of the encoder's products for proteins of so many residues."""
    hidden, wide = config.hidden_size, config.intermediate_size
    tokens = [size + 2 for size in sizes]
    a_token = 2 * (4 * hidden * hidden + 2 * hidden * wide)
    return float(config.num_hidden_layers * sum(one * (a_token + 4 * one * hidden) for one in tokens))


def run(rounds: int) -> Iterator[Row]:
    """The rows of serving: speed, agreement, share of the ceiling, memory, and the small model's speed."""
    with tempfile.TemporaryDirectory(prefix="protbert-") as name:
        folder = protbert.build(Path(name))
        yield from _speed(folder, rounds, torch.device("cpu"))
        if torch.cuda.is_available():
            yield from _speed(folder, rounds, torch.device("cuda"))
        yield _memory(folder)
    yield _small(rounds)


def _speed(folder: Path, rounds: int, device: torch.device) -> Iterator[Row]:
    kind = device.type
    dtype = precision(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model, article = load(folder, device, dtype), Article(folder, device)
    # A GPU is busy with many proteins only; the article's way takes one at a time anyway, and a part of them.
    times = 1 if kind == "cpu" else 64
    sizes = list(protbert.LENGTHS) * times
    sequences, _ = protbert.proteins(sizes, seed=2)
    few = sequences[: len(protbert.LENGTHS)]
    seconds = interleave(
        {
            "article": lambda: article.answer(few),
            "served": lambda: served(model, sequences),
            "ceiling": ceiling(dtype, kind),
        },
        rounds,
    )
    residues = sum(sizes)
    faster = ratio(seconds["article"], seconds["served"]) * times
    rates = [multiplications(sizes, model.classifier.config) / one for one in seconds["served"]]
    limits = [operations() / one for one in seconds["ceiling"]]
    common = {
        "residues_per_second": round(residues / median(seconds["served"]), 1),
        "article_residues_per_second": round(residues / times / median(seconds["article"]), 1),
        "proteins": len(sizes),
        "dtype": str(dtype).removeprefix("torch."),
    }
    yield Row(f"serving-{kind}", faster, "×", 6.0 if kind == "cpu" else 12.0, ARTICLE, rounds, detail=common)
    yield Row(
        f"serving-{kind}-ceiling",
        median([rate / limit for rate, limit in zip(rates, limits, strict=True)]),
        "share",
        0.5 if kind == "cuda" else 0.6 if has_amx() else 0.8,
        f"one {common['dtype']} product of {CEILING} in the same rounds",
        rounds,
        detail={"gop_per_second": round(median(rates) / 1e9), "ceiling": round(median(limits) / 1e9)},
    )
    # Most are compared with the packed encoder in fp32, which takes less time than the article's way and
    # answers as it does: `fp32_shift` is by how much it does not, on the proteins that were timed.
    exact = load(folder, device, torch.float32)
    others, places = protbert.proteins([60] * AGREEING, seed=3)
    timed = article.answer(few)
    drift = np.abs(timed - served(exact, few)).max()
    expected = np.concatenate([timed, served(exact, others)])
    answers = np.concatenate([served(model, few), served(model, others)])
    same = float((expected.argmax(1) == answers.argmax(1)).mean())
    figures: dict[str, Any] = {
        "proteins": len(answers),
        "mean_confidence": round(float(expected.max(1).mean()), 3),
        "right": round(float((expected[-AGREEING:].argmax(1) == places).mean()), 3),
        "fp32_shift": float(f"{drift:.2g}"),
    }
    yield Row(f"serving-{kind}-same-location", same, "share", 0.995, ARTICLE, 1, detail=figures)
    shift = float(np.abs(expected - answers).max())
    yield Row(f"serving-{kind}-shift", shift, "probability", 0.03, ARTICLE, 1, higher_is_better=False)


def _memory(folder: Path) -> Row:
    """Peak resident memory of a process that loads the model and answers, by both ways."""
    sides: dict[str, dict[str, float]] = {}
    for side in ("article", "served"):
        command = [sys.executable, "-m", "benchmarks.serving", side, str(folder)]
        where = Path(__file__).parents[1]
        output = subprocess.run(command, cwd=where, check=True, capture_output=True, text=True).stdout
        sides[side] = json.loads(output.splitlines()[-1])
    return Row(
        "serving-cpu-memory",
        sides["served"]["peak"] / sides["article"]["peak"],
        "of the article's peak",
        0.7,
        ARTICLE,
        1,
        higher_is_better=False,
        detail={"gigabytes": sides},
    )


def resident(side: str, folder: Path) -> dict[str, float]:
    """Load, answer, and say this process's memory in GB: at its peak and after."""
    sequences, _ = protbert.proteins(list(protbert.LENGTHS), seed=2)
    kept: Article | Model  # to the end, so that the steady memory includes it
    if side == "article":
        kept = Article(folder, torch.device("cpu"))
        kept.answer(sequences)
    else:
        kept = model_fn(str(folder))
        predict_fn(sequences, kept)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    memory = {
        line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "VmRSS"))
    }
    return {"peak": round(memory["VmHWM"] / 1e6, 3), "steady": round(memory["VmRSS"] / 1e6, 3)}


def _small(rounds: int) -> Row:
    """A median protein through the model that the project ships, on one core in a batch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = model_fn(str(SMALL))
        sequences, _ = protbert.proteins([MEDIAN_RESIDUES] * 64, seed=4)
        seconds = interleave({"small": lambda: predict_fn(sequences, model)}, rounds)["small"]
        return Row(
            "serving-small",
            1000 * median(seconds) / len(sequences),
            "ms a protein of 426 residues, one thread",
            15.0,
            "nothing",
            rounds,
            higher_is_better=False,
        )
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    print(json.dumps(resident(sys.argv[1], Path(sys.argv[2]))))
