"""Accuracy and confidence on groups of proteins that a model's overall figures hide.

    python -m model.judging.groups ARTIFACT DEEPLOC.fasta [--split validation --validation ACCESSIONS.txt]

Of a split's proteins those with a relative among the ones that the model has learned from and those without
(`homology.py`), and fragments of all of them, as sequencing and digestion leave them. Writes the figures into
the artifact's description and its card, and a look at test proteins with them, as `evaluate.py` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.judging import figures
from model.judging import judgement as evaluate
from model.judging import looks as record
from model.judging.answered import Answered
from model.judging.figures import rounded
from model.proteins import related as homology
from model.proteins import seen
from model.proteins.labelled import LabelledProtein, read_channel
from model.proteins.training_data import split
from model.serving.artifact import read_artifact
from model.serving.relatives import KINDS

MIN_CONFIDENCE = 0.8
FRAGMENT_RESIDUES = 29  # residues, taken from the middle


def related(proteins: Sequence[LabelledProtein], known: Sequence[LabelledProtein]) -> NDArray[np.bool_]:
    """Find those of `proteins` that have a relative among the `known` ones."""
    sequences = [protein.sequence for protein in (*known, *proteins)]
    has_relative = np.zeros(len(sequences), dtype=bool)
    for index, others in homology.related(sequences):
        for other in others:
            first, last = sorted((index, int(other)))
            has_relative[last] |= first < len(known) <= last
    return has_relative[len(known) :]


def shortened(protein: LabelledProtein) -> LabelledProtein:
    """The protein as a fragment from its middle; whole where it is no longer than that."""
    start = max(0, (len(protein.sequence) - FRAGMENT_RESIDUES) // 2)
    return replace(protein, sequence=protein.sequence[start : start + FRAGMENT_RESIDUES])


def beheaded(protein: LabelledProtein) -> LabelledProtein:
    """The second half of the protein, as a fragment whose beginning was not sequenced."""
    return replace(protein, sequence=protein.sequence[len(protein.sequence) // 2 :])


def summed_up(answered: Answered) -> dict[str, Any]:
    """The figures of one group."""
    estimates = figures.point(answered)
    sure = answered.confidence >= MIN_CONFIDENCE
    return {
        "proteins": len(answered),
        **{name: rounded(estimates[name]) for name in ("q10", "macro_f1", "ece")},
        "confidence": rounded(answered.confidence.mean()),
        "confident_share": rounded(sure.mean()),
        "confident_accuracy": rounded(answered.right[sure].mean()) if sure.any() else None,
    }


def measure(
    folder: Path, proteins: Sequence[LabelledProtein], known: Sequence[LabelledProtein]
) -> dict[str, dict[str, Any]]:
    """The figures of each group of `proteins`, of which the model has learned none."""
    from model.serving.inference import model_fn  # here only, as in `evaluate.py`

    model = model_fn(str(folder))

    def asked_of(asked: Sequence[LabelledProtein]) -> tuple[Answered, list[dict[str, Any]]]:
        predictions = evaluate.predictions_of(model, asked)
        return Answered.of(*evaluate.arrays(predictions), asked, model.artifact.thresholds), predictions

    whole, with_relative = asked_of(proteins), related(proteins, known)
    groups = {"all": whole}
    for name, chosen in {"with a relative in training": with_relative, "without one": ~with_relative}.items():
        groups[name] = whole[0].only(chosen), [whole[1][row] for row in np.flatnonzero(chosen)]
    if model.relatives is not None:
        kinds = np.array([answer["relative"] for answer in whole[1]])
        for kind in KINDS:
            chosen = kinds == kind
            rows = [whole[1][row] for row in np.flatnonzero(chosen)]
            groups[f"relative: {kind}"] = whole[0].only(chosen), rows
    groups["the second half of each"] = asked_of([beheaded(protein) for protein in proteins])
    middles = [shortened(protein) for protein in proteins]
    groups[f"{FRAGMENT_RESIDUES} residues from the middle"] = asked_of(middles)
    return {
        name: summed_up(answered) | of_sets(answered, predictions, model.artifact.locations)
        for name, (answered, predictions) in groups.items()
        if predictions
    }


def of_sets(
    answered: Answered, predictions: Sequence[Mapping[str, Any]], locations: Sequence[str]
) -> dict[str, float | None]:
    """The share of sets that hold the true location, and the mean number of locations in them."""
    if "locations_90" not in predictions[0]:
        return {}
    held = [
        locations[truth] in answer["locations_90"]
        for truth, answer in zip(answered.truth, predictions, strict=True)
    ]
    return {
        "set_holds": rounded(np.mean(held)),
        "set_size": rounded(np.mean([len(answer["locations_90"]) for answer in predictions])),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Judge an artifact group by group.", allow_abbrev=False)
    parser.add_argument("artifact", type=Path, help="an unpacked artifact, which is written into")
    parser.add_argument("labelled", type=Path, help="labelled proteins, those it learned from among them")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--validation", type=Path, help="list of the validation split's accessions")
    options = parser.parse_args(arguments)
    judged = read_artifact(options.artifact)
    locations, several = judged.locations, judged.thresholds is not None
    proteins = read_channel(options.labelled, locations, several=several)
    training, validation = split(proteins, options.validation, locations, several=several)
    asked = [protein for protein in proteins if protein.test] if options.split == "test" else validation
    unseen = seen.unseen(options.artifact, asked)
    asked = asked if unseen is None else unseen
    if not asked:
        raise SystemExit(f"expected {options.split} proteins in {options.labelled}, found none")
    groups = measure(options.artifact, asked, training)
    artifact = read_artifact(options.artifact)
    if options.split == "test":
        artifact = record.with_look(artifact, {"split": "test", **groups["all"]})
    described = {"split": options.split, "figures": groups}
    record.write(artifact.with_metrics({**artifact.metrics, "groups": described}))
    for name, figures_of_one in groups.items():
        print(f"{name:32} {figures_of_one}")


if __name__ == "__main__":
    main()
