"""Two model versions side by side, from their evaluations.

Where one was judged against the other, both answered the same proteins and the differences are paired, with
95 % intervals. Otherwise each has the figures of its own evaluation, or else those its artifact states, and
it is said whether they are of the same proteins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from functions.domain.locations import LOCATION_NAMES, labels_of
from protloc.stack.client import Client, split_uri

FIGURES = ("q10", "macro_f1", "mcc", "membrane_q2", "ece")

View = dict[str, Any]


def compare(client: Client, first: View, second: View) -> View:
    """`first` and `second` (views of the API) compared; see `compared`."""
    return compared(first, _evaluation(client, first), second, _evaluation(client, second))


def compared(first: View, of_first: View | None, second: View, of_second: View | None) -> View:
    """`figures` and `recall` (by location): a value for each version, `difference` (second - first) and its
    `interval` where they are paired. `proteins` are those both answered, None where they are not the same.
    `support` is the number of proteins behind each version's figures and recalls, `intervals` those of the
    figures, and `learned` the figures of proteins that a version had learned from, which count for nothing.
    """
    versions = first["version"], second["version"]
    comparison: View = {"versions": list(versions), "paired": True, "note": None}
    for evaluation, names in ((of_second, versions), (of_first, versions[::-1])):
        if evaluation is not None and _names(evaluation) == names:
            turned = names != versions
            against = evaluation["against"]
            recalls = zip(LOCATION_NAMES, against["recall"], strict=True)
            answered = [evaluation[side] for side in ("champion", "challenger")][:: -1 if turned else 1]
            return comparison | {
                "proteins": evaluation["challenger"].get("proteins", evaluation["holdout"]["proteins"]),
                **_worth(answered, LOCATION_NAMES),
                "learned": _learned(evaluation.get("learned"), turned),
                "figures": {name: _paired(against[name], turned) for name in FIGURES if name in against},
                "recall": {name: _paired(recall_difference, turned) for name, recall_difference in recalls},
            }
    sides = [_side(first, of_first), _side(second, of_second)]
    located = list(
        dict.fromkeys(name for view in (first, second) for name in labels_of(view.get("labels")).names)
    )
    same = of_first and of_second and of_first["holdout"]["sha256"] == of_second["holdout"]["sha256"]
    return comparison | {
        "paired": False,
        "proteins": of_second["holdout"]["proteins"] if same and of_second else None,
        **_worth(sides, located),
        "learned": None,
        "figures": {name: _beside(sides[0].get(name), sides[1].get(name)) for name in FIGURES},
        "recall": {name: _beside(*(_recall(side, name) for side in sides)) for name in located},
        "note": _note(versions, (of_first, of_second), bool(same)),
    }


def _evaluation(client: Client, view: View) -> View | None:
    if not view["evaluation"]:
        return None
    bucket, key = split_uri(view["evaluation"])
    evaluation: View = json.loads(client.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    return evaluation


def _names(evaluation: View) -> tuple[str, str] | None:
    """Champion and challenger of an evaluation that knows both."""
    if not evaluation.get("champion") or not evaluation.get("against"):
        return None
    return evaluation["champion"]["version"], evaluation["challenger"]["version"]


def _paired(paired: View, turned: bool) -> View:
    first, second = paired["champion"], paired["challenger"]
    difference, (low, high) = paired["difference"], paired["interval"]
    if not turned:
        return {"values": [first, second], "difference": difference, "interval": [low, high]}
    return {"values": [second, first], "difference": _less(difference), "interval": [_less(high), _less(low)]}


def _less(value: float | None) -> float | None:
    return None if value is None else -value


def _worth(sides: Sequence[View], names: Sequence[str]) -> View:
    """The support of each version's figures: numbers of proteins, and intervals."""
    recalls = {
        name: [side.get("locations", {}).get(name, {}).get("proteins") for side in sides] for name in names
    }
    return {
        "support": {"figures": [side.get("proteins") for side in sides], "recall": recalls},
        "intervals": {name: [side.get("intervals", {}).get(name) for side in sides] for name in FIGURES},
    }


def _learned(learned: View | None, turned: bool) -> View | None:
    if not learned:
        return None
    sides = [learned[side] for side in ("champion", "challenger")][:: -1 if turned else 1]
    return {
        "proteins": learned["proteins"],
        "of_them": [side["learned"] for side in sides],
        "q10": [side["q10"] for side in sides],
    }


def _beside(first: float | None, second: float | None) -> View:
    return {"values": [first, second], "difference": None, "interval": [None, None]}


def _side(view: View, evaluation: View | None) -> View:
    side: View = evaluation["challenger"] if evaluation else view["metrics"]
    return side


def _recall(side: View, location: str) -> float | None:
    recall: float | None = side.get("locations", {}).get(location, {}).get("recall")
    return recall if recall is not None else side.get("recall", {}).get(location)


def _note(versions: tuple[str, str], evaluations: tuple[View | None, View | None], same: bool) -> str:
    stated = [
        version for version, evaluation in zip(versions, evaluations, strict=True) if evaluation is None
    ]
    if stated:
        whose = " and ".join(stated)
        return f"The figures of {whose} are those its artifact states, of other proteins: no fair comparison."
    if same:
        return "Neither was judged against the other, but both answered the same proteins."
    return "Each was judged on other proteins: the figures say little about which is better."
