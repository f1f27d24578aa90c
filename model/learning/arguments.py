"""The command line of a training run: `--name value` arguments first, SageMaker's variables second."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.learning.settings import FRAGMENT_WEIGHT, MUTATION_RATE, NEW_RATE, PRETRAINED_RATE, Settings
from model.serving.artifact import VERSION_PATTERN
from model.serving.classifier import POOLING

# SageMaker keeps this folder beyond an interrupted instance; it is there only if the job asks for it.
CHECKPOINT_DIR = Path("/opt/ml/checkpoints")
# Defaults of a run under a pretrained encoder that moves: a few epochs, after which it learns its proteins by
# heart; and of a head above one that is held still. Both end early where nothing gets better.
MOVING_ENCODER = {"encoder_learning_rate": PRETRAINED_RATE, "epochs": 10, "patience": 3}
STILL_ENCODER = {"epochs": 36, "patience": 8}
# The article's settings that this program does not have, and their replacements.
ARTICLE_SETTINGS = {
    "momentum": "nothing: the optimizer is AdamW",
    "lr": "--learning-rate",
    "max-len": "--max-residues",
    "max-length": "--max-residues",
    "backend": "nothing: it is chosen by the hardware",
    "num-workers": "nothing: batches are made in memory",
}
CHAMPION = "champion"  # as `--start`: the artifact of the channel of this name
# Defaults of a run that begins with an artifact, to learn without forgetting.
FROM_ARTIFACT = {
    "frozen_layers": POOLING,
    "epochs": 8,
    "training_residues": 2046,
    "distillation": 0.5,
    "learning_rate": 3e-4,
}


def parse(arguments: Sequence[str] | None) -> Settings:
    """Read the settings of a run; wrong usage ends the program with one line that names the expected form."""
    environment = os.environ
    parser = argparse.ArgumentParser(
        description="Train a protein classifier.",
        usage="%(prog)s --training FILE [--name value …]",  # short: a failure reason ends with the error
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--training", type=Path, default=environment.get("SM_CHANNEL_TRAINING"), help="file or folder")
    add("--validation", type=Path, default=_validation(parser), help="list, FASTA, TSV")
    add("--model-dir", type=Path, default=environment.get("SM_MODEL_DIR", "artifact"))
    add("--output-data-dir", type=Path, default=environment.get("SM_OUTPUT_DATA_DIR"), help="metrics.json")
    add("--model-version", default=_version(environment.get("TRAINING_JOB_NAME", "")))
    add("--encoder", help="folder or S3 prefix of a pretrained BERT; none: the small one, from nothing")
    add("--start", help=f"folder of an artifact to begin with, or '{CHAMPION}': the channel of that name's")
    add("--head", choices=("convolution-attention", "linear"))
    add("--frozen-layers", help="encoder layers held still from below; 'all'; 'pooling': half the head too")
    add("--lora-rank", type=int, help="train adapters beside the attention that is not frozen")
    add("--activations", choices=("auto", "cached", "computed"), help="of frozen layers")
    add("--activations-dir", type=Path, help="2 x hidden bytes a token")
    add("--gradient-checkpointing", type=_flag, nargs="?", const=True, help="less memory")
    add("--hidden", type=int, help="of the small encoder")
    add("--layers", type=int, help="of the small encoder")
    add("--max-residues", type=int, help="read of a protein; beyond it, both ends")
    add("--training-residues", type=int, help="read of a protein in training, for speed")
    add("--epochs", type=int)
    add("--patience", type=int, help="epochs without a better macro-F1 that end the run; 0: none")
    add("--batch-size", type=int, help="proteins an optimizer step, over all processes")
    add("--test-batch-size", type=int, help="proteins a forward pass on validation at most")
    add("--token-budget", type=int, help="padded tokens a forward pass")
    add("--log-interval", type=int, help="optimizer steps between two lines of the log")
    add("--learning-rate", type=float, help=f"{NEW_RATE}")
    add("--encoder-learning-rate", type=float, help=f"of a pretrained encoder that moves: {PRETRAINED_RATE}")
    add("--labels", type=Path, default=environment.get("SM_CHANNEL_LABELS"), help="names other locations")
    add("--num-labels", type=int, help="of locations; another number than there are is refused")
    add("--several", type=_flag, nargs="?", const=True, help="locations a protein, as A|B in its file")
    add("--weight-decay", type=float)
    add("--warmup", type=float, help="share of the optimizer steps")
    add("--class-balance", type=float, help="0: as they come, 1: all locations alike")
    add("--label-smoothing", type=float)
    add(
        "--relatives",
        choices=("all", "own", "none"),
        help="whose words the artifact keeps: also those of --start, of these proteins alone, or nobody's",
    )
    add("--distillation", type=float, help="share of the loss that holds on to the answers of --start")
    add("--mutation-rate", type=float, help=f"residues redrawn by BLOSUM62, new every epoch: {MUTATION_RATE}")
    add(
        "--fragment-weight",
        type=float,
        help=f"of one fragment of each protein and epoch, in the loss: {FRAGMENT_WEIGHT} from nothing",
    )
    add("--everything", type=_flag, nargs="?", const=True, help="learn from the validation proteins, too")
    add("--dropout", type=float, help="of the head")
    add("--average", type=float, help="decay of the weights' running average")
    add("--precision", choices=("auto", "bf16", "fp32"))
    add("--checkpoint-dir", type=Path, default=_checkpoint_dir(), help="from where a run goes on")
    add("--checkpoint-minutes", type=float, help="between two, besides every epoch's")
    add("--seed", type=int)
    words = sys.argv[1:] if arguments is None else list(arguments)
    # Hyperparameters may come with underscores, as the article's do.
    words = [_dashed(word) for word in words]
    for word in words:
        if (instead := ARTICLE_SETTINGS.get(word.partition("=")[0].removeprefix("--"))) and word.startswith(
            "--"
        ):
            parser.error(f"expected {instead} instead of {word.partition('=')[0]}")
    chosen = vars(parser.parse_args(words))
    if chosen["training"] is None:
        parser.error("expected --training or SM_CHANNEL_TRAINING, found neither")
    if chosen.get("start") == CHAMPION:
        chosen["start"] = environment.get("SM_CHANNEL_CHAMPION")
        if chosen["start"] is None:
            parser.error(f"expected SM_CHANNEL_CHAMPION with --start {CHAMPION}, found none")
    if "start" in chosen:
        chosen = FROM_ARTIFACT | chosen | {"start": Path(chosen["start"])}
    frozen = chosen.get("frozen_layers", 0)
    if isinstance(frozen, str) and frozen.isdecimal():
        frozen = int(frozen)
    defaults: dict[str, Any] = {}
    if "encoder" in chosen:
        defaults = STILL_ENCODER if frozen in ("all", POOLING) else dict(MOVING_ENCODER)
        if chosen.get("lora_rank"):  # adapters begin at random
            defaults.pop("encoder_learning_rate", None)
    try:
        return Settings(**defaults | chosen | {"frozen_layers": frozen})
    except ValueError as error:
        parser.error(str(error))


def _validation(parser: argparse.ArgumentParser) -> str | None:
    """The channel `validation`, or the article's `testing`, which it looked at after every epoch as well."""
    chosen = os.environ.get("SM_CHANNEL_VALIDATION")
    testing = os.environ.get("SM_CHANNEL_TESTING")
    if chosen and testing:
        parser.error("expected one of the channels validation and testing, found both")
    if testing:
        print("Channel testing is read as validation: the best epoch is chosen on it.", flush=True)
    return chosen or testing


def _checkpoint_dir() -> str | Path | None:
    named = os.environ.get("PROTLOC_CHECKPOINT_DIR")
    return named or (CHECKPOINT_DIR if CHECKPOINT_DIR.is_dir() else None)


def _version(job: str) -> str:
    """A version's name where none is chosen: its training job's, or the day's."""
    return job if VERSION_PATTERN.fullmatch(job) else f"trained-{datetime.now(UTC):%Y-%m-%d}"


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return text.lower() == "true"


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word
