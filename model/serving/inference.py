"""Serving: SageMaker's four functions, many sequences a call.

`model_fn` reads everything from the artifact's folder, nothing is fetched. A request either is malformed
as a whole (RequestError) or is answered sequence by sequence in its own order: one that cannot be read
gets an `error` and costs the others nothing. An answer does not depend on what else is in the request.
Sequences are never logged and never repeated in an answer or an error: a prediction carries the CRC-32 of
the residues it was made from, eight hexadecimal digits, so that its reader can tell another protein's. Safe
to call from many threads.

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
list as long as `residues_read`, the mean over the head's attentions, which sums to 1 together with what
fell on the two tokens around the sequence; null where the head has no attention. Of a truncated sequence
the list's first half, and the odd one, belongs to its beginning and the rest to its end.

`"explain": true` asks for one sequence alone and adds `explanation` to its prediction: how much of the answer
hangs on each residue it read, by hiding stretches and asking the model again (`importance.py`), some hundred
answers of work. It is null where the model gave no finite probabilities for what was hidden.
"""

from __future__ import annotations

import json
import os
import re
from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from model.serving import importance, packed, relatives, several
from model.serving.artifact import Artifact, read_artifact
from model.serving.bert import BertSettings
from model.serving.calibration import Calibration, sets
from model.serving.classifier import WEIGHTS, ProteinClassifier
from model.serving.composition import number_table
from model.serving.families import family_of, read_config
from model.serving.hardware import has_bf16
from model.serving.heads import HeadSettings
from model.serving.outside import Detector
from model.serving.relatives import Relatives
from model.serving.tokens import PROTEIN_VOCABULARY, SPECIAL_TOKENS, ResidueTokenizer, pack_by_length, window

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
# Padded tokens of one forward pass. What a layer gives for so many fits a core's caches (of a large encoder
# fewer do), and a GPU wants more to be busy at all.
TOKENS_SMALL, TOKENS_LARGE, TOKENS_GPU = 8192, 2048, 32768
# Tokens of all answers behind one explanation: some seconds of a small model or a GPU, and some twenty of a
# large encoder on a CPU, which API Gateway waits for.
EXPLAINED_TOKENS, EXPLAINED_TOKENS_LARGE = 1 << 18, 1 << 14
LETTERS = ResidueTokenizer(PROTEIN_VOCABULARY)  # as compositions and detectors read sequences
_NOT_A_RESIDUE = re.compile(r"[^A-Z]")


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


@dataclass(frozen=True)
class Model:
    """The loaded model that every call shares; nothing in it changes after `model_fn`."""

    artifact: Artifact
    classifier: ProteinClassifier
    tokenizer: ResidueTokenizer
    device: torch.device
    dtype: torch.dtype
    token_budget: int
    detector: Detector | None = None  # of what is outside of its knowledge; older artifacts have none
    relatives: Relatives | None = None  # the labelled proteins that vote
    explained_tokens: int = EXPLAINED_TOKENS


def model_fn(model_dir: str) -> Model:
    """The model of an unpacked artifact, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if has_bf16(device) else torch.float32
    return load(Path(model_dir), device, dtype)


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> Model:
    """The model of an unpacked artifact; `dtype` is a large encoder's.

    A small model answers in fp32, but for its head where the artifact was judged in bf16 and `dtype` is that.
    """
    artifact, tokenizer = read_artifact(folder), ResidueTokenizer.read(folder)
    config = read_config(folder)
    small = bool(getattr(config, "stem_kernel_size", 0))
    head = HeadSettings(**artifact.head)
    if small:
        classifier = ProteinClassifier.load(folder, len(artifact.locations), head)
        classifier.tabulate()
        if artifact.narrow and dtype == torch.bfloat16:
            classifier.narrow()
        dtype = torch.float32
    elif not family_of(config).packs:
        classifier = ProteinClassifier.load(folder, len(artifact.locations), head)
        classifier.encoder.to(dtype)
    else:
        # The head beside an encoder of nothing, which the packed one then replaces.
        shell = {"num_hidden_layers": 0, "vocab_size": 1, "max_position_embeddings": 1, "pad_token_id": 0}
        classifier = ProteinClassifier(
            BertSettings.from_dict(config.to_dict() | shell), len(artifact.locations), head
        )
        for place, network in enumerate(classifier.members()):
            before = f"others.{place - 1}." if place else ""  # an ensemble's others are below its first
            network.head.load_state_dict(_below(folder / WEIGHTS, f"{before}head."))
            network.encoder = packed.PackedEncoder(
                config,
                packed.reader(folder / WEIGHTS, f"{before}encoder."),
                max_tokens=artifact.max_residues + SPECIAL_TOKENS,
                dtype=dtype,
                device=device,
            )
    classifier.config = config
    budget = TOKENS_GPU if device.type == "cuda" else TOKENS_SMALL if small else TOKENS_LARGE
    detector = Detector.read(folder, artifact.outside)
    index = Relatives.read(folder, artifact.relatives)
    explained = EXPLAINED_TOKENS if small or device.type == "cuda" else EXPLAINED_TOKENS_LARGE
    classifier.to(device).eval()
    return Model(artifact, classifier, tokenizer, device, dtype, budget, detector, index, explained)


def _below(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose names begin so, by the rest of their names."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def input_fn(body: str | bytes | bytearray, content_type: str) -> Request:
    """The request in a body; raises RequestError when it is anything else."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise RequestError(f"expected content type {JSON}", 415, "Unsupported Media Type")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        # What json says of the place is safe to repeat, what stands there is not.
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
    predictions = _predict(sequences, wanted, model)
    for request, share in zip(requests, shares, strict=True):
        if request.explain and isinstance(share, slice):
            for prediction, sequence in zip(predictions[share], request.sequences, strict=True):
                if "error" not in prediction:
                    prediction["explanation"] = _explanation(sequence, model)
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
    """The bounds beyond which an answer is uncertain, and a protein outside of what the model knows."""
    below = model.artifact.calibration.get("uncertain_below")
    bounds = {} if below is None else {"uncertain_below": below}
    return bounds if model.detector is None else {**bounds, "outside_above": model.detector.above}


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """The answer as JSON text; raises RequestError when the caller accepts none."""
    accepted = {kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")}
    if not accepted & {JSON, "application/*", "*/*"}:
        raise RequestError(f"expected to answer with {JSON}", 406, "Not Acceptable")
    return json.dumps(prediction)


def _predict(sequences: list[Any], wanted: list[bool], model: Model) -> list[dict[str, Any]]:
    """One prediction or error a sequence, in order."""
    predictions: list[dict[str, Any]] = [{"error": _fault(sequence)} for sequence in sequences]
    readable = [index for index, prediction in enumerate(predictions) if prediction["error"] is None]
    read = {index: window(sequences[index], model.artifact.max_residues) for index in readable}
    lengths = [len(read.get(index, "")) for index in range(len(sequences))]
    by_length = sorted(readable, key=lengths.__getitem__)
    for members in pack_by_length(lengths, by_length, model.token_budget):
        asked = [read[index] for index in members]
        answers = _answer(model, asked)
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


def _explanation(sequence: str, model: Model) -> dict[str, Any] | None:
    """Explain an answer; None where the model fails on a sequence of which a part is hidden."""

    def ask(sequences: Sequence[str]) -> np.ndarray:
        probabilities = np.empty((len(sequences), len(model.artifact.locations)))
        for members in pack_by_length([len(each) for each in sequences], range(len(sequences)), budget):
            probabilities[members] = _answer(model, [sequences[index] for index in members]).probabilities
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
def _answer(model: Model, sequences: list[str]) -> Answers:
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
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16):
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
