"""The model's answer about one sequence, read from the endpoint's response without trusting it.

The request and the answer are pinned in `events/endpoint-request.json` and `events/endpoint-answer.json`.
"""

import json
import math
from binascii import crc32
from collections.abc import Sequence
from typing import Any, NamedTuple

from functions.domain.errors import BrokenContract
from functions.domain.locations import BETWEEN, LOCATION_NAMES, TEN, LabelSet

_SUM_TOLERANCE = 0.01
MAX_KIND_CHARACTERS = 40
RELATIVES = ("none", "distant", "near")
"""The distance classes of a protein's nearest relative among those that the model learned from."""


class Prediction(NamedTuple):
    """The model's answer for one sequence."""

    probabilities: tuple[float, ...]  # in the order of `names`, 4 decimals; of sum 1 where one is right
    membrane: float | None  # probability of being bound to a membrane; None where the model learned of none
    residues_read: int
    truncated: bool
    uncertain: bool | None = None  # by the artifact's own threshold; None where an older one has none
    outside: float | None = None  # the share of held-out eukaryotic proteins that are less unlike the others
    outside_like: str = ""  # the kind it is more like, where that share is beyond the artifact's bound
    relative: str | None = None  # of RELATIVES; None where the artifact looks up no relatives
    locations_90: tuple[str, ...] | None = (
        None  # hold the true one nine times in ten; the most probable first
    )
    named: tuple[str, ...] | None = None  # all its locations, where a protein may have several
    sure: float | None = None  # the probability that these and no others are right
    names: tuple[str, ...] = LOCATION_NAMES  # of all locations that the model tells apart

    @property
    def places(self) -> tuple[str, ...]:
        """The locations that the answer names, in the order of `names`."""
        if self.named is not None:
            return self.named
        return (self.names[self.probabilities.index(max(self.probabilities))],)

    @property
    def location(self) -> str:
        return BETWEEN.join(self.places)

    @property
    def confidence(self) -> float:
        """The probability that the answer is right, as a whole where it names several locations."""
        return max(self.probabilities) if self.sure is None else self.sure

    @property
    def runner_up(self) -> tuple[str | None, float | None]:
        """The most probable location that is not named, and its probability; None where all are named."""
        if self.named is None:
            return second_of(self.probabilities, self.names)
        others = [
            pair for pair in zip(self.names, self.probabilities, strict=True) if pair[0] not in self.named
        ]
        return max(others, key=lambda pair: pair[1], default=(None, None))


def second_of(probabilities: Sequence[float], names: Sequence[str] = LOCATION_NAMES) -> tuple[str, float]:
    """The second most probable location of probabilities in the order of `names`, and its probability.

    Of those that are as probable as the first, the one that comes after it.
    """
    order = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])
    return names[order[1]], probabilities[order[1]]


class Unpredictable(NamedTuple):
    """A sequence the model could not answer for, and why."""

    reason: str


Answer = Prediction | Unpredictable


def request_body(sequences: list[str]) -> bytes:
    return json.dumps({"sequences": sequences}).encode("ascii")


def read_answer(
    body: bytes, *, sequences: list[str], model_version: str, labels: LabelSet = TEN
) -> list[Answer]:
    """The answers in the order of `sequences`.

    Raises BrokenContract unless there is exactly one well-formed answer for each, from that model version and
    about its labels.
    """
    try:
        answer = json.loads(body)
        version, names, predictions = answer["model_version"], answer["locations"], answer["predictions"]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenContract(f"the endpoint's answer is not the agreed JSON: {error!r}") from None
    if version != model_version:
        raise BrokenContract(f"expected answers of model {model_version}, found {version!r}")
    if not isinstance(names, list) or sorted(map(str, names)) != sorted(labels.names):
        raise BrokenContract(f"expected the locations {', '.join(labels.names)}, found {str(names)[:2000]}")
    if not isinstance(predictions, list) or len(predictions) != len(sequences):
        raise BrokenContract(f"expected {len(sequences)} predictions, found {_size(predictions)}")
    order = [names.index(name) for name in labels.names]
    bounds = [_share(answer, name) for name in ("uncertain_below", "outside_above")]
    return [
        _read_one(prediction, order, sequence, labels, *bounds)
        for prediction, sequence in zip(predictions, sequences, strict=True)
    ]


def _share(answer: dict[str, Any], name: str) -> float | None:
    """A number between 0 and 1 that an answer may have; artifacts of older releases give none."""
    value = answer.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BrokenContract(f"expected {name} between 0 and 1, found {value!r}")
    return float(value)


def _read_one(
    prediction: Any,
    order: list[int],
    sequence: str,
    labels: LabelSet,
    uncertain_below: float | None,
    outside_above: float | None,
) -> Answer:
    if isinstance(prediction, dict) and isinstance(prediction.get("error"), str):
        return Unpredictable(prediction["error"][:200])
    try:
        probabilities = [float(prediction["probabilities"][index]) for index in order]
        membrane = None if prediction["membrane"] is None else float(prediction["membrane"])
        residues_read, truncated = int(prediction["residues_read"]), bool(prediction["truncated"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BrokenContract(f"a prediction is not the agreed JSON: {error!r}") from None
    values = [*probabilities] if membrane is None else [*probabilities, membrane]
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in values):
        raise BrokenContract(f"expected probabilities between 0 and 1, found {values}")
    if len(prediction["probabilities"]) != len(order):
        raise BrokenContract(f"expected {len(order)} probabilities, found {len(prediction['probabilities'])}")
    if not labels.several and abs(sum(probabilities) - 1) > _SUM_TOLERANCE:
        raise BrokenContract(f"expected {len(order)} probabilities of sum 1, found sum {sum(probabilities)}")
    length = len(sequence)
    if not 0 < residues_read <= length or truncated != (residues_read < length):
        raise BrokenContract(f"{residues_read} residues read of {length}, truncated: {truncated}")
    read = _read_of(sequence, residues_read)
    if prediction.get("checksum", read) != read:  # artifacts made before there were checksums give none
        raise BrokenContract(f"expected the answer for residues of checksum {read}, found another's")
    rounded = tuple(round(p, 4) for p in probabilities)
    outside, like = _share(prediction, "outside"), prediction.get("outside_like")
    if outside is not None and not isinstance(like, str):
        raise BrokenContract(
            f"expected what a protein is outside of the model's knowledge like, found {like!r}"
        )
    beyond = outside is not None and outside_above is not None and outside > outside_above
    named = _names(prediction, "named", labels) if labels.several else None
    sure = None if named is None else _share(prediction, "confidence")
    if labels.several and (named is None or sure is None):
        raise BrokenContract("expected the locations that an answer names, and its confidence, found none")
    confidence = max(rounded) if sure is None else round(sure, 4)
    return Prediction(
        rounded,
        None if membrane is None else round(membrane, 4),
        residues_read,
        truncated,
        None if uncertain_below is None else confidence < uncertain_below,
        None if outside is None else round(outside, 4),
        str(like)[:MAX_KIND_CHARACTERS] if beyond else "",
        _relative(prediction),
        _names(prediction, "locations_90", labels),
        None if named is None else tuple(name for name in labels.names if name in named),
        None if sure is None else confidence,
        labels.names,
    )


def _relative(prediction: dict[str, Any]) -> str | None:
    relative: str | None = prediction.get("relative")
    if relative is not None and relative not in RELATIVES:
        raise BrokenContract(f"expected a relative of {', '.join(RELATIVES)}, found {relative!r}")
    return relative


def _names(prediction: dict[str, Any], key: str, labels: LabelSet) -> tuple[str, ...] | None:
    names = prediction.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or not names or not set(map(str, names)) <= set(labels.names):
        raise BrokenContract(f"expected some of the model's locations, found {str(names)[:200]!r}")
    return tuple(map(str, names))


def _read_of(sequence: str, residues: int) -> str:
    """The checksum of the residues that a model read: all, or both ends, the first with the odd residue."""
    tail = residues // 2
    ends = sequence[: residues - tail] + sequence[len(sequence) - tail :]
    return f"{crc32(ends.encode('ascii')):08x}"


def _size(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else repr(type(value).__name__)
