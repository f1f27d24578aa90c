"""Serving: SageMaker's four functions, many sequences a call.

`model_fn` reads everything from the artifact's folder, nothing is fetched. A request either is malformed
as a whole (RequestError) or is answered sequence by sequence in its own order: one that cannot be read
gets an `error` and costs the others nothing. An answer does not depend on what else is in the request.
Sequences are never logged and never repeated in an answer or an error. Safe to call from many threads.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.artifact import Artifact, read_artifact
from model.classifier import HeadSettings, ProteinClassifier
from model.tokens import SPECIAL_TOKENS, ResidueTokenizer, pack_by_length, window

try:  # SageMaker's toolkit answers its own error type with the status it carries, any other with 500.
    from sagemaker_inference.errors import (  # type: ignore[import-not-found, unused-ignore]
        BaseInferenceToolkitError,
    )
except ImportError:

    class BaseInferenceToolkitError(Exception):  # type: ignore[no-redef]
        """The same shape where the toolkit is not installed."""

        def __init__(self, status_code: int, message: str, phrase: str) -> None:
            self.status_code, self.message, self.phrase = status_code, message, phrase
            super().__init__(message)


# torch's convolutions keep what they prepared for each shape they meet, up to 1,024 of them and over a
# gigabyte; this many are enough for the lengths of one request. Read when the first convolution runs.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

JSON = "application/json"
TOKEN_BUDGET = 8192  # padded tokens of one forward pass: fits a core's caches and never a memory limit
_NOT_A_RESIDUE = re.compile(r"[^A-Z]")


class RequestError(BaseInferenceToolkitError):  # type: ignore[misc]
    """A request that is malformed as a whole; `message` is JSON with an `error`, for the answer's body."""

    def __init__(self, error: str, status_code: int = 400, phrase: str = "Bad Request") -> None:
        super().__init__(status_code, json.dumps({"error": error}), phrase)


@dataclass(frozen=True)
class Model:
    """What `model_fn` loads and every call shares; nothing in it changes afterwards."""

    artifact: Artifact
    classifier: ProteinClassifier
    tokenizer: ResidueTokenizer
    device: torch.device


def model_fn(model_dir: str) -> Model:
    """The model of an unpacked artifact, on a GPU where there is one."""
    folder = Path(model_dir)
    artifact = read_artifact(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier = ProteinClassifier.load(folder, len(artifact.locations), HeadSettings(**artifact.head))
    return Model(artifact, classifier.to(device), ResidueTokenizer.read(folder), device)


def input_fn(body: str | bytes | bytearray, content_type: str) -> list[Any]:
    """The sequences of a request `{"sequences": [...]}`; raises RequestError when it is anything else."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise RequestError(f"expected content type {JSON}", 415, "Unsupported Media Type")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        # What json says of the place is safe to repeat, what stands there is not.
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(f"expected JSON in UTF-8, found something else{place}") from None
    sequences = request.get("sequences") if isinstance(request, dict) else None
    if not isinstance(sequences, list) or not sequences:
        raise RequestError('expected {"sequences": [...]} with at least one sequence')
    return sequences


def predict_fn(sequences: list[Any], model: Model) -> dict[str, Any]:
    """The answer to a request: one prediction or error a sequence, in the request's order."""
    artifact = model.artifact
    if len(sequences) > artifact.max_sequences:
        raise RequestError(f"expected at most {artifact.max_sequences} sequences, found {len(sequences)}")
    predictions: list[dict[str, Any]] = [{"error": _fault(sequence)} for sequence in sequences]
    readable = [index for index, prediction in enumerate(predictions) if prediction["error"] is None]
    read = {index: window(sequences[index], artifact.max_residues) for index in readable}
    lengths = [len(read.get(index, "")) for index in range(len(sequences))]
    by_length = sorted(readable, key=lengths.__getitem__)
    for members in pack_by_length(lengths, by_length, TOKEN_BUDGET):
        probabilities, membrane = _answer(model, [read[index] for index in members])
        for row, index in enumerate(members):
            if np.isfinite(probabilities[row]).all() and np.isfinite(membrane[row]):
                predictions[index] = {
                    "probabilities": probabilities[row].tolist(),
                    "membrane": float(membrane[row]),
                    "residues_read": lengths[index],
                    "truncated": len(sequences[index]) > lengths[index],
                }
            else:
                predictions[index] = {"error": "the model gave no finite probabilities for this sequence"}
    return {
        "model_version": artifact.version,
        "locations": list(artifact.locations),
        "predictions": predictions,
    }


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """The answer as JSON text; raises RequestError when the caller accepts none."""
    accepted = {kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")}
    if not accepted & {JSON, "application/*", "*/*"}:
        raise RequestError(f"expected to answer with {JSON}", 406, "Not Acceptable")
    return json.dumps(prediction)


def _fault(sequence: Any) -> str | None:
    """Why a sequence cannot be read, without a letter of it; None when it can."""
    if not isinstance(sequence, str):
        return f"expected a sequence as text, found {type(sequence).__name__}"
    if not sequence:
        return "expected at least one residue, found an empty sequence"
    other = _NOT_A_RESIDUE.search(sequence)
    if other:
        return f"expected upper-case letters A-Z, found another character at position {other.start() + 1}"
    return None


@torch.inference_mode()
def _answer(model: Model, sequences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (sequences, locations), each row summing to 1, and membrane probabilities (sequences)."""
    rows = [model.tokenizer.encode(sequence) for sequence in sequences]
    ids, mask = model.tokenizer.pad(rows, model.artifact.max_residues + SPECIAL_TOKENS)
    locations, membrane = model.classifier(
        torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)
    )
    calibration = model.artifact.calibration
    locations = (locations.double() / calibration["location_temperature"]).softmax(dim=1)
    membrane = (membrane.double() / calibration["membrane_temperature"]).sigmoid()
    return locations.cpu().numpy(), membrane.cpu().numpy()
