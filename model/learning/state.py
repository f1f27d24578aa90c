"""The state of a run while it learns: network, optimizer, average and progress, begun or resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model.learning import activations
from model.learning.activations import Activations
from model.learning.adapters import export, merged
from model.learning.averages import Average
from model.learning.checkpoint import Checkpoints, collect, restore
from model.learning.epochs import Step, plan_epoch
from model.learning.frozen import Upper, still_part
from model.learning.loss import Goal, class_weights, location_shift
from model.learning.outcome import keep, usual_shares
from model.learning.run import Progress, Run
from model.learning.settings import Settings
from model.learning.tokens import Tokens
from model.learning.validation import Answers, answers_of, served_precision
from model.proteins import training_data
from model.serving.artifact import read_artifact
from model.serving.classifier import POOLING
from model.serving.substitution import Mutator
from model.serving.tokens import SPECIAL_TOKENS, window


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


def feed(run: Run) -> tuple[nn.Module, Tokens | Activations, Tokens | Activations]:
    """The network that learns, and its inputs for the training and the validation proteins."""
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
    still = still_part(run.classifier)
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
    """Choose the goal of a run; begun with an artifact, it keeps to the answers of that."""
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
        truth = training_data.memberships(run.training, len(run.labels)).astype(np.float32)
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


def parameter_groups(moving: Mapping[str, nn.Parameter], settings: Settings) -> list[dict[str, Any]]:
    """AdamW's groups: the encoder at its own rate, the rest at the head's; no decay on norms and biases.

    A shift or a scale is one number a channel, and pulling it towards zero only moves its work elsewhere. A
    run that begins with an artifact lets all decay: there it keeps biases from learning how few labels of its
    own are spread over the locations.
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
