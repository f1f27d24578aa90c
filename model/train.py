"""Training: what a SageMaker training container runs, top to bottom.

    python -m model.train --training DEEPLOC.fasta --validation ACCESSIONS.txt --model-dir OUT
    torchrun --nproc-per-node 8 model/train.py --encoder s3://bucket/prot_bert_bfd/ --frozen-layers 15 …

In a container folders come from SageMaker's variables (SM_CHANNEL_TRAINING, SM_MODEL_DIR, …) and settings
as `--name value` arguments. Without `--encoder` the small embedded model is trained from nothing. Every
epoch is measured on the validation proteins and the best epoch's weights (by an average over steps) become
the artifact; proteins marked `test` are never looked at. A run is a function of its data and settings: the
same for any number of processes but for float noise (and for dropout, which each process draws for itself).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, as SageMaker's toolkit does: the package is beside this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model import data, evaluate
from model.artifact import (
    Artifact,
    now,
    read_artifact,
    write_description,
    write_serving_code,
    write_tokenizer,
)
from model.card import write_card
from model.classifier import (
    SMALL_HEAD,
    HeadSettings,
    ProteinClassifier,
    build_small,
    load_pretrained,
    small_config,
)
from model.distribution import Processes, join
from model.encoders import fetch
from model.substitution import Mutator
from model.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer, pack_by_length, window

MEMBRANE_WEIGHT = 0.5  # of the membrane loss beside the location loss
MAX_SEQUENCES = 2048  # of one request to the served model


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The settings, from arguments first and SageMaker's variables second."""
    environment = os.environ
    parser = argparse.ArgumentParser(description="Train a protein classifier.", allow_abbrev=False)
    add = parser.add_argument
    add("--training", type=Path, default=environment.get("SM_CHANNEL_TRAINING"), help="FASTA file or folder")
    add("--validation", type=Path, default=environment.get("SM_CHANNEL_VALIDATION"), help="list or FASTA")
    add("--model-dir", type=Path, default=environment.get("SM_MODEL_DIR", "artifact"))
    add("--output-data-dir", type=Path, default=environment.get("SM_OUTPUT_DATA_DIR"), help="metrics.json")
    add("--model-version", default=f"small-{datetime.now(UTC):%Y-%m-%d}")
    add("--encoder", help="folder or S3 prefix of a pretrained BERT; none: the small one, from nothing")
    add("--start", type=Path, help="unpacked artifact whose weights to begin with, instead of an encoder's")
    add("--head", choices=("convolution-attention", "linear"), default="convolution-attention")
    add("--frozen-layers", default="0", help="encoder layers held still from below, or 'all'")
    add("--hidden", type=int, default=128, help="of the small encoder")
    add("--layers", type=int, default=1, help="of the small encoder")
    add("--max-residues", type=int, default=2046, help="read of a protein; beyond it, both ends")
    add("--training-residues", type=int, default=1000, help="read of a protein in training, for speed")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=32, help="proteins an optimizer step, over all processes")
    add("--token-budget", type=int, default=8192, help="padded tokens a forward pass")
    add("--learning-rate", type=float, default=1e-3)
    add("--weight-decay", type=float, default=0.02)
    add("--warmup", type=float, default=0.05, help="share of the optimizer steps")
    add("--class-balance", type=float, default=0.4, help="0: as they come, 1: all locations alike")
    add("--label-smoothing", type=float, default=0.05)
    add("--mutation-rate", type=float, default=0.1, help="residues redrawn by BLOSUM62, new every epoch")
    add("--dropout", type=float, default=None, help="of the head")
    add("--average", type=float, default=0.998, help="decay of the weights' running average")
    add("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    add("--seed", type=int, default=1)
    given = sys.argv[1:] if arguments is None else list(arguments)
    # Hyperparameters may come with underscores, as the article's do.
    options = parser.parse_args([_dashed(word) for word in given])
    if options.training is None:
        parser.error("expected --training or SM_CHANNEL_TRAINING, found neither")
    options.frozen_layers = (
        options.frozen_layers if options.frozen_layers == "all" else int(options.frozen_layers)
    )
    return options


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def main(arguments: Sequence[str] | None = None) -> None:
    """One training run."""
    options = parse(arguments)
    with join() as processes:
        torch.manual_seed(options.seed)
        training, validation = data.split(data.read_channel(options.training), options.validation)
        classifier, tokenizer = build(options)
        classifier.to(processes.device).freeze(options.frozen_layers)
        longest = classifier.config.max_position_embeddings - SPECIAL_TOKENS
        options.max_residues = min(options.max_residues, longest)
        fit(options, processes, classifier, tokenizer, training, validation)


def build(options: argparse.Namespace) -> tuple[ProteinClassifier, ResidueTokenizer]:
    """The network to train and its tokenizer."""
    if options.start is not None:
        start = read_artifact(options.start)
        if start.locations != data.LOCATIONS:
            raise ValueError(f"expected the locations {data.LOCATIONS}, found {start.locations}")
        settings = HeadSettings(**start.head)
        classifier = ProteinClassifier.load(options.start, len(start.locations), settings)
        return classifier, ResidueTokenizer.read(options.start)
    kept = {} if options.dropout is None else {"dropout": options.dropout}
    if options.encoder is None:
        settings = HeadSettings(**(SMALL_HEAD.describe() | {"kind": options.head} | kept))
        config = small_config(options.hidden, options.layers, options.max_residues)
        return build_small(config, len(data.LOCATIONS), settings), ResidueTokenizer(PROTEIN_VOCABULARY)
    folder = fetch(options.encoder)
    settings = HeadSettings(kind=options.head, **kept)
    return load_pretrained(folder, len(data.LOCATIONS), settings), ResidueTokenizer.read(folder)


def fit(
    options: argparse.Namespace,
    processes: Processes,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    training: Sequence[data.LabelledProtein],
    validation: Sequence[data.LabelledProtein],
) -> None:
    """Train, and keep the averaged weights of the epoch with the best validation Q10 + macro-F1."""
    read = min(options.training_residues, options.max_residues)
    rows = [tokenizer.encode(window(protein.sequence, read)) for protein in training]
    lengths = np.array([len(row) - SPECIAL_TOKENS for row in rows])
    truth = processes.tensor(np.array([protein.location for protein in training]))
    membrane = processes.tensor(np.array([protein.membrane for protein in training], dtype=np.float32))
    weights = processes.tensor(data.class_weights(training, options.class_balance))
    mutator = Mutator(tokenizer.vocabulary, options.mutation_rate)
    plans = [
        data.plan_epoch(
            lengths,
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
    moving = [value for value in classifier.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: pace(step, total, options.warmup))
    network: nn.Module = DistributedDataParallel(classifier) if processes.world > 1 else classifier
    average, best_score, done = copy.deepcopy(classifier).eval(), -math.inf, 0
    for epoch, steps in enumerate(plans):
        started, losses = time.monotonic(), list[float]()
        network.train()
        for step in steps:
            for position, pack in enumerate(step.packs):
                # A process without a share still takes part in the averaging, with a loss of zero.
                chosen = pack or [0]
                ids, mask = tokenizer.pad(
                    [mutator.mutate(rows[index], (options.seed, epoch, index)) for index in chosen],
                    options.max_residues + SPECIAL_TOKENS,
                )
                last = position == len(step.packs) - 1
                with processes.averaging(network, last), processes.autocast(options.precision):
                    locations, bound = network(processes.tensor(ids), processes.tensor(mask))
                    loss = summed_loss(
                        locations, bound, truth[chosen], membrane[chosen], weights, options.label_smoothing
                    ) * (1.0 if pack else 0.0)
                    # The sum over the step's proteins by their number, wherever they are;
                    # DistributedDataParallel divides by the processes as well, which is undone here.
                    (loss * processes.world / step.proteins).backward()  # type: ignore[no-untyped-call]
                losses.append(float(loss.detach()) / len(chosen))
            nn.utils.clip_grad_norm_(moving, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            follow(average, classifier, min(options.average, done / (done + 10)))
            if done % 50 == 0 and processes.first:
                print(f"Step {done}/{total} Training Loss: {np.mean(losses[-50:]):.4f}", flush=True)
        if not processes.first:
            continue
        answers = predict(options, processes, average, tokenizer, validation)
        metrics = report(answers, validation)
        print(
            f"Epoch {epoch + 1}/{options.epochs} Training Loss: {np.mean(losses):.4f}",
            f"Validation loss: {metrics['loss']:.4f}",
            f"Validation Accuracy: {metrics['q10']:.4f}",
            f"Validation Macro-F1: {metrics['macro_f1']:.4f} Membrane Q2: {metrics['membrane_q2']}",
            f"Seconds: {time.monotonic() - started:.0f}",
            sep="\n",
            flush=True,
        )
        if metrics["q10"] + metrics["macro_f1"] > best_score:
            best_score = metrics["q10"] + metrics["macro_f1"]
            keep(options, average, tokenizer, training, validation, answers, epoch + 1)


def pace(step: int, total: int, warmup: float) -> float:
    """The share of the learning rate at an optimizer step: a linear rise, then a cosine to 2 %."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


def summed_loss(
    locations: Tensor, bound: Tensor, truth: Tensor, membrane: Tensor, weights: Tensor, smoothing: float
) -> Tensor:
    """The loss summed over proteins: location, and membrane where it is known.

    Shapes: locations (batch, locations), bound, truth and membrane (batch), weights (locations).
    """
    by_class = nn.functional.cross_entropy(locations, truth, reduction="none", label_smoothing=smoothing)
    known = (membrane != data.MEMBRANE_UNKNOWN).float()
    by_membrane = nn.functional.binary_cross_entropy_with_logits(bound, membrane * known, reduction="none")
    return (by_class * weights[truth]).sum() + MEMBRANE_WEIGHT * (by_membrane * known).sum()


@torch.no_grad()
def follow(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Move the running average of the weights a step toward the current ones."""
    for kept, value in zip(average.parameters(), current.parameters(), strict=True):
        kept.lerp_(value, 1 - decay)


Answers = tuple[np.ndarray, np.ndarray]


@torch.inference_mode()
def predict(
    options: argparse.Namespace,
    processes: Processes,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    proteins: Sequence[data.LabelledProtein],
) -> Answers:
    """Location logits (proteins, locations) and membrane logits (proteins), in fp32 as they are served."""
    rows = [tokenizer.encode(window(protein.sequence, options.max_residues)) for protein in proteins]
    lengths = [len(row) - SPECIAL_TOKENS for row in rows]
    locations, bound = np.zeros((len(rows), len(data.LOCATIONS))), np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    for pack in pack_by_length(lengths, order, options.token_budget):
        ids, mask = tokenizer.pad([rows[index] for index in pack], options.max_residues + SPECIAL_TOKENS)
        logits = classifier(processes.tensor(ids), processes.tensor(mask))
        locations[pack], bound[pack] = (part.double().cpu().numpy() for part in logits)
    return locations, bound


def calibrate(answers: Answers, proteins: Sequence[data.LabelledProtein]) -> dict[str, float]:
    """The two temperatures that fit validation best."""
    locations, bound = answers
    membrane = np.array([protein.membrane for protein in proteins])
    known = membrane != data.MEMBRANE_UNKNOWN
    two = np.stack([np.zeros(known.sum()), bound[known]], axis=1)
    truth = np.array([protein.location for protein in proteins])
    return {
        "location_temperature": evaluate.fit_temperature(locations, truth),
        "membrane_temperature": evaluate.fit_temperature(two, membrane[known].astype(int))
        if known.any()
        else 1.0,
    }


def report(answers: Answers, proteins: Sequence[data.LabelledProtein]) -> dict[str, Any]:
    """The figures on validation, as they will be served: calibrated."""
    temperatures = calibrate(answers, proteins)
    probabilities = evaluate.softmax(answers[0] / temperatures["location_temperature"])
    membrane = 1 / (1 + np.exp(-answers[1] / temperatures["membrane_temperature"]))
    truth = np.array([protein.location for protein in proteins])
    loss = -np.log(probabilities[np.arange(len(truth)), truth] + 1e-12).mean()
    metrics = evaluate.measure(probabilities, membrane, proteins, data.LOCATIONS)
    return metrics | {"loss": round(float(loss), 4), "split": "validation"}


def keep(
    options: argparse.Namespace,
    classifier: ProteinClassifier,
    tokenizer: ResidueTokenizer,
    training: Sequence[data.LabelledProtein],
    validation: Sequence[data.LabelledProtein],
    answers: Answers,
    epoch: int,
) -> None:
    """Write the artifact, and metrics.json where SageMaker collects a job's own output."""
    folder = options.model_dir
    folder.mkdir(parents=True, exist_ok=True)
    classifier.save(folder)
    write_tokenizer(folder, tokenizer.vocabulary, options.max_residues + SPECIAL_TOKENS)
    metrics = report(answers, validation)
    settings = {
        name: value
        for name, value in vars(options).items()
        if value is not None and not isinstance(value, Path)  # a path tells of a machine, not of a model
    }
    if options.start is not None:
        before = read_artifact(options.start)
        settings["start"] = {"version": before.version, "training": before.training}
    artifact = Artifact(
        folder=folder,
        version=settings.pop("model_version"),
        created=now(),
        locations=data.LOCATIONS,
        head=classifier.head_settings.describe(),
        limits={"max_residues": options.max_residues, "max_sequences": MAX_SEQUENCES},
        calibration=calibrate(answers, validation),
        metrics=metrics,
        data={"sha256": data.digest(training), "proteins": len(training), "validation": len(validation)},
        training=settings
        | {"parameters": sum(value.numel() for value in classifier.parameters()), "best_epoch": epoch},
    )
    write_description(artifact)
    write_card(artifact)
    write_serving_code(folder)
    if options.output_data_dir is not None:
        options.output_data_dir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(metrics, indent=1) + "\n"
        (options.output_data_dir / "metrics.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
