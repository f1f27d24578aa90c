"""Judging an artifact on labelled proteins, through the very code that serves it.

`model/measure.py` is the command, `model/evaluate.py` the job that judges two versions. The test split
chooses nothing: a calibration is fitted on validation only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.judging import bootstrap, calibrating, calibrating_several, figures
from model.judging import looks as record
from model.judging.answered import Answered, Floats
from model.judging.figures import BY_LOCATION, HEADLINE, LENGTH_BANDS, TRUNCATED_FROM, rounded
from model.judging.limits import unlearned_of
from model.proteins import seen
from model.proteins.labelled import BETWEEN, LOCATIONS, LabelledProtein
from model.serving.artifact import Artifact, read_artifact, write_description

if TYPE_CHECKING:
    from model.serving.loading import Model

NEUTRAL = {"location_temperature": 1.0, "membrane_temperature": 1.0}
# Too long for a description that is also stored and shown per model version, or said there anyway.
DETAILS = ("version", "confusion", "reliability", "abstention", "mistakes", "against")


class EvaluationError(ValueError):
    """A model or its proteins cannot be judged; the message has the value expected and the one found."""


def measured(answered: Answered, locations: Sequence[str]) -> dict[str, Any]:
    """The figures without intervals."""
    estimates = figures.point(answered)
    support = answered.memberships.sum(axis=0)
    of_several = {} if answered.thresholds is None else {"jaccard": figures.overlap(answered)}
    return (
        {name: rounded(estimates[name]) for name in HEADLINE}
        | of_several
        | {
            "proteins": len(answered),
            "locations": {
                location: {name: rounded(estimates[f"location_{name}"][index]) for name in BY_LOCATION}
                | {"proteins": int(support[index])}
                for index, location in enumerate(locations)
            },
        }
    )


def judge(
    answered: Answered,
    locations: Sequence[str],
    *,
    accessions: Sequence[str] = (),
    uncertain_below: float | None = None,
    resamples: int = bootstrap.RESAMPLES,
) -> dict[str, Any]:
    """Everything this project says about answers: figures, their intervals, tables and curves."""
    between = bootstrap.intervals(answered, resamples)
    judged = measured(answered, locations)
    for index, location in enumerate(locations):
        judged["locations"][location]["recall_interval"] = between["location_recall"][index]
    bands = (*LENGTH_BANDS, (TRUNCATED_FROM, None))
    by_chance = dict(zip(("mean", "at_most"), bootstrap.error_by_chance(answered, resamples), strict=True))
    judged |= {
        "intervals": {name: between[name] for name in HEADLINE},
        "ece_by_chance": by_chance,
        "lengths": [_band(answered, first, last, resamples) for first, last in bands],
        "confusion": answered.confusion().astype(int).tolist(),
        "reliability": figures.reliability(answered),
        "abstention": figures.abstention(answered),
    }
    if uncertain_below is not None:
        judged["uncertain"] = figures.uncertain(answered, uncertain_below)
    if accessions:
        tables = answered.memberships, answered.named
        judged["mistakes"] = [
            {
                "accession": accessions[row],
                **{
                    key: BETWEEN.join(locations[place] for place in np.flatnonzero(table[row]).tolist())
                    for key, table in zip(("location", "named"), tables, strict=True)
                },
                "confidence": confidence,
                "length": int(answered.lengths[row]),
            }
            for row, confidence in figures.mistakes(answered)
        ]
    return judged


def _band(answered: Answered, first: int, last: int | None, resamples: int) -> dict[str, Any]:
    """The figures of proteins of `first` to `last` residues, both in."""
    chosen = answered.lengths >= first
    if last is not None:
        chosen &= answered.lengths <= last
    part = answered.only(chosen)
    band: dict[str, Any] = {"from": first, "to": last, "proteins": len(part)}
    if not len(part):
        return band | {"q10": None, "macro_f1": None, "membrane_q2": None, "q10_interval": (None, None)}
    estimates, drawn = figures.point(part), bootstrap.resampled(part, resamples)
    return band | {
        **{name: rounded(estimates[name]) for name in ("q10", "macro_f1", "membrane_q2")},
        "q10_interval": bootstrap.interval(drawn["q10"]),
    }


def kept(judged: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `judged` that goes into an artifact's description: all but curves and lists."""
    return {name: value for name, value in judged.items() if name not in DETAILS}


def answers(folder: Path, proteins: Sequence[LabelledProtein]) -> tuple[Floats, Floats]:
    """Probabilities (proteins, locations) and membrane probabilities (proteins), as they are served."""
    from model.serving.inference import model_fn  # here only: the figures themselves need no torch

    return answers_of(model_fn(str(folder)), proteins)


def answers_of(model: Model, proteins: Sequence[LabelledProtein]) -> tuple[Floats, Floats]:
    """The same of a model that is loaded already."""
    return arrays(predictions_of(model, proteins))


def arrays(predictions: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
    """Probabilities (proteins, locations) and membrane probabilities (proteins) of served predictions."""
    probabilities = np.array([prediction["probabilities"] for prediction in predictions])
    membrane = [prediction["membrane"] for prediction in predictions]
    return probabilities, np.array(membrane, dtype=np.float64)  # null is NaN


def predictions_of(model: Model, proteins: Sequence[LabelledProtein]) -> list[dict[str, Any]]:
    """A model's predictions, as it serves them. Raises EvaluationError where one has none."""
    from model.serving.inference import predict_fn

    predictions: list[dict[str, Any]] = []
    for start in range(0, len(proteins), model.artifact.max_sequences):
        part = [protein.sequence for protein in proteins[start : start + model.artifact.max_sequences]]
        predictions.extend(predict_fn(part, model)["predictions"])
    for protein, answer in zip(proteins, predictions, strict=True):
        if "error" in answer:
            raise EvaluationError(f"expected an answer for {protein.accession}, found: {answer['error']}")
    return predictions


def evaluate(folder: Path, proteins: Sequence[LabelledProtein]) -> dict[str, Any]:
    """All figures of an artifact over labelled proteins."""
    artifact = read_artifact(folder)
    return judge_artifact(artifact, answered_by(artifact, proteins), proteins)


def answered_by(artifact: Artifact, proteins: Sequence[LabelledProtein]) -> Answered:
    """Ask an artifact about `proteins`; return its answers beside the truth."""
    return Answered.of(*answers(artifact.folder, proteins), proteins, artifact.thresholds)


def judge_artifact(
    artifact: Artifact, answered: Answered, proteins: Sequence[LabelledProtein]
) -> dict[str, Any]:
    """Everything about an artifact's answers to `proteins`."""
    return judge(
        answered,
        artifact.locations,
        accessions=[protein.accession for protein in proteins],
        uncertain_below=artifact.calibration.get("uncertain_below"),
    )


@dataclass(frozen=True)
class Contestant:
    """A model version with its answers; `judged` holds the result of `judge_artifact`."""

    artifact: Artifact
    answered: Answered
    judged: dict[str, Any]
    known: int | None  # proteins of the holdout that it, or one it began with, learned from; None: not told
    learned: NDArray[np.bool_] | None = None  # which of those it was asked about they are

    def on(self, chosen: NDArray[np.bool_], proteins: Sequence[LabelledProtein]) -> Contestant:
        """The same, judged by those of `proteins` that are `chosen`; `known` stays the number of all."""
        asked = [protein for protein, taken in zip(proteins, chosen, strict=True) if taken]
        answered = self.answered.only(chosen)
        return replace(self, answered=answered, judged=judge_artifact(self.artifact, answered, asked))

    def described(self) -> dict[str, Any]:
        """Its entry in `evaluation.json`: all figures, without curves and lists."""
        return {
            "version": self.artifact.version,
            "training_sha256": self.artifact.data.get("sha256"),
            "holdout_learned": self.known,
            "unlearned": unlearned_of(self.artifact),
        } | kept(self.judged)


def contestant(
    model: Model,
    proteins: Sequence[LabelledProtein],
    locations: Sequence[str] = LOCATIONS,
    *,
    several: bool = False,
) -> Contestant:
    """Ask a loaded model about `proteins`, whose labels must be those that it tells apart."""
    artifact = model.artifact
    if artifact.locations != tuple(locations) or several != (artifact.thresholds is not None):
        wanted, answered_as = (
            f"{'any' if many else 'one'} of the locations {', '.join(names)} a protein"
            for names, many in ((locations, several), (artifact.locations, artifact.thresholds is not None))
        )
        raise EvaluationError(f"expected a model of {wanted}, found one of {answered_as}")
    answered = Answered.of(*answers_of(model, proteins), proteins, artifact.thresholds)
    judged = judge_artifact(model.artifact, answered, proteins)
    learned = seen.learned(model.artifact.folder, proteins)
    return Contestant(
        model.artifact, answered, judged, None if learned is None else int(learned.sum()), learned
    )


def compare(champion: Path, challenger: Path, proteins: Sequence[LabelledProtein]) -> dict[str, Any]:
    """Two artifacts on the same proteins: figures of both, differences and their intervals."""
    old, new = (answered_by(read_artifact(folder), proteins) for folder in (champion, challenger))
    return bootstrap.compare(old, new)


def recalibrated(artifact: Artifact, proteins: Sequence[LabelledProtein]) -> Artifact:
    """The artifact with a calibration fitted anew on `proteins`, and without figures: they were another's."""
    with tempfile.TemporaryDirectory() as place:
        neutral: dict[str, Any] = dict(NEUTRAL)
        if artifact.thresholds is not None:
            every = len(artifact.locations)
            neutral |= {"label_temperatures": [1.0] * every, "thresholds": [0.5] * every}
        plain = replace(artifact, folder=Path(place), calibration=neutral)
        for file in artifact.folder.iterdir():
            if file.is_file() and file.name != "artifact.json":
                (plain.folder / file.name).symlink_to(file.resolve())
        write_description(plain)
        probabilities, membrane = answers(plain.folder, proteins)
    truth = Answered.of(probabilities, membrane, proteins, artifact.thresholds)
    bound = _logits(membrane)
    if artifact.thresholds is not None:
        fitted = calibrating_several.fit(_logits(probabilities), truth.memberships, bound, truth.bound)
    else:
        with np.errstate(divide="ignore"):
            # Logits but for a constant a row, which calibration takes out; never infinite.
            logits = np.maximum(np.log(probabilities), -700.0)
        fitted = calibrating.fit(logits, truth.truth, bound, truth.bound)
    return record.without_figures(replace(artifact, calibration=fitted))


def _logits(probabilities: Floats) -> Floats:
    """The logits of probabilities of any shape, never infinite."""
    with np.errstate(divide="ignore"):
        logits: Floats = np.clip(np.log(probabilities) - np.log1p(-probabilities), -700.0, 700.0)
    return logits
