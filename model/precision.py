"""Judges a small model in bf16 as another model version, and writes it as one where it answers alike.

    python -m model.precision ARTIFACT OUT --model-version NAME --labelled DEEPLOC.fasta --validation NAMES

Nearly all of a small model's work is its head's convolutions, which a processor that multiplies in bf16 does
in less than half the time. Their products are rounded to three digits then, so the answers are others, by a
thousandth: that is a model version of its own. It has to name the locations that the fp32 one names, be no
worse at naming the right one, and is calibrated on its own answers. The artifact's `precision` and its card
say so. A processor without bf16 serves the same artifact in fp32.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model.judging import looks as record
from model.learning.distribution import join
from model.learning.tokens import Tokens
from model.learning.validation import Answers, judge, predict
from model.proteins import labelled as data
from model.proteins import training_data
from model.serving.artifact import VERSION_PATTERN, Artifact, now, read_artifact
from model.serving.calibration import Calibration
from model.serving.loading import Model, load
from model.serving.tokens import SPECIAL_TOKENS, window

TOKEN_BUDGET = 8192  # padded tokens of one forward pass
MIN_SAME_LOCATION, MAX_DIFFERENCE, MAX_Q10_LOSS = 0.999, 0.01, 0.002


class PrecisionError(ValueError):
    """The model in bf16 does not answer as the one in fp32; says by how much."""


@dataclass(frozen=True)
class Agreement:
    """A model in bf16 against itself in fp32, on proteins that neither learned from."""

    proteins: int
    same_location: float  # share
    largest_difference: float  # of a probability
    q10: float
    q10_fp32: float

    def require(self) -> None:
        """Raise PrecisionError unless the two may be taken for one another."""
        for name, measured, least in (
            ("share of proteins whose location is the same", self.same_location, MIN_SAME_LOCATION),
            ("largest difference of a probability", -self.largest_difference, -MAX_DIFFERENCE),
            ("Q10 beside that of fp32", self.q10 - self.q10_fp32, -MAX_Q10_LOSS),
        ):
            if not measured >= least:  # NaN as well
                raise PrecisionError(f"{name}: expected at least {least}, found {measured:.4f}")


def compare(wide: Answers, narrow: Answers, artifact: Artifact, truth: np.ndarray) -> Agreement:
    """Compare logits of the same proteins under the calibration that the fp32 model has."""
    calibration = Calibration.read(artifact.calibration, len(artifact.locations))
    before, after = calibration.apply(*wide)[0], calibration.apply(*narrow)[0]
    named, renamed = before.argmax(axis=1), after.argmax(axis=1)
    return Agreement(
        proteins=len(truth),
        same_location=round(float((named == renamed).mean()), 5),
        largest_difference=round(float(abs(before - after).max()), 5),
        q10=round(float((renamed == truth).mean()), 4),
        q10_fp32=round(float((named == truth).mean()), 4),
    )


def answers(model: Model, proteins: Sequence[data.LabelledProtein]) -> Answers:
    """The logits of a loaded small model."""
    limit = model.artifact.max_residues
    rows = [model.tokenizer.encode(window(protein.sequence, limit)) for protein in proteins]
    tokens = Tokens(rows, model.tokenizer, limit + SPECIAL_TOKENS)
    with join() as processes:
        return predict(processes, model.classifier, model.classifier, tokens, TOKEN_BUDGET, "fp32")


def narrowed(
    artifact: Artifact, out: Path, version: str, proteins: Sequence[data.LabelledProtein]
) -> Agreement:
    """Write `artifact` as `version` in bf16 into `out`, judged and calibrated on validation `proteins`.

    Figures of other splits stay those of fp32, which the card says. Raises PrecisionError and writes nothing
    where it does not answer alike.
    """
    wide, narrow = (load(artifact.folder, torch.device("cpu"), torch.float32) for _ in range(2))
    if wide.classifier.stem is None:
        raise PrecisionError(f"expected a small model, found {artifact.version}, a large one")
    if artifact.thresholds is not None:
        raise PrecisionError(
            f"expected one location a protein, found {artifact.version}, which names several"
        )
    narrow.classifier.narrow()
    theirs = answers(narrow, proteins)
    truth = np.array([protein.location for protein in proteins])
    agreement = compare(answers(wide, proteins), theirs, artifact, truth)
    agreement.require()
    calibration, figures = artifact.calibration, artifact.metrics
    if not artifact.data.get("validation_learned_from"):  # else it is surer of these than of others
        calibration, figures = judge(
            theirs, proteins, artifact.locations, wide.relatives, artifact.max_residues
        )
    shutil.copytree(artifact.folder, out, ignore=shutil.ignore_patterns("code"))
    record.write(
        replace(
            record.with_figures(artifact, figures),
            folder=out,
            version=version,
            created=now(),
            calibration=calibration,
            precision={"head": "bf16", "of": artifact.version, **asdict(agreement)},
        )
    )
    return agreement


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the artifact in bf16 beside the one in fp32."""
    parser = argparse.ArgumentParser(description="Serve a small model in bf16.", allow_abbrev=False)
    parser.add_argument("artifact", type=Path, help="folder of a small model's artifact")
    parser.add_argument("out", type=Path, help="folder of the new one")
    parser.add_argument("--labelled", type=Path, required=True, help="the labelled file of its training")
    parser.add_argument("--validation", type=Path, help="list of the validation split's accessions")
    parser.add_argument("--model-version", required=True)
    options = parser.parse_args(arguments)
    artifact = read_artifact(options.artifact)
    if not VERSION_PATTERN.fullmatch(options.model_version) or options.model_version == artifact.version:
        parser.error("expected a new version of its own, since its answers are others")
    _, validation = training_data.split(data.read_channel(options.labelled), options.validation)
    try:
        agreement = narrowed(artifact, options.out, options.model_version, validation)
    except PrecisionError as error:
        parser.error(str(error))
    print(
        f"Of {agreement.proteins:,} proteins {agreement.same_location:.2%} have the same location, "
        f"probabilities differ by {agreement.largest_difference} at most."
    )


if __name__ == "__main__":
    main()
