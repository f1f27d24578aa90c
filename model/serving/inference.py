"""Serving: SageMaker's four functions, many sequences a call.

`model_fn` reads everything from the artifact's folder, nothing is fetched. A request either is malformed as a
whole (RequestError) or is answered sequence by sequence in its own order: one that cannot be read gets an
`error` and costs the others nothing. An answer does not depend on the rest of the request. Sequences are
never logged and never repeated in an answer or an error: a prediction carries the CRC-32 of the residues it
was made from, eight hexadecimal digits, so that its reader can tell another protein's. Safe to call from many
threads.

    {"sequences": ["MKV…", …], "attention": true}

An artifact that has a threshold and a detector says with each answer below which confidence it is uncertain
(`uncertain_below`), how far each protein is outside of the model's knowledge (`outside`, `outside_like`; see
`outside.py`) and from where on that is too far (`outside_above`). One that looks up relatives says how near
the nearest one is (`relative`, one of `relatives.KINDS`), and which locations together hold the truth nine
times in ten (`locations_90`, the most probable one first).

One that gives a protein several locations says from which probability on it names each (`thresholds`, in the
order of `locations`), and with each answer the locations it names (`named`, at least one, in that order) and
the probability that these and no others are right (`confidence`, see `several.py`). Its probabilities are one
by one, and do not sum to 1.

A body that is one JSON string is a request of that sequence, with spaces between its residues or without.
`membrane` of a prediction is null if the model learned from no protein whose membrane is known.

`attention` may be left out. With it a prediction says how much the model looked at each residue it read: a
list as long as `residues_read`, the mean over the head's attentions, which sums to 1 together with the
attention to the two tokens around the sequence; null where the head has no attention. Of a truncated sequence
the list's first half, and the odd one, belongs to its beginning and the rest to its end.

`"explain": true` asks for one sequence alone and adds `explanation` to its prediction: how much of the answer
hangs on each residue it read, by hiding stretches and asking the model again (`importance.py`), some hundred
answers of work. It is null where the model gave no finite probabilities with a stretch hidden.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.serving.answering import answer_each, explain
from model.serving.hardware import precision
from model.serving.loading import Model, load

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


JSON = "application/json"


class RequestError(BaseInferenceToolkitError):  # type: ignore[misc]
    """A request that is malformed as a whole; `message` is JSON with an `error`, for the answer's body."""

    def __init__(self, error: str, status_code: int = 400, phrase: str = "Bad Request") -> None:
        super().__init__(status_code, json.dumps({"error": error}), phrase)


@dataclass(frozen=True)
class Request:
    """A caller's request."""

    sequences: list[Any]
    attention: bool = False
    explain: bool = False


def model_fn(model_dir: str) -> Model:
    """The model of an unpacked artifact, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load(Path(model_dir), device, precision(device))


def input_fn(body: str | bytes | bytearray, content_type: str) -> Request:
    """The request in a body; raises RequestError when it is anything else."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise RequestError(f"expected content type {JSON}", 415, "Unsupported Media Type")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        # The position that json reports is safe to repeat, the text there is not.
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(f"expected JSON in UTF-8, found something else{place}") from None
    if isinstance(request, str):  # one protein as AWS's article sends it, its residues apart
        return Request(["".join(request.split())])
    sequences = request.get("sequences") if isinstance(request, dict) else None
    if not isinstance(sequences, list) or not sequences:
        raise RequestError('expected {"sequences": [...]} with at least one sequence')
    for name in ("attention", "explain"):
        if not isinstance(request.get(name, False), bool):
            raise RequestError(f'expected "{name}" to be true or false')
    made = Request(sequences, request.get("attention", False), request.get("explain", False))
    if made.explain and len(sequences) > 1:
        raise RequestError(f'expected one sequence with "explain", found {len(sequences)}')
    return made


def predict_fn(request: Request | list[Any], model: Model) -> dict[str, Any]:
    """The answer to a request, or to a list of sequences: one prediction or error a sequence, in order."""
    (answer,) = predict_many([request if isinstance(request, Request) else Request(request)], model)
    if isinstance(answer, RequestError):
        raise answer
    return answer


def predict_many(requests: Sequence[Request], model: Model) -> list[dict[str, Any] | RequestError]:
    """The answers to several requests at once, as `predict_fn` gives each alone; a refusal in its place."""
    artifact = model.artifact
    sequences: list[Any] = []
    wanted: list[bool] = []  # whose attention
    shares: list[slice | RequestError] = []
    for request in requests:
        if len(request.sequences) > artifact.max_sequences:
            count = len(request.sequences)
            shares.append(RequestError(f"expected at most {artifact.max_sequences} sequences, found {count}"))
            continue
        shares.append(slice(len(sequences), len(sequences) + len(request.sequences)))
        sequences += request.sequences
        wanted += [request.attention] * len(request.sequences)
    predictions = answer_each(sequences, wanted, model)
    for request, share in zip(requests, shares, strict=True):
        if request.explain and isinstance(share, slice):
            for prediction, sequence in zip(predictions[share], request.sequences, strict=True):
                if "error" not in prediction:
                    prediction["explanation"] = explain(sequence, model)
    return [
        share
        if isinstance(share, RequestError)
        else {
            "model_version": artifact.version,
            "locations": list(artifact.locations),
            **_bounds(model),
            **({} if artifact.thresholds is None else {"thresholds": list(artifact.thresholds)}),
            "predictions": predictions[share],
        }
        for share in shares
    ]


def _bounds(model: Model) -> dict[str, float]:
    """The bounds beyond which an answer is uncertain, and a protein outside of the model's knowledge."""
    below = model.artifact.calibration.get("uncertain_below")
    bounds = {} if below is None else {"uncertain_below": below}
    return bounds if model.detector is None else {**bounds, "outside_above": model.detector.above}


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """The answer as JSON text; raises RequestError when the caller accepts none."""
    accepted = {kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")}
    if not accepted & {JSON, "application/*", "*/*"}:
        raise RequestError(f"expected to answer with {JSON}", 406, "Not Acceptable")
    return json.dumps(prediction)
