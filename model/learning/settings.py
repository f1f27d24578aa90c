"""A training run's settings: `--name value` arguments first, SageMaker's variables second."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.learning.activations import Still
from model.proteins.labelled import LabelledProtein, digest
from model.proteins.labels import names_of, read_labels
from model.serving.artifact import VERSION_PATTERN
from model.serving.classifier import POOLING, WEIGHTS

# Where SageMaker keeps what must outlive an interrupted instance; there only if the job asks for it.
CHECKPOINT_DIR = Path("/opt/ml/checkpoints")
# Learning rates of AdamW: of what begins at random, and of a pretrained encoder, which must not forget.
NEW_RATE, PRETRAINED_RATE = 8e-4, 5e-5
# Defaults of a run under a pretrained encoder that moves: a few epochs, after which it learns by heart what
# it is shown; and of a head above one that is held still. Both end early where nothing gets better.
MOVING_ENCODER = {"encoder_learning_rate": PRETRAINED_RATE, "epochs": 10, "patience": 3}
STILL_ENCODER = {"epochs": 36, "patience": 8}
LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "token_budget": 1,
    "log_interval": 1,
    "test_batch_size": 0,
    "patience": 0,
}
# The article's settings that are none of this program's, and what to use instead.
INSTEAD = {
    "momentum": "nothing: the optimizer is AdamW",
    "lr": "--learning-rate",
    "max-len": "--max-residues",
    "max-length": "--max-residues",
    "backend": "nothing: it is chosen by what the machine has",
    "num-workers": "nothing: batches are made in memory",
}
CHAMPION = "champion"  # as `--start`: the artifact of the channel of this name
# Defaults of a run that begins with an artifact, to learn without forgetting.
FROM_ARTIFACT = {"frozen_layers": POOLING, "epochs": 8, "training_residues": 2046, "distillation": 0.5}
FROM_ARTIFACT |= {"learning_rate": 3e-4}
FRAGMENT_WEIGHT = 0.35  # of a network that begins at random; what is frozen or begun with has its own doubts
MUTATION_RATE = 0.1  # unless the input is activations, which know nothing of residues
# How a run is carried out, not what comes of it: data and start are known by their digests.
CARRYING_OUT = (
    *("training", "validation", "model_dir", "output_data_dir", "model_version"),
    *("activations_dir", "checkpoint_dir", "checkpoint_minutes", "start"),
    *("log_interval", "test_batch_size", "labels", "num_labels"),
)


@dataclass(frozen=True)
class Settings:
    """The settings of a run, one a field. Raises ValueError for a combination that cannot be."""

    training: Path  # labelled proteins: a file or a folder
    validation: Path | None = None  # accessions, or labelled proteins; None: families are held out
    labels: Path | None = None  # a file that names the locations; None: DeepLoc's ten
    num_labels: int | None = None  # how many they must be; None: any number
    several: bool = False  # a protein may have several of them
    model_dir: Path = Path("artifact")
    output_data_dir: Path | None = None  # for metrics.json and history.json
    model_version: str = "small"
    encoder: str | None = None  # folder or S3 prefix; None: the small one, from nothing
    start: Path | None = None  # folder of the artifact to begin with
    head: str = "convolution-attention"
    frozen_layers: int | str = 0  # encoder layers from below, "all", or "pooling": half the head too
    lora_rank: int = 0  # of adapters beside the attention that is not frozen; 0: none
    activations: str = "auto"  # of the frozen part: "cached", "computed", or as it pays
    activations_dir: Path = Path(tempfile.gettempdir())
    gradient_checkpointing: bool = False
    hidden: int = 128  # of the small encoder
    layers: int = 0  # of the small encoder
    max_residues: int = 2046  # read of a protein; beyond it, both ends
    training_residues: int = 1000  # read of a protein in training, for speed
    epochs: int = 36
    patience: int = 0  # epochs without a better macro-F1 that end the run; 0: none
    batch_size: int = 32  # proteins an optimizer step, over all processes
    test_batch_size: int = 0  # proteins a forward pass on validation at most; 0: as the token budget allows
    token_budget: int = 8192  # padded tokens a forward pass
    log_interval: int = 50  # optimizer steps between two lines of the log
    learning_rate: float = NEW_RATE
    encoder_learning_rate: float | None = None  # None: as the head's
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of the optimizer steps
    class_balance: float = 0.5  # 0: as they come, 1: all locations alike
    label_smoothing: float = 0.05
    relatives: str = "all"  # that vote, where `start` has such: with these proteins, "own" alone, or "none"
    distillation: float = 0.0  # share of the loss that holds on to the answers of `start`
    fragment_weight: float | None = None  # of a protein's fragment in the loss, beside it; None: as it pays
    everything: bool = False  # learn from the validation proteins, too, and keep the last epoch
    mutation_rate: float | None = None  # residues redrawn by BLOSUM62 an epoch; None: as it pays
    dropout: float | None = None  # of the head; None: the head's own
    average: float = 0.998  # decay of the weights' running average
    precision: str = "auto"  # or "bf16", "fp32"
    checkpoint_dir: Path | None = None
    checkpoint_minutes: float = 15.0  # between two, besides every epoch's
    seed: int = 1

    def __post_init__(self) -> None:
        if not VERSION_PATTERN.fullmatch(self.model_version):
            raise ValueError(
                f"expected a --model-version of at most 40 letters a-z, digits and '-', "
                f"found {self.model_version!r}"
            )
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"expected --{name.replace('_', '-')} of at least {least}, found {getattr(self, name)}"
                )
        for name in ("learning_rate", "encoder_learning_rate"):
            if (rate := getattr(self, name)) is not None and not 0 <= rate < math.inf:
                raise ValueError(f"expected --{name.replace('_', '-')} of at least 0, found {rate}")
        if self.distillation and self.start is None:
            raise ValueError("expected --start with --distillation, found none to hold on to")
        if isinstance(self.frozen_layers, str) and self.frozen_layers not in ("all", POOLING):
            raise ValueError(
                f"expected --frozen-layers with a number, all or pooling, found {self.frozen_layers}"
            )
        if self.activations == "cached" and self.mutation_rate:
            raise ValueError(
                "expected no --mutation-rate with cached activations, which know nothing of residues"
            )
        if self.activations == "cached" and self.fragment_weight:
            raise ValueError(
                "expected no --fragment-weight with cached activations, which are whole proteins'"
            )

    def reading_at_most(self, residues: int) -> Settings:
        """The same for a network that reads no more than so many residues."""
        return replace(self, max_residues=min(self.max_residues, residues))

    def with_cache_decided(self, still: Still | None) -> Settings:
        """The same with `activations` cached or computed, and what is drawn of a protein set to fit.

        `still` is the part of the network whose output never changes (`activations.still_part`).
        """
        if self.activations == "cached" and still is None:
            raise ValueError("expected --frozen-layers with --activations cached, found nothing frozen")
        cache = still is not None and self.activations != "computed" and not self.mutation_rate
        rate = self.mutation_rate
        if rate is None:
            rate = 0.0 if cache else MUTATION_RATE
        weight = self.fragment_weight
        if weight is None:
            from_nothing = self.encoder is None and self.start is None
            weight = FRAGMENT_WEIGHT if from_nothing and not cache else 0.0
        return replace(
            self,
            activations="cached" if cache else "computed",
            mutation_rate=rate,
            fragment_weight=weight,
        )

    def recipe(self) -> dict[str, Any]:
        """The settings an artifact keeps: no paths, which tell of a machine and not of a model."""
        left_out = ("checkpoint_minutes", "model_version", "log_interval", "test_batch_size")
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None and not isinstance(value, Path) and name not in left_out
        }

    def identity(
        self, training: Sequence[LabelledProtein], validation: Sequence[LabelledProtein]
    ) -> dict[str, str]:
        """Everything a run's outcome depends on, so that a checkpoint is resumed by its own run only."""
        identity = {name: str(value) for name, value in asdict(self).items() if name not in CARRYING_OUT}
        if self.start is not None:
            identity["start"] = hashlib.sha256((self.start / WEIGHTS).read_bytes()).hexdigest()
        if self.labels is not None:
            identity["labels"] = " ".join(names_of(read_labels(self.labels)))
        return identity | {"training data": digest(training), "validation data": digest(validation)}


def parse(arguments: Sequence[str] | None) -> Settings:
    """Read the settings of a run; wrong usage ends the program with a line that says what was expected."""
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
        if (instead := INSTEAD.get(word.partition("=")[0].removeprefix("--"))) and word.startswith("--"):
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
