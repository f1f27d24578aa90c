"""Serving the small model: a core, all cores, and beside other work, against transformers' own pipeline.

A process a core has one thread each, as a copy of the model has them. The pipeline answers with a BERT of
about as many parameters, sixteen sequences at a time: the usual program without this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer, pipeline

from benchmarks.harness import Row, interleave, median, ratio
from benchmarks.text import sequences
from model.serving.inference import Request, model_fn, predict_fn
from model.serving.tokens import PROTEIN_VOCABULARY

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "model" / "default"
PROTEINS, SECONDS = 96, 8.0
BUSY = "while True: sum(range(1000))"
WORKER = f"""
import sys, time
from benchmarks.small import answering
print(answering({SECONDS}), flush=True)
"""


def run(rounds: int) -> Iterator[Row]:
    """The rows of serving the small model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _core(rounds)
    finally:
        torch.set_num_threads(threads)
    cores = len(os.sched_getaffinity(0))
    alone = _processes(cores, busy=0)
    yield Row("small-all-cores", alone, "proteins/s", 70.0 * cores, "nothing", 1, detail={"processes": cores})
    beside = _processes(cores, busy=cores)
    yield Row("small-beside", beside / alone, "share of alone", 0.35, f"{cores} busy loops beside", 1)


def _core(rounds: int) -> Iterator[Row]:
    model, asked = model_fn(str(MODEL)), sequences(PROTEINS, seed=4)
    with tempfile.TemporaryDirectory() as folder:
        theirs = _pipeline(Path(folder))
        few = [" ".join(sequence) for sequence in asked[:16]]
        seconds = interleave(
            {
                "ours": lambda: predict_fn(Request(asked), model),
                "pipeline": lambda: list(theirs(few, truncation=True, max_length=512)),
            },
            rounds,
            time.process_time,
        )
    detail = {
        "residues_per_second": round(sum(map(len, asked)) / median(seconds["ours"])),
        "parameters": sum(value.numel() for value in model.classifier.parameters()),
        "precision": model.artifact.precision.get("head", "fp32"),
    }
    rate = PROTEINS / median(seconds["ours"])
    yield Row("small-core", rate, "proteins/s a core", 90.0, "nothing", rounds, detail=detail)
    faster = ratio(seconds["pipeline"], seconds["ours"]) * PROTEINS / len(few)
    yield Row("small-pipeline", faster, "×", 2.0, "transformers.pipeline, a BERT of 6 × 256", rounds)


def _pipeline(folder: Path) -> Any:
    (folder / "vocab.txt").write_text("\n".join(PROTEIN_VOCABULARY))
    config = BertConfig(
        vocab_size=len(PROTEIN_VOCABULARY),
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=512,
        num_labels=10,  # type: ignore[call-arg]
    )
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False)
    network = BertForSequenceClassification(config).eval()  # type: ignore[no-untyped-call]
    return pipeline("text-classification", model=network, tokenizer=tokenizer, device=-1, batch_size=16)


def answering(seconds: float) -> float:
    """Proteins a second that this process answers for so long."""
    torch.set_num_threads(1)
    model, asked = model_fn(str(MODEL)), sequences(PROTEINS, seed=4)
    predict_fn(Request(asked), model)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        predict_fn(Request(asked), model)
        done += PROTEINS
    return done / (time.perf_counter() - started)


def _processes(number: int, busy: int) -> float:
    """Proteins a second of so many processes together, beside so many that only count."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    try:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
            )
            for _ in range(number)
        ]
        return sum(float(worker.communicate()[0].splitlines()[-1]) for worker in workers)
    finally:
        for other in others:
            other.kill()
            other.wait()
