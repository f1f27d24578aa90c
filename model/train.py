"""Training: a SageMaker training container runs this file, top to bottom.

    python -m model.train --training DEEPLOC.fasta --validation ACCESSIONS.txt --model-dir OUT
    torchrun --nproc-per-node 8 model/train.py --encoder s3://bucket/prot_bert_bfd/ --frozen-layers 15 …

In a container folders come from SageMaker's variables (SM_CHANNEL_TRAINING, SM_MODEL_DIR, …) and settings
as `--name value` arguments (`learning/arguments.py`). Without `--encoder` the small model is trained from
nothing. Every epoch is measured on the validation proteins and the best epoch's weights (by an average over
steps) become the artifact; proteins marked `test` are never looked at.

A run is a function of its data and settings: the same for any number of processes but for float noise (and
for dropout, which each process draws for itself), and bit for bit the same on the same machine when it is
killed and started again with the same `--checkpoint-dir`. A part that does not move and has no dropout is
computed once and read from disk in every epoch (`learning/activations.py`).

The run is prepared in `learning/preparation.py`; `learning/state.py` holds all that changes during training.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

if not __package__:  # run as a file, as SageMaker's toolkit does: the package is beside this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import nn

from model import detection
from model.failure import failures_reported
from model.learning.arguments import parse
from model.learning.distribution import join
from model.learning.epochs import Step, padding_share
from model.learning.frozen import begin_training
from model.learning.outcome import append_history, print_epoch
from model.learning.preparation import prepare
from model.learning.run import Run
from model.learning.settings import Settings
from model.learning.state import Learning
from model.learning.tokens import Tokens
from model.learning.validation import Answers, answers_of, report
from model.serving.artifact import opened

STOPPED = 128 + signal.SIGTERM  # the exit status of a run that was asked to stop


def main(arguments: Sequence[str] | None = None) -> None:
    """Do one training run."""
    settings = parse(arguments)
    with join() as processes, ExitStack() as stack:
        if settings.start is not None:
            settings = replace(settings, start=stack.enter_context(opened(settings.start)))
        torch.manual_seed(settings.seed)
        run = prepare(settings, processes)
        fit(run)
        if processes.first:
            detection.add_missing(settings.model_dir, [*run.training, *run.validation])


def fit(run: Run) -> None:
    """Train, and keep the averaged weights of the epoch with the best `score` on validation."""
    settings, learning = run.settings, Learning.begin(run)
    with stop_signal(settings.checkpoint_dir is not None) as stop:
        while (progress := learning.progress).epoch < settings.epochs:
            if 0 < settings.patience <= progress.waited:
                break
            started = time.monotonic()
            train_epoch(learning, stop)
            with learning.average.worn():
                answers = answers_of(run, learning.bare, learning.chosen_on)
            judge_epoch(learning, answers, round(time.monotonic() - started, 1))
            learning.save()


def train_epoch(learning: Learning, stop: Sequence[int]) -> None:
    """Take the optimizer steps that are left of the epoch at work; `stop` is not empty once asked to stop."""
    run, progress = learning.run, learning.progress
    settings, processes = run.settings, run.processes
    total = sum(len(steps) for steps in learning.plans)
    begin_training(run.classifier)
    for step in learning.plans[progress.epoch][progress.step :]:
        # Drawn anew in every step, so that a step repeats itself independently of earlier ones.
        draws = np.random.SeedSequence((settings.seed, progress.epoch, progress.step, processes.rank))
        torch.manual_seed(int(draws.generate_state(1, np.uint64)[0] >> 1))
        loss = backward(learning, step)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"expected a finite loss, found {loss} in step {progress.done + 1}; lower --learning-rate"
            )
        norm = float(nn.utils.clip_grad_norm_(learning.moving.values(), 1.0))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"expected finite gradients, found {norm} in step {progress.done + 1}; lower --learning-rate"
            )
        for group in learning.optimizer.param_groups:
            group["lr"] = group["rate"] * pace(progress.done, total, settings.warmup)
        learning.optimizer.step()
        learning.optimizer.zero_grad()
        progress.losses.append((loss, step.proteins))
        progress.step, progress.done = progress.step + 1, progress.done + 1
        learning.average.follow(min(settings.average, progress.done / (progress.done + 10)))
        if progress.done % settings.log_interval == 0 and processes.first:
            mean = progress.mean_loss(settings.log_interval)
            print(f"Step {progress.done}/{total} Training Loss: {mean:.4f}", flush=True)
        if settings.checkpoint_dir is not None:
            if processes.any(bool(stop)):
                learning.save()
                raise SystemExit(STOPPED)
            if processes.first and learning.checkpoints.due:
                learning.save()


def backward(learning: Learning, step: Step) -> float:
    """Compute a step's gradients, the mean over its proteins; return their summed loss over all processes."""
    run, processes, summed = learning.run, learning.run.processes, 0.0
    for position, pack in enumerate(step.packs):
        # A process without a share still takes part in the averaging, with a loss of zero.
        chosen, seed = pack or [0], (run.settings.seed, learning.progress.epoch)
        extra = run.settings.fragment_weight or 0.0
        parts = [(learning.learned.batch(chosen, seed), 1 / (1 + extra))]
        if extra and isinstance(learning.learned, Tokens):
            parts.append((learning.learned.fragments(chosen, seed), extra / (1 + extra)))
        for number, (batch, weight) in enumerate(parts):
            inputs = [each.to(processes.device) for each in batch]
            last = position == len(step.packs) - 1 and number == len(parts) - 1
            with processes.averaging(learning.network, last), processes.autocast(run.settings.precision):
                locations, bound = learning.network(*inputs)
                loss = learning.goal.summed_loss(locations, bound, chosen) * (weight if pack else 0.0)
                # The sum over the step's proteins by their number, wherever they are;
                # DistributedDataParallel divides by the processes as well, which is undone here.
                (loss * processes.world / step.proteins).backward()  # type: ignore[no-untyped-call]
            summed += float(loss.detach())
    return float(processes.sum(np.array([summed]))[0])


def judge_epoch(learning: Learning, answers: Answers, seconds: float) -> None:
    """Measure an epoch by its `answers` to the validation proteins, and keep it if it is the best so far."""
    run, progress = learning.run, learning.progress
    metrics = report(answers, run.validation, run.locations, several=run.settings.several)
    if metrics["macro_f1"] > progress.best_f1:
        progress.best_f1, progress.waited = metrics["macro_f1"], 0
    else:
        progress.waited += 1
    progress.history.append(
        {
            "epoch": progress.epoch + 1,
            "padding": padding_share(learning.plans[progress.epoch], learning.learned.sizes),
            "training_loss": round(progress.mean_loss(), 4),
            "seconds": seconds,
        }
        | metrics
    )
    better = run.settings.everything or score(run.settings, metrics) > progress.best_score
    if better:
        progress.best_score, progress.best_epoch = score(run.settings, metrics), progress.epoch + 1
    progress.next_epoch()
    if not run.processes.first:
        return
    print_epoch(run.settings, progress.history)
    if better:
        learning.store(answers, progress.best_epoch)
        logits = {"locations": torch.from_numpy(answers[0]), "bound": torch.from_numpy(answers[1])}
        learning.checkpoints.write_best(progress.best_epoch, learning.average.values | logits)
    else:
        append_history(run.settings.model_dir, progress.history)


@contextmanager
def stop_signal(heeded: bool) -> Iterator[list[int]]:
    """A list that is empty until SIGTERM comes: SageMaker sends it two minutes before an instance goes."""
    received: list[int] = []
    if not heeded:  # nothing to be saved for: it ends the program at once
        yield received
        return

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def score(settings: Settings, metrics: Mapping[str, Any]) -> float:
    """The figure that chooses the best epoch: Q10 + macro-F1, or, begun with an artifact, minus log loss.

    Such epochs differ by a few proteins of a validation set, which is chance; log loss sees every protein.
    """
    return float(metrics["q10"] + metrics["macro_f1"] if settings.start is None else -metrics["loss"])


def pace(step: int, total: int, warmup: float) -> float:
    """The share of the learning rate at an optimizer step: a linear rise, then a cosine to 2 %."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


if __name__ == "__main__":
    with failures_reported():
        main()
