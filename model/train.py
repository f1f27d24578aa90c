"""Training: what a SageMaker training container runs, top to bottom.

    python -m model.train --training DEEPLOC.fasta --validation ACCESSIONS.txt --model-dir OUT
    torchrun --nproc-per-node 8 model/train.py --encoder s3://bucket/prot_bert_bfd/ --frozen-layers 15 …

In a container folders come from SageMaker's variables (SM_CHANNEL_TRAINING, SM_MODEL_DIR, …) and settings
as `--name value` arguments (`options.py`). Without `--encoder` the small embedded model is trained from
nothing. Every epoch is measured on the validation proteins and the best epoch's weights (by an average over
steps) become the artifact; proteins marked `test` are never looked at.

A run is a function of its data and settings: the same for any number of processes but for float noise (and
for dropout, which each process draws for itself), and bit for bit the same on the same machine when it is
killed and started again with the same `--checkpoint-dir`. What does not move and drops nothing out is
computed once and read from disk in every epoch (`activations.py`).
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

if not __package__:  # run as a file, as SageMaker's toolkit does: the package is beside this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model import detection
from model.failure import failures_told
from model.learning import activations
from model.learning.activations import Activations, Tokens, Upper
from model.learning.adapters import add_adapters, merged
from model.learning.averages import Average
from model.learning.checkpoint import Checkpoints, collect, restore
from model.learning.distribution import Processes, join
from model.learning.encoders import fetch
from model.learning.loss import Goal
from model.learning.options import describe_run, parse, use_cache
from model.learning.outcome import (
    Answers,
    keep,
    predict,
    remember,
    report,
    served_precision,
    tell,
    usual_shares,
)
from model.proteins import labelled as data
from model.proteins import seen
from model.serving.artifact import opened, read_artifact
from model.serving.classifier import (
    POOLING,
    SMALL_HEAD,
    HeadSettings,
    ProteinClassifier,
    build_small,
    load_pretrained,
    small_config,
)
from model.serving.substitution import Mutator
from model.serving.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer, window

STOPPED = 128 + signal.SIGTERM  # the exit status of a run that was asked to stop


@dataclass
class Progress:
    """The progress of a run; with the tensors beside it, all that a checkpoint holds."""

    epoch: int = 0  # the one at work, counted from 0
    step: int = 0  # done in this epoch
    done: int = 0  # optimizer steps in all
    losses: list[float] = field(default_factory=list)  # a protein's mean, pack by pack, of this epoch
    best_epoch: int = 0  # counted from 1; 0 before the first
    best_score: float = -math.inf
    best_f1: float = -math.inf
    waited: int = 0  # epochs without a better macro-F1
    history: list[dict[str, Any]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """One training run."""
    options = parse(arguments)
    with join() as processes, ExitStack() as stack:
        if options.start is not None:
            options.start = stack.enter_context(opened(options.start))
        torch.manual_seed(options.seed)
        training, validation = data.split(data.read_channel(options.training), options.validation)
        if options.start is not None:
            validation = unknown(validation, options.start)
        classifier, tokenizer = build(options)
        classifier.to(processes.device).freeze(options.frozen_layers)
        if options.lora_rank:
            layers, frozen = len(classifier.encoder.encoder.layer), options.frozen_layers
            add_adapters(classifier, options.lora_rank, frozen if isinstance(frozen, int) else layers)
        if options.gradient_checkpointing:
            classifier.encoder.gradient_checkpointing_enable({"use_reentrant": False})
        longest = classifier.config.max_position_embeddings - SPECIAL_TOKENS
        options.max_residues = min(options.max_residues, longest)
        fit(options, processes, classifier, tokenizer, training, validation)
        if processes.first:
            detection.add_missing(options.model_dir, [*training, *validation])


def unknown(validation: list[data.LabelledProtein], start: Path) -> list[data.LabelledProtein]:
    """The validation proteins that the artifact at `start` has not learned from; all, where they are too few.

    It is surer of those it has, so that an epoch chosen and a calibration fitted on them would flatter.
    """
    fresh = seen.unseen(start, validation)
    return validation if fresh is None or len(fresh) < seen.LEAST else fresh


def build(options: argparse.Namespace) -> tuple[ProteinClassifier, ResidueTokenizer]:
    """The network to train and its tokenizer."""
    kept = {} if options.dropout is None else {"dropout": options.dropout}
    if options.start is not None:
        start = read_artifact(options.start)
        if start.locations != data.LOCATIONS:
            raise ValueError(f"expected the locations {data.LOCATIONS}, found {start.locations}")
        settings = HeadSettings(**dict(start.head) | kept)
        options.max_residues = min(options.max_residues, start.max_residues)
        options.usual_shares = usual_shares(start)
        classifier = ProteinClassifier.load(options.start, len(start.locations), settings)
        return classifier, ResidueTokenizer.read(options.start)
    if options.encoder is None:
        settings = HeadSettings(**(SMALL_HEAD.describe() | {"kind": options.head} | kept))
        config = small_config(options.hidden, options.layers, options.max_residues)
        return build_small(config, len(data.LOCATIONS), settings), ResidueTokenizer(PROTEIN_VOCABULARY)
    folder = fetch(options.encoder)
    settings = HeadSettings(kind=options.head, **kept)
    return load_pretrained(folder, len(data.LOCATIONS), settings), ResidueTokenizer.read(folder)


def feed(
    options: argparse.Namespace,
    processes: Processes,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    training: Sequence[data.LabelledProtein],
    validation: Sequence[data.LabelledProtein],
) -> tuple[nn.Module, Tokens | Activations, Tokens | Activations]:
    """The network that learns, and what it reads of the training and of the validation proteins."""
    max_tokens = options.max_residues + SPECIAL_TOKENS
    read = min(options.training_residues, options.max_residues)
    still = activations.still_part(classifier)
    cache = use_cache(options, still)
    mutator = Mutator(tokenizer.vocabulary, options.mutation_rate) if options.mutation_rate else None
    learned = Tokens(
        [tokenizer.encode(window(each.sequence, read)) for each in training], tokenizer, max_tokens, mutator
    )
    chosen_on = Tokens(
        [tokenizer.encode(window(each.sequence, options.max_residues)) for each in validation],
        tokenizer,
        max_tokens,
    )
    if not cache or still is None:
        return classifier, learned, chosen_on
    if processes.first:
        after = "the head's pooling" if still == POOLING else f"{still} layers"
        print(f"Activations after {after} are computed once; so no residue is redrawn.", flush=True)
    stored = activations.compute(
        classifier,
        still,
        (learned, chosen_on),
        processes,
        folder=options.activations_dir,
        precision=served_precision(classifier, options.precision),
        token_budget=options.token_budget,
    )
    return Upper(classifier, still), stored[0], stored[1]


def aim(
    options: argparse.Namespace,
    processes: Processes,
    classifier: ProteinClassifier,
    network: nn.Module,
    learned: Tokens | Activations,
    training: Sequence[data.LabelledProtein],
) -> Goal:
    """Choose the goal of a run; begun with an artifact, it is not to forget what that answers now."""
    shift, taught = np.zeros(len(data.LOCATIONS), dtype=np.float32), None
    if options.start is not None:
        shift = data.location_shift(training, options.usual_shares)
    if options.distillation:
        precision = served_precision(classifier, options.precision)
        before = predict(processes, classifier, network, learned, options.token_budget, precision)
        taught = (
            processes.tensor(before[0].astype(np.float32)),
            processes.tensor(before[1].astype(np.float32)),
        )
    return Goal(
        truth=processes.tensor(np.array([protein.location for protein in training])),
        membrane=processes.tensor(np.array([protein.membrane for protein in training], dtype=np.float32)),
        weights=processes.tensor(data.class_weights(training, options.class_balance)),
        smoothing=options.label_smoothing,
        shift=processes.tensor(shift),
        taught=taught,
        distillation=options.distillation,
    )


def fit(
    options: argparse.Namespace,
    processes: Processes,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    training: Sequence[data.LabelledProtein],
    validation: Sequence[data.LabelledProtein],
) -> None:
    """Train, and keep the averaged weights of the epoch with the best `score` on validation."""
    bare, learned, chosen_on = feed(options, processes, classifier, tokenizer, training, validation)
    goal = aim(options, processes, classifier, bare, learned, training)
    plans = [
        data.plan_epoch(
            learned.sizes - SPECIAL_TOKENS,
            batch_size=options.batch_size,
            token_budget=options.token_budget,
            seed=options.seed,
            epoch=epoch,
            rank=processes.rank,
            world=processes.world,
        )
        for epoch in range(options.epochs)
    ]
    total = sum(len(steps) for steps in plans)
    moving = {name: value for name, value in classifier.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(
        moving.values(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    network: nn.Module = DistributedDataParallel(bare) if processes.world > 1 else bare
    average, progress = Average(moving), Progress()

    def store(answers: Answers, epoch: int) -> None:
        with average.worn(), merged(classifier):
            keep(options, classifier, tokenizer, training, validation, answers, epoch, progress.history)

    checkpoints = Checkpoints(
        options.checkpoint_dir, options.checkpoint_minutes, describe_run(options, training, validation)
    )
    found = checkpoints.read()
    processes.agree(found[2]["done"] if found else 0, "optimizer steps of the newest checkpoint")
    if found:
        progress = Progress(**found[2])
        if progress.best_epoch and processes.first:
            average.load(found[1])
            store((found[1]["locations"].numpy(), found[1]["bound"].numpy()), progress.best_epoch)
        restore(found[0], moving, average.values, optimizer, progress.done)

    def save() -> None:
        if processes.first:
            tensors = collect(moving, average.values, optimizer)
            checkpoints.write(progress.done, progress.best_epoch, tensors, asdict(progress))

    with stop_signal(options.checkpoint_dir is not None) as stop:
        while progress.epoch < options.epochs and not 0 < options.patience <= progress.waited:
            epoch, started = progress.epoch, time.monotonic()
            activations.begin_training(classifier)
            for step in plans[epoch][progress.step :]:
                # Drawn anew in every step, so that a step repeats itself whatever came before it.
                draws = np.random.SeedSequence((options.seed, epoch, progress.step, processes.rank))
                torch.manual_seed(int(draws.generate_state(1, np.uint64)[0] >> 1))
                for position, pack in enumerate(step.packs):
                    # A process without a share still takes part in the averaging, with a loss of zero.
                    chosen = pack or [0]
                    inputs = [
                        each.to(processes.device) for each in learned.batch(chosen, (options.seed, epoch))
                    ]
                    last = position == len(step.packs) - 1
                    with processes.averaging(network, last), processes.autocast(options.precision):
                        locations, bound = network(*inputs)
                        loss = goal.summed_loss(locations, bound, chosen) * (1.0 if pack else 0.0)
                        # The sum over the step's proteins by their number, wherever they are;
                        # DistributedDataParallel divides by the processes as well, which is undone here.
                        (loss * processes.world / step.proteins).backward()  # type: ignore[no-untyped-call]
                    progress.losses.append(float(loss.detach()) / len(chosen))
                size = float(nn.utils.clip_grad_norm_(moving.values(), 1.0))
                if not math.isfinite(size):
                    raise FloatingPointError(
                        f"expected finite gradients, found {size} in step {progress.done + 1}; "
                        f"lower --learning-rate"
                    )
                for group in optimizer.param_groups:
                    group["lr"] = options.learning_rate * pace(progress.done, total, options.warmup)
                optimizer.step()
                optimizer.zero_grad()
                progress.step, progress.done = progress.step + 1, progress.done + 1
                average.follow(min(options.average, progress.done / (progress.done + 10)))
                if progress.done % 50 == 0 and processes.first:
                    recent = np.mean(progress.losses[-50:])
                    print(f"Step {progress.done}/{total} Training Loss: {recent:.4f}", flush=True)
                if options.checkpoint_dir is not None:
                    if processes.any(bool(stop)):
                        save()
                        raise SystemExit(STOPPED)
                    if processes.first and checkpoints.due:
                        save()
            with average.worn():
                answers = predict(
                    processes,
                    classifier,
                    bare,
                    chosen_on,
                    options.token_budget,
                    served_precision(classifier, options.precision),
                )
            metrics = report(answers, validation)
            if metrics["macro_f1"] > progress.best_f1:
                progress.best_f1, progress.waited = metrics["macro_f1"], 0
            else:
                progress.waited += 1
            spent = {"seconds": round(time.monotonic() - started, 1)}
            learning = {"epoch": epoch + 1, "padding": data.padding_share(plans[epoch], learned.sizes)}
            learning |= {"training_loss": round(float(np.mean(progress.losses)), 4)}
            progress.history.append(learning | spent | metrics)
            better = score(options, metrics) > progress.best_score
            if better:
                progress.best_score = score(options, metrics)
                progress.best_epoch = epoch + 1
            progress.epoch, progress.step, progress.losses = epoch + 1, 0, []
            if processes.first:
                tell(options, progress.history)
                if better:
                    store(answers, epoch + 1)
                    logits = {
                        "locations": torch.from_numpy(answers[0]),
                        "bound": torch.from_numpy(answers[1]),
                    }
                    checkpoints.write_best(epoch + 1, average.values | logits)
                else:
                    remember(options.model_dir, progress.history)
            save()


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


def score(options: argparse.Namespace, metrics: Mapping[str, Any]) -> float:
    """The figure that chooses the best epoch: Q10 + macro-F1, or, begun with an artifact, minus log loss.

    Such epochs differ by a few proteins of a validation set, which is chance; log loss sees every protein.
    """
    return float(metrics["q10"] + metrics["macro_f1"] if options.start is None else -metrics["loss"])


def pace(step: int, total: int, warmup: float) -> float:
    """The share of the learning rate at an optimizer step: a linear rise, then a cosine to 2 %."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


if __name__ == "__main__":
    with failures_told():
        main()
