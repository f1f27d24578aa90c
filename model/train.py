"""Training: what a SageMaker training container runs, top to bottom.

    python -m model.train --training DEEPLOC.fasta --validation ACCESSIONS.txt --model-dir OUT
    torchrun --nproc-per-node 8 model/train.py --encoder s3://bucket/prot_bert_bfd/ --frozen-layers 15 …

In a container folders come from SageMaker's variables (SM_CHANNEL_TRAINING, SM_MODEL_DIR, …) and settings
as `--name value` arguments (`learning/settings.py`). Without `--encoder` the small model is trained from
nothing. Every epoch is measured on the validation proteins and the best epoch's weights (by an average over
steps) become the artifact; proteins marked `test` are never looked at.

A run is a function of its data and settings: the same for any number of processes but for float noise (and
for dropout, which each process draws for itself), and bit for bit the same on the same machine when it is
killed and started again with the same `--checkpoint-dir`. What does not move and drops nothing out is
computed once and read from disk in every epoch (`activations.py`).
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
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
from model.learning.adapters import add_adapters, export, merged
from model.learning.averages import Average
from model.learning.checkpoint import Checkpoints, collect, restore
from model.learning.distribution import Processes, join
from model.learning.encoders import fetch, read_tokenizer
from model.learning.epochs import Step, padding_share, plan_epoch
from model.learning.loss import Goal, class_weights, location_shift
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
from model.learning.run import Progress, Run
from model.learning.settings import Settings, parse
from model.proteins import labelled as data
from model.proteins import seen
from model.proteins.labels import TEN, names_of, read_labels
from model.serving.artifact import opened, read_artifact
from model.serving.classifier import (
    POOLING,
    SMALL_HEAD,
    ProteinClassifier,
    build_small,
    load_pretrained,
    small_config,
)
from model.serving.families import layers_of, max_residues
from model.serving.heads import HeadSettings
from model.serving.substitution import Mutator
from model.serving.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer, window

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


# ── before the first step ───────────────────────────────────


def prepare(settings: Settings, processes: Processes) -> Run:
    """Read the labelled proteins and build the network that learns from them."""
    labels = TEN if settings.labels is None else read_labels(settings.labels)
    locations = names_of(labels)
    if settings.num_labels not in (None, len(labels)):
        raise ValueError(
            f"expected --num-labels {len(labels)}, one for each label, found {settings.num_labels}; "
            f"--labels FILE names others than the ten"
        )
    training = data.read_channel(settings.training, locations, several=settings.several)
    training, validation = data.split(training, settings.validation, locations, several=settings.several)
    if settings.start is not None:
        validation = unknown(validation, settings.start)
    if settings.everything:
        training = [*training, *validation]
    if processes.first:
        for location in data.missing_locations(training, locations):
            print(f"Warning: no protein of {location} to learn from; it will hardly be answered.", flush=True)
    classifier, tokenizer = build(settings, processes, locations)
    classifier.to(processes.device).freeze(settings.frozen_layers)
    if settings.lora_rank:
        layers, frozen = len(layers_of(classifier.encoder)), settings.frozen_layers
        add_adapters(classifier, settings.lora_rank, frozen if isinstance(frozen, int) else layers)
    if settings.gradient_checkpointing:
        classifier.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    settings = settings.reading_at_most(max_residues(classifier.config))
    if settings.start is not None:
        settings = settings.reading_at_most(read_artifact(settings.start).max_residues)
    settings = settings.with_cache_decided(activations.still_part(classifier))
    return Run(settings, processes, classifier, tokenizer, training, validation, labels)


def unknown(validation: list[data.LabelledProtein], start: Path) -> list[data.LabelledProtein]:
    """The validation proteins that the artifact at `start` has not learned from; all, where they are too few.

    It is surer of those it has, so that an epoch chosen and a calibration fitted on them would flatter.
    """
    fresh = seen.unseen(start, validation)
    return validation if fresh is None or len(fresh) < seen.LEAST else fresh


def build(
    settings: Settings, processes: Processes, locations: Sequence[str]
) -> tuple[ProteinClassifier, ResidueTokenizer]:
    """Build the network to train, and its tokenizer."""
    kept: dict[str, Any] = {} if settings.dropout is None else {"dropout": settings.dropout}
    if settings.start is not None:
        start = read_artifact(settings.start)
        if start.locations != locations:
            raise ValueError(f"expected the locations {locations}, found {start.locations}")
        if settings.several != (start.thresholds is not None):
            raise ValueError(
                "expected --several with --start if the model that it begins with may name several locations "
                f"a protein, and only then; {start.version} "
                + ("names one" if start.thresholds is None else "may name several")
            )
        head = HeadSettings(**dict(start.head) | kept)
        classifier = ProteinClassifier.load(settings.start, len(start.locations), head)
        return classifier, ResidueTokenizer.read(settings.start)
    if settings.encoder is None:
        head = HeadSettings(**(SMALL_HEAD.describe() | {"kind": settings.head} | kept))
        config = small_config(settings.hidden, settings.layers, settings.max_residues)
        return build_small(config, len(locations), head), ResidueTokenizer(PROTEIN_VOCABULARY)
    folder = fetch(settings.encoder, processes)
    head = HeadSettings(kind=settings.head, **kept)
    return load_pretrained(folder, len(locations), head), read_tokenizer(folder)


def feed(run: Run) -> tuple[nn.Module, Tokens | Activations, Tokens | Activations]:
    """The network that learns, and what it reads of the training and of the validation proteins."""
    settings, tokenizer = run.settings, run.tokenizer
    max_tokens = settings.max_residues + SPECIAL_TOKENS
    residues = min(settings.training_residues, settings.max_residues)
    mutator = Mutator(tokenizer.letters, settings.mutation_rate) if settings.mutation_rate else None
    learned = Tokens(
        [tokenizer.encode(window(protein.sequence, residues)) for protein in run.training],
        tokenizer,
        max_tokens,
        mutator,
    )
    chosen_on = Tokens(
        [tokenizer.encode(window(protein.sequence, settings.max_residues)) for protein in run.validation],
        tokenizer,
        max_tokens,
    )
    still = activations.still_part(run.classifier)
    if settings.activations == "computed" or still is None:
        return run.classifier, learned, chosen_on
    if run.processes.first:
        after = "the head's pooling" if still == POOLING else f"{still} layers"
        print(f"Activations after {after} are computed once; so no residue is redrawn.", flush=True)
    stored = activations.compute(
        run.classifier,
        still,
        (learned, chosen_on),
        run.processes,
        folder=settings.activations_dir,
        precision=served_precision(run.classifier, settings.precision),
        token_budget=settings.token_budget,
    )
    return Upper(run.classifier, still), stored[0], stored[1]


def aim(run: Run, network: nn.Module, learned: Tokens | Activations) -> Goal:
    """Choose the goal of a run; begun with an artifact, it is not to forget what that answers now."""
    settings, tensor = run.settings, run.processes.tensor
    shift, taught = np.zeros(len(run.labels), dtype=np.float32), None
    if settings.start is not None:
        shares = usual_shares(read_artifact(settings.start))
        shift = location_shift(run.training, shares, several=settings.several)
    if settings.distillation:
        locations, bound = answers_of(run, network, learned)
        taught = tensor(locations.astype(np.float32)), tensor(bound.astype(np.float32))
    truth = np.array([protein.location for protein in run.training])
    weights = class_weights(run.training, settings.class_balance, len(run.labels))
    if settings.several:
        truth = data.memberships(run.training, len(run.labels)).astype(np.float32)
        weights = np.where(weights > 0, weights, 1)  # that no protein is there is learned, too
    return Goal(
        truth=tensor(truth),
        membrane=tensor(np.array([protein.membrane for protein in run.training], dtype=np.float32)),
        weights=tensor(weights),
        smoothing=settings.label_smoothing,
        shift=tensor(shift),
        taught=taught,
        distillation=settings.distillation,
    )


def answers_of(run: Run, network: nn.Module, proteins: Tokens | Activations) -> Answers:
    """The network's logits for proteins, in the precision in which it will serve."""
    precision = served_precision(run.classifier, run.settings.precision)
    budget, most = run.settings.token_budget, run.settings.test_batch_size
    return predict(run.processes, run.classifier, network, proteins, budget, precision, most)


# ── from step to step ───────────────────────────────────────


@dataclass
class Learning:
    """All that moves while a run learns."""

    run: Run
    bare: nn.Module
    network: nn.Module  # the same, its gradients averaged over the processes
    learned: Tokens | Activations  # of the training proteins
    chosen_on: Tokens | Activations  # of the validation proteins
    goal: Goal
    plans: list[list[Step]]  # the optimizer steps of every epoch
    moving: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: Average
    checkpoints: Checkpoints
    progress: Progress

    @classmethod
    def begin(cls, run: Run) -> Learning:
        """Set everything up for a run, where its last checkpoint left it if there is one."""
        settings, processes = run.settings, run.processes
        bare, learned, chosen_on = feed(run)
        goal = aim(run, bare, learned)
        plans = [
            plan_epoch(
                learned.sizes - SPECIAL_TOKENS,
                batch_size=settings.batch_size,
                token_budget=settings.token_budget,
                seed=settings.seed,
                epoch=epoch,
                rank=processes.rank,
                world=processes.world,
            )
            for epoch in range(settings.epochs)
        ]
        moving = {name: value for name, value in run.classifier.named_parameters() if value.requires_grad}
        optimizer = torch.optim.AdamW(parameter_groups(moving, settings), fused=True)
        checkpoints = Checkpoints(
            settings.checkpoint_dir,
            settings.checkpoint_minutes,
            settings.identity(run.training, run.validation),
        )
        network = DistributedDataParallel(bare) if processes.world > 1 else bare
        learning = cls(
            run=run,
            bare=bare,
            network=network,
            learned=learned,
            chosen_on=chosen_on,
            goal=goal,
            plans=plans,
            moving=moving,
            optimizer=optimizer,
            average=Average(moving),
            checkpoints=checkpoints,
            progress=Progress(),
        )
        learning.resume()
        return learning

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one; its best epoch's artifact is written again."""
        checkpoint = self.checkpoints.read()
        done = checkpoint[2]["done"] if checkpoint else 0
        self.run.processes.agree(done, "optimizer steps of the newest checkpoint")
        if not checkpoint:
            return
        current, best, described = checkpoint
        self.progress = Progress(**described)
        if self.progress.best_epoch and self.run.processes.first:
            self.average.load(best)
            self.store((best["locations"].numpy(), best["bound"].numpy()), self.progress.best_epoch)
        restore(current, self.moving, self.average.values, self.optimizer, self.progress.done)

    def store(self, answers: Answers, epoch: int) -> None:
        """Write the averaged weights as the run's artifact."""
        run = self.run
        if run.settings.output_data_dir is not None:
            with self.average.worn():
                export(run.classifier, run.settings.output_data_dir / "adapter", run.settings.encoder)
        with self.average.worn(), merged(run.classifier):
            keep(run, answers, epoch, self.progress.history)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.run.processes.first:
            tensors = collect(self.moving, self.average.values, self.optimizer)
            progress = self.progress
            self.checkpoints.write(progress.done, progress.best_epoch, tensors, asdict(progress))


def parameter_groups(moving: Mapping[str, nn.Parameter], settings: Settings) -> list[dict[str, Any]]:
    """AdamW's groups: the encoder at its own rate, the rest at the head's; no decay on norms and biases.

    What shifts or scales is one number a channel, and pulling it towards zero only moves its work elsewhere.
    A run that begins with an artifact lets all decay: there it keeps biases from learning how few labels of
    its own are spread over the locations.
    """
    rates = {True: settings.encoder_learning_rate or settings.learning_rate, False: settings.learning_rate}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, value in moving.items():
        pretrained = "encoder" in name.split(".") and "lora_" not in name
        decays = value.ndim > 1 or settings.start is not None
        groups.setdefault((rates[pretrained], decays), []).append(value)
    return [
        {"params": values, "lr": rate, "rate": rate, "weight_decay": settings.weight_decay if decays else 0.0}
        for (rate, decays), values in groups.items()
    ]


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
    activations.begin_training(run.classifier)
    for step in learning.plans[progress.epoch][progress.step :]:
        # Drawn anew in every step, so that a step repeats itself whatever came before it.
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
    tell(run.settings, progress.history)
    if better:
        learning.store(answers, progress.best_epoch)
        logits = {"locations": torch.from_numpy(answers[0]), "bound": torch.from_numpy(answers[1])}
        learning.checkpoints.write_best(progress.best_epoch, learning.average.values | logits)
    else:
        remember(run.settings.model_dir, progress.history)


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
    with failures_told():
        main()
