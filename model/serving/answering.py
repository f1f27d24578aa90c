"""Answers sequences with a loaded model: read, sorted by length, packed, and computed together.

Sequences are never logged, and no error repeats a letter of one.
"""

from __future__ import annotations

import re
from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.serving import importance, relatives, several
from model.serving.artifact import Artifact
from model.serving.calibration import Calibration, sets
from model.serving.composition import number_table
from model.serving.loading import Model
from model.serving.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer, pack_by_length, window

LETTERS = ResidueTokenizer(PROTEIN_VOCABULARY)  # as compositions and detectors read sequences
_NOT_A_RESIDUE = re.compile(r"[^A-Z]")


def answer_each(sequences: list[Any], wanted: list[bool], model: Model) -> list[dict[str, Any]]:
    """One prediction or error a sequence, in order."""
    predictions: list[dict[str, Any]] = [{"error": _fault(sequence)} for sequence in sequences]
    readable = [index for index, prediction in enumerate(predictions) if prediction["error"] is None]
    read = {index: window(sequences[index], model.artifact.max_residues) for index in readable}
    lengths = [len(read.get(index, "")) for index in range(len(sequences))]
    by_length = sorted(readable, key=lengths.__getitem__)
    for members in pack_by_length(lengths, by_length, model.token_budget):
        asked = [read[index] for index in members]
        answers = answer(model, asked)
        for row, index in enumerate(members):
            known = model.artifact.calibration["membrane_temperature"] is not None
            if not np.isfinite(answers.probabilities[row]).all() or (
                known and not np.isfinite(answers.membrane[row])
            ):
                predictions[index] = {"error": "the model gave no finite probabilities for this sequence"}
                continue
            predictions[index] = {
                "probabilities": answers.probabilities[row].tolist(),
                "membrane": float(answers.membrane[row]) if known else None,
                "residues_read": lengths[index],
                "truncated": len(sequences[index]) > lengths[index],
                "checksum": f"{crc32(asked[row].encode('ascii')):08x}",
            }
            if answers.outside is not None:
                shares, likes = answers.outside
                predictions[index] |= {"outside": float(shares[row]), "outside_like": likes[row]}
            if answers.kinds is not None:
                predictions[index]["relative"] = relatives.KINDS[answers.kinds[row]]
            if answers.named is not None:
                names, sure = answers.named
                places = [model.artifact.locations[place] for place in np.flatnonzero(names[row])]
                predictions[index] |= {"named": places, "confidence": float(sure[row])}
            if answers.sets is not None:
                places = [model.artifact.locations[place] for place in answers.sets[row]]
                predictions[index]["locations_90"] = places
            if wanted[index]:
                looked = answers.attention
                residues = None if looked is None else looked[row, 1 : lengths[index] + 1]
                predictions[index]["attention"] = None if residues is None else residues.tolist()
    return predictions


def explain(sequence: str, model: Model) -> dict[str, Any] | None:
    """Explain an answer; None where the model fails on a sequence of which a part is hidden."""

    def ask(sequences: Sequence[str]) -> np.ndarray:
        probabilities = np.empty((len(sequences), len(model.artifact.locations)))
        for members in pack_by_length([len(each) for each in sequences], range(len(sequences)), budget):
            probabilities[members] = answer(model, [sequences[index] for index in members]).probabilities
        return probabilities

    budget = model.token_budget
    read = window(sequence, model.artifact.max_residues)
    explanation = importance.explain(ask, read, model.explained_tokens)
    if explanation is None:
        return None
    return explanation | {"location": model.artifact.locations[explanation["location"]]}


def _fault(sequence: Any) -> str | None:
    """Return why a sequence cannot be read, without a letter of it; None when it can."""
    if not isinstance(sequence, str):
        return f"expected a sequence as text, found {type(sequence).__name__}"
    if not sequence:
        return "expected at least one residue, found an empty sequence"
    other = _NOT_A_RESIDUE.search(sequence)
    if other:
        return f"expected upper-case letters A-Z, found another character at position {other.start() + 1}"
    return None


@dataclass(frozen=True)
class Answers:
    """A model's answers to some sequences, a row each."""

    probabilities: np.ndarray  # (sequences, locations), each row of sum 1 unless a protein may have several
    membrane: np.ndarray  # (sequences)
    attention: np.ndarray | None  # (sequences, tokens)
    outside: tuple[np.ndarray, list[str]] | None  # as of `Detector.judge`
    kinds: np.ndarray | None  # (sequences): indices of `relatives.KINDS`
    sets: list[list[int]] | None  # the locations of each one's set, the most probable one first
    named: tuple[np.ndarray, np.ndarray] | None  # (sequences, locations) and (sequences), as of `several`


@torch.inference_mode()
def answer(model: Model, sequences: list[str]) -> Answers:
    """The answers to sequences that were read, in their order."""
    rows = [model.tokenizer.encode(sequence) for sequence in sequences]
    ids, mask = model.tokenizer.pad(rows, model.artifact.max_residues + SPECIAL_TOKENS)

    def on_device(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(model.device)

    # The detector reads the very numbers that compositions do.
    numbers = None
    if model.detector is not None:
        numbers = number_table([LETTERS.encode(sequence) for sequence in sequences])
    table = None if numbers is None else numbers.to(model.device)
    # Autocast for the head, whose weights stay in fp32.
    narrow = model.dtype if model.dtype != torch.float32 else None
    with torch.autocast(model.device.type, narrow, enabled=narrow is not None):
        locations, bound, shares = model.classifier.answer(on_device(ids), on_device(mask), table)
    logits, kinds = locations.double().cpu().numpy(), None
    if model.relatives is not None:
        votes, strongest = model.relatives.look(sequences, logits.shape[1])
        logits, kinds = relatives.join(logits, votes), relatives.kinds(strongest)
    calibration = Calibration.read(model.artifact.calibration, len(model.artifact.locations))
    probabilities, membrane = calibration.apply(logits, bound.double().cpu().numpy(), kinds)
    return Answers(
        probabilities,
        membrane,
        None if shares is None else shares.float().mean(dim=1).cpu().numpy().round(6),
        None if model.detector is None or numbers is None else model.detector.judge(numbers.numpy()),
        kinds,
        _sets(calibration, probabilities, kinds),
        _named(model.artifact, probabilities),
    )


def _named(artifact: Artifact, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The locations that answers name, and how sure that is, where a protein may have several."""
    if artifact.thresholds is None:
        return None
    names = several.named(probabilities, np.array(artifact.thresholds))
    return names, several.confidence(probabilities, names)


def _sets(
    calibration: Calibration, probabilities: np.ndarray, kinds: np.ndarray | None
) -> list[list[int]] | None:
    if calibration.reach is None or kinds is None:
        return None
    chosen = sets(probabilities, calibration.reach[kinds])
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [[int(place) for place in places if row[place]] for places, row in zip(order, chosen, strict=True)]
