"""A training run's settings: `--name value` arguments first, SageMaker's variables second."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from model.learning.activations import Still
from model.proteins.labelled import LabelledProtein, digest
from model.serving.artifact import VERSION_PATTERN
from model.serving.classifier import POOLING, WEIGHTS

# Where SageMaker keeps what must outlive an interrupted instance; there only if the job asks for it.
CHECKPOINT_DIR = Path("/opt/ml/checkpoints")
# Learning rates of AdamW: of what begins at random, and of a pretrained encoder, which must not forget.
NEW_RATE, PRETRAINED_RATE = 8e-4, 5e-5
CHAMPION = "champion"  # as `--start`: the artifact of the channel of this name
# What is set unless it is named: to learn from nothing, and to go on from an artifact without forgetting.
FROM_NOTHING = {"frozen_layers": "0", "epochs": 36, "training_residues": 1000, "distillation": 0.0}
FROM_ARTIFACT = {"frozen_layers": POOLING, "epochs": 8, "training_residues": 2046, "distillation": 0.5}
FROM_ARTIFACT |= {"learning_rate": 3e-4}
MUTATION_RATE = 0.1  # unless the input is activations, which know nothing of residues
# How a run is carried out, not what comes of it: data and start are known by their digests.
CARRYING_OUT = (
    *("training", "validation", "model_dir", "output_data_dir", "model_version"),
    *("activations_dir", "checkpoint_dir", "checkpoint_minutes", "start"),
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The settings of a run; wrong usage ends the program with a line that says what was expected."""
    environment = os.environ
    parser = argparse.ArgumentParser(description="Train a protein classifier.", allow_abbrev=False)
    add = parser.add_argument
    add("--training", type=Path, default=environment.get("SM_CHANNEL_TRAINING"), help="file or folder")
    add("--validation", type=Path, default=environment.get("SM_CHANNEL_VALIDATION"), help="list, FASTA, TSV")
    add("--model-dir", type=Path, default=environment.get("SM_MODEL_DIR", "artifact"))
    add("--output-data-dir", type=Path, default=environment.get("SM_OUTPUT_DATA_DIR"), help="metrics.json")
    add("--model-version", default=f"small-{datetime.now(UTC):%Y-%m-%d}")
    add("--encoder", help="folder or S3 prefix of a pretrained BERT; none: the small one, from nothing")
    add("--start", help=f"folder of an artifact to begin with, or '{CHAMPION}': the channel of that name's")
    add("--head", choices=("convolution-attention", "linear"), default="convolution-attention")
    add("--frozen-layers", help="encoder layers held still from below; 'all'; 'pooling': half the head too")
    add("--lora-rank", type=int, default=0, help="train adapters beside the attention that is not frozen")
    add("--activations", choices=("auto", "cached", "computed"), default="auto", help="of frozen layers")
    add("--activations-dir", type=Path, default=tempfile.gettempdir(), help="2 x hidden bytes a token")
    add("--gradient-checkpointing", type=_flag, nargs="?", const=True, default=False, help="less memory")
    add("--hidden", type=int, default=128, help="of the small encoder")
    add("--layers", type=int, default=0, help="of the small encoder")
    add("--max-residues", type=int, default=2046, help="read of a protein; beyond it, both ends")
    add("--training-residues", type=int, help="read of a protein in training, for speed")
    add("--epochs", type=int)
    add("--patience", type=int, default=0, help="epochs without a better macro-F1 that end the run; 0: none")
    add("--batch-size", type=int, default=32, help="proteins an optimizer step, over all processes")
    add("--token-budget", type=int, default=8192, help="padded tokens a forward pass")
    add(
        "--learning-rate",
        type=float,
        help=f"{NEW_RATE} for what is new; {PRETRAINED_RATE} if an encoder moves",
    )
    add("--weight-decay", type=float, default=0.05)
    add("--warmup", type=float, default=0.05, help="share of the optimizer steps")
    add("--class-balance", type=float, default=0.5, help="0: as they come, 1: all locations alike")
    add("--label-smoothing", type=float, default=0.05)
    add("--distillation", type=float, help="share of the loss that holds on to the answers of --start")
    add("--mutation-rate", type=float, help=f"residues redrawn by BLOSUM62, new every epoch: {MUTATION_RATE}")
    add("--dropout", type=float, default=None, help="of the head")
    add("--average", type=float, default=0.998, help="decay of the weights' running average")
    add("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    add("--checkpoint-dir", type=Path, default=_checkpoint_dir(), help="from where a run goes on")
    add("--checkpoint-minutes", type=float, default=15.0, help="between two, besides every epoch's")
    add("--seed", type=int, default=1)
    given = sys.argv[1:] if arguments is None else list(arguments)
    # Hyperparameters may come with underscores, as the article's do.
    options = parser.parse_args([_dashed(word) for word in given])
    if options.training is None:
        parser.error("expected --training or SM_CHANNEL_TRAINING, found neither")
    if not VERSION_PATTERN.fullmatch(options.model_version):
        parser.error(
            f"expected a --model-version of at most 40 letters a-z, digits and '-', "
            f"found {options.model_version!r}"
        )
    if options.start == CHAMPION:
        options.start = environment.get("SM_CHANNEL_CHAMPION")
        if options.start is None:
            parser.error(f"expected SM_CHANNEL_CHAMPION with --start {CHAMPION}, found none")
    options.start = None if options.start is None else Path(options.start)
    for name, value in (FROM_NOTHING if options.start is None else FROM_ARTIFACT).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.distillation and options.start is None:
        parser.error("expected --start with --distillation, found none to hold on to")
    if options.frozen_layers.isdecimal():
        options.frozen_layers = int(options.frozen_layers)
    elif options.frozen_layers not in ("all", POOLING):
        parser.error(f"expected --frozen-layers with a number, all or pooling, found {options.frozen_layers}")
    if options.learning_rate is None:
        moves = options.encoder is not None and options.frozen_layers != "all" and not options.lora_rank
        options.learning_rate = PRETRAINED_RATE if moves else NEW_RATE
    if options.activations == "cached" and options.mutation_rate:
        parser.error("expected no --mutation-rate with cached activations, which know nothing of residues")
    return options


def use_cache(options: argparse.Namespace, still: Still | None) -> bool:
    """Decide if the frozen part's activations are kept, and the mutation rate with it.

    `still` is what `activations.still_part` says.
    """
    if options.activations == "cached" and still is None:
        raise ValueError("expected --frozen-layers with --activations cached, found nothing frozen")
    cache = still is not None and options.activations != "computed" and not options.mutation_rate
    if options.mutation_rate is None:
        options.mutation_rate = 0.0 if cache else MUTATION_RATE
    options.activations = "cached" if cache else "computed"
    return cache


def describe_run(
    options: argparse.Namespace, training: Sequence[LabelledProtein], validation: Sequence[LabelledProtein]
) -> dict[str, str]:
    """Everything a run's outcome depends on, so that a checkpoint is resumed by its own run only."""
    said = {name: str(value) for name, value in vars(options).items() if name not in CARRYING_OUT}
    if options.start is not None:
        said["start"] = hashlib.sha256((options.start / WEIGHTS).read_bytes()).hexdigest()
    return said | {"training data": digest(training), "validation data": digest(validation)}


def _checkpoint_dir() -> str | Path | None:
    named = os.environ.get("PROTLOC_CHECKPOINT_DIR")
    return named or (CHECKPOINT_DIR if CHECKPOINT_DIR.is_dir() else None)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return text.lower() == "true"


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word
