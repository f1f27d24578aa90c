"""The model's explanation of one answer, read from the endpoint's response without trusting it.

`model/serving/importance.py` makes it and defines its numbers.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from functions.domain.errors import BrokenContract, Conflict
from functions.domain.locations import TEN, LabelSet
from functions.domain.prediction import Unpredictable, read_answer


class Unexplained(Conflict):
    """The model has an answer for a protein, or none, but no explanation of it."""


class Explanation(NamedTuple):
    """The share that each residue the model read has in an answer."""

    location: str  # the most probable one
    probability: float
    window: int  # residues that were hidden at once
    importance: tuple[float, ...]  # of each residue read; see `spread_out` for those of a long protein
    marked: tuple[int, ...]  # places among them, from 0, of the most important ones
    without_marked: float  # the probability that remains without these
    without_others: float  # and without as many others


def explanation_body(sequence: str) -> bytes:
    return json.dumps({"sequences": [sequence], "explain": True}).encode("ascii")


def read_explanation(
    body: bytes, *, sequence: str, model_version: str, labels: LabelSet = TEN
) -> Explanation:
    """The explanation of a model's answer for a sequence.

    Raises Unexplained where the model has none to give, BrokenContract where it breaks the agreed format.
    """
    (answer,) = read_answer(body, sequences=[sequence], model_version=model_version, labels=labels)
    if isinstance(answer, Unpredictable):
        raise Unexplained(f"the model gives no answer for this protein: {answer.reason}")
    prediction = json.loads(body)["predictions"][0]
    if "explanation" not in prediction:
        raise Unexplained(f"model version {model_version} was made before answers could be explained")
    if prediction["explanation"] is None:
        raise Unexplained("the model gives no answer for this protein with a part of it hidden")
    return _checked(prediction["explanation"], answer.residues_read, labels)


def _checked(reply: Any, residues: int, labels: LabelSet) -> Explanation:
    try:
        test = reply["test"]
        explanation = Explanation(
            str(reply["location"]),
            float(reply["probability"]),
            int(reply["window"]),
            tuple(float(each) for each in reply["importance"]),
            tuple(int(place) for place in test["marked"]),
            float(test["without_marked"]),
            float(test["without_others"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenContract(f"an explanation is not the agreed JSON: {error!r}") from None
    shares = (explanation.probability, explanation.without_marked, explanation.without_others)
    if explanation.location not in labels.names or not all(0 <= share <= 1 for share in shares):
        raise BrokenContract(
            f"expected a location and probabilities, found {explanation.location[:40]!r}, {shares}"
        )
    if len(explanation.importance) != residues or not all(map(math.isfinite, explanation.importance)):
        raise BrokenContract(f"expected {residues} finite numbers, found {len(explanation.importance)}")
    if (
        not all(0 <= place < residues for place in explanation.marked)
        or not 1 <= explanation.window <= residues
    ):
        raise BrokenContract(f"expected places and a window within {residues} residues")
    return explanation


def dumped(explanation: Explanation) -> str:
    """An explanation as text, for keeping."""
    return json.dumps(explanation._asdict(), separators=(",", ":"))


def loaded(text: str) -> Explanation:
    """The explanation of such a text."""
    values = json.loads(text)
    return Explanation(**values | {name: tuple(values[name]) for name in ("importance", "marked")})


def spread_out(explanation: Explanation, sequence: str) -> Mapping[str, Any]:
    """The explanation over the whole protein, as the API gives it: places count from 1.

    A long protein was read at both ends, the first with the odd residue; the residues between have no number.

    >>> long = Explanation("Nucleus", 0.9, 5, (0.1, 0.2, 0.3), (2,), 0.2, 0.9)
    >>> spread_out(long, "MKVLA")["importance"], spread_out(long, "MKVLA")["marked"]
    ([0.1, 0.2, None, None, 0.3], [5])
    """
    read, length = len(explanation.importance), len(sequence)
    tail = read // 2
    importance: list[float | None] = [*explanation.importance[: read - tail]]
    importance += [None] * (length - read)
    importance += explanation.importance[read - tail :]
    shift = length - read
    marked = [place + 1 + (shift if place >= read - tail else 0) for place in explanation.marked]
    return {**explanation._asdict(), "importance": importance, "marked": marked, "sequence": sequence}
