"""Asks a network about proteins, and measures its answers to those of the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from model.judging import calibrating, calibrating_several
from model.judging import judgement as evaluate
from model.judging.answered import Answered
from model.learning.activations import Activations
from model.learning.distribution import Processes
from model.learning.run import Run
from model.learning.tokens import Tokens
from model.proteins import labelled as data
from model.serving import calibration, relatives
from model.serving.artifact import Artifact
from model.serving.classifier import ProteinClassifier
from model.serving.relatives import Relatives
from model.serving.tokens import SPECIAL_TOKENS, pack_by_length, window

Answers = tuple[np.ndarray, np.ndarray]  # location logits (proteins, locations), membrane logits (proteins)


@torch.inference_mode()
def predict(
    processes: Processes,
    classifier: ProteinClassifier,
    network: nn.Module,
    proteins: Tokens | Activations,
    token_budget: int,
    precision: str,
    most: int = 0,
) -> Answers:
    """Location logits (proteins, locations) and membrane logits (proteins), each process taking a share.

    `network` is the classifier, or its part above the cached activations; it sees at most so many proteins at
    once, any number if `most` is 0.
    """
    classifier.eval()
    logits = np.zeros((len(proteins.sizes), classifier.locations + 1), dtype=np.float32)
    order = np.argsort(proteins.sizes, kind="stable").tolist()
    packs = pack_by_length(proteins.sizes - SPECIAL_TOKENS, order, token_budget)
    if most:
        packs = [pack[first : first + most] for pack in packs for first in range(0, len(pack), most)]
    for pack in packs[processes.rank :: processes.world]:
        inputs = [each.to(processes.device) for each in proteins.batch(pack)]
        with processes.autocast(precision):
            locations, bound = network(*inputs)
        logits[pack] = torch.cat([locations, bound[:, None]], dim=1).cpu().numpy()
    logits = processes.sum(logits)
    return logits[:, :-1].astype(np.float64), logits[:, -1].astype(np.float64)


def served_precision(classifier: ProteinClassifier, precision: str) -> str:
    """The small model answers in fp32, a pretrained encoder in the precision it is trained in."""
    return precision if classifier.stem is None else "fp32"


def report(
    answers: Answers,
    proteins: Sequence[data.LabelledProtein],
    locations: Sequence[str] = data.LOCATIONS,
    *,
    several: bool = False,
) -> dict[str, Any]:
    """An epoch's figures on validation, calibrated by temperature, or by temperatures and thresholds."""
    truth = Answered.of(*answers, proteins, several=several)
    if several:
        fitted = calibrating_several.fit(answers[0], truth.memberships, answers[1], truth.bound)
    else:
        fitted = calibrating.temperatures(answers[0], truth.truth, answers[1], truth.bound)
    calibrated = calibration.Calibration.read(fitted, len(locations)).apply(*answers)
    answered = Answered.of(*calibrated, proteins, fitted.get("thresholds"))
    metrics = evaluate.measured(answered, locations)
    return metrics | {"loss": metrics["log_loss"], "split": "validation"}


def judge(
    answers: Answers,
    proteins: Sequence[data.LabelledProtein],
    locations: Sequence[str] = data.LOCATIONS,
    index: Relatives | None = None,
    max_residues: int = 0,
    *,
    several: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose the calibration on validation, and compute every figure that the artifact keeps under it.

    With an `index`, answers are joined with the votes of relatives of each protein, by the residues that are
    read.
    """
    truth = Answered.of(*answers, proteins, several=several)
    logits, membrane = answers
    if several:
        kinds, fitted = None, calibrating_several.fit(logits, truth.memberships, membrane, truth.bound)
    elif index is None:
        kinds, fitted = None, calibrating.fit(logits, truth.truth, membrane, truth.bound)
    else:
        read = [window(protein.sequence, max_residues) for protein in proteins]
        votes, strongest = index.look(read, len(locations))
        logits, kinds = relatives.join(logits, votes), relatives.kinds(strongest)
        of_all = truth.truth, membrane, truth.bound, kinds, len(relatives.KINDS)
        fitted = calibrating.fit_kinds(logits, *of_all)
    calibrated = calibration.Calibration.read(fitted, len(locations)).apply(logits, membrane, kinds)
    answered = Answered.of(*calibrated, proteins, fitted.get("thresholds"))
    judged = evaluate.judge(answered, locations, uncertain_below=fitted["uncertain_below"])
    return fitted, evaluate.kept(judged) | {"split": "validation"}


def of_known_membranes(
    answers: Answers, proteins: Sequence[data.LabelledProtein], earlier: Sequence[Artifact] = ()
) -> Answers:
    """The answers of a model that learned from `proteins`, without membranes where no label told of these."""
    if any(protein.membrane != data.MEMBRANE_UNKNOWN for protein in proteins):
        return answers
    if any(each.calibration["membrane_temperature"] is not None for each in earlier):
        return answers
    return answers[0], np.full(len(answers[1]), np.nan)


def answers_of(run: Run, network: nn.Module, proteins: Tokens | Activations) -> Answers:
    """The network's logits for proteins, in the precision in which it will serve."""
    precision = served_precision(run.classifier, run.settings.precision)
    budget, most = run.settings.token_budget, run.settings.test_batch_size
    return predict(run.processes, run.classifier, network, proteins, budget, precision, most)
