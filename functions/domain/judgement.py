"""The judgement of a challenger by its evaluation: every check, the verdict, and its reason.

The checks, over the proteins of the holdout:

    complete     all figures are there and finite, of these versions
    holdout      they were measured on this snapshot's holdout, and the challenger learned from its training
                 proteins
    enough       at least MIN_HELD_OUT proteins of the holdout were learned from by neither
    floor        Q10 and macro-F1 reach the stack's floors
    not worse    the interval of each difference to the champion stays above its margin, and Q10 and macro-F1
                 together did not fall
    no collapse  no location lost its recall
    calibration  the calibration error is small, within chance, or no larger than the champion's
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from functions.domain.locations import TEN, LabelSet, labels_of

MIN_HELD_OUT = 50  # proteins
# How far below the champion the lower end of a difference's 95 % interval may lie.
MARGINS = {"q10": 0.02, "macro_f1": 0.04}
# A second task, often with few labels: how far it may fall where that is sure, and how far at all.
SURE_MEMBRANE_DROP, MAX_MEMBRANE_DROP = 0.02, 0.10
NAMES = {"q10": "Q10", "macro_f1": "macro-F1", "membrane_q2": "membrane Q2"}
# A location collapses by this much recall where it is surely worse, or by this much in any case.
SURE_RECALL_DROP, MAX_RECALL_DROP = 0.15, 0.30
MIN_PROTEINS_PER_LOCATION = 10  # proteins of a location, below which its recall says little
MAX_CALIBRATION_ERROR = 0.05
MAX_NAMED = 5  # locations that a reason names
FIGURES = ("q10", "macro_f1", "mcc", "membrane_q2", "ece")


class Check(NamedTuple):
    """One thing that was looked at."""

    check: str
    passed: bool
    found: str
    expected: str


class Floors(NamedTuple):
    """The minimum figures of a model, independent of the champion."""

    q10: float
    macro_f1: float


class Incomplete(ValueError):
    """An evaluation lacks a value or holds a wrong one; the message names it."""


def judge(
    evaluation: Any, manifest: Any, floors: Floors, *, version: str, champion: str, snapshot: str
) -> dict[str, Any]:
    """The verdict on the output of an Evaluate job (`events/evaluation.json`), beside the snapshot's manifest
    (`events/manifest.json`). `champion` is empty where there is none. Pure, and never raises.
    """
    checks: list[Check] = []
    figures: dict[str, Any] = {}
    labels, names = TEN, NAMES
    try:
        labels = _labels(evaluation)
        names = NAMES if labels is TEN else NAMES | {"q10": "accuracy"}
        checks += _identity(evaluation, manifest, version, champion, snapshot)
        challenger = _part(evaluation, "challenger")
        figures = {name: _number(challenger, name) for name in FIGURES if challenger.get(name) is not None}
        checks += _alone(challenger, _answered(evaluation), floors, names)
        if champion:
            parts = _part(evaluation, "against"), _part(evaluation, "champion"), challenger
            checks += _against(*parts, names)
        checks.append(_calibration(challenger, evaluation.get("champion") if champion else None))
    except Incomplete as problem:
        checks.append(Check("complete", False, str(problem), "every figure, finite"))
    failed = [check for check in checks if not check.passed]
    return {
        "promote": not failed,
        "reason": _reason(failed, figures, evaluation if champion else None, names) + _warning(evaluation),
        "checks": [check._asdict() for check in checks],
        "figures": figures,
        "metrics": figures | _measured_on(evaluation, figures),
        "labels": labels.text,
    }


def _measured_on(evaluation: Any, figures: dict[str, Any]) -> dict[str, Any]:
    """The number of proteins behind the figures and their intervals, as far as the evaluation has them."""
    kept: dict[str, Any] = {"split": "holdout", "intervals": {}}
    with suppress(Incomplete):
        kept["proteins"] = _answered(evaluation)
        intervals = _part(_part(evaluation, "challenger"), "intervals")
        for name in figures.keys() & intervals.keys():
            with suppress(Incomplete):
                kept["intervals"][name] = list(_interval({"interval": intervals[name]}))
    with suppress(Incomplete):
        learned = _part(evaluation, "learned")
        proteins, q10 = _number(learned, "proteins"), _number(_part(learned, "challenger"), "q10")
        kept["learned"] = {"proteins": proteins, "q10": q10}
    return kept


def _labels(evaluation: Any) -> LabelSet:
    """The challenger's labels; where a protein may have several, its training chose their thresholds."""
    described = evaluation.get("labels") if isinstance(evaluation, dict) else None
    try:
        return labels_of(described)
    except (KeyError, TypeError, AttributeError):
        raise Incomplete(f"the labels are {str(described)[:60]}") from None


def _answered(evaluation: dict[str, Any]) -> float:
    """The proteins that the figures are of: those of the holdout that neither model has learned from."""
    challenger, holdout = _part(evaluation, "challenger"), _part(evaluation, "holdout")
    return _number(challenger if "proteins" in challenger else holdout, "proteins")


def _identity(evaluation: Any, manifest: Any, version: str, champion: str, snapshot: str) -> Iterator[Check]:
    """That the figures are of these models, on this holdout."""
    splits = _part(manifest, "splits")
    holdout, training = _part(splits, "holdout"), _part(splits, "training")
    challenger = _part(evaluation, "challenger")
    yield _same("complete", "version", challenger.get("version"), version)
    if champion:
        yield _same("complete", "champion", _part(evaluation, "champion").get("version"), champion)
    else:
        yield _same("complete", "champion", evaluation.get("champion"), None)
    yield _same("holdout", "snapshot", evaluation.get("snapshot"), snapshot)
    yield _same("holdout", "snapshot of the manifest", manifest.get("snapshot"), snapshot)
    measured_on = _part(evaluation, "holdout")
    for name in ("sha256", "proteins"):
        yield _same("holdout", f"{name} of the holdout", measured_on.get(name), holdout.get(name) or "some")
    answered = challenger.get("proteins")
    if champion:
        theirs = _part(evaluation, "champion").get("proteins")
        yield _same("holdout", "proteins that the champion answered", theirs, answered)
    learned = challenger.get("training_sha256")
    yield _same("holdout", "training proteins", learned, training.get("sha256") or "some")


def _same(check: str, what: str, value: object, expected: object) -> Check:
    return Check(check, value == expected, f"{what} {value}", f"{what} {expected}")


def _alone(
    challenger: dict[str, Any], proteins: float, floors: Floors, names: dict[str, str]
) -> Iterator[Check]:
    enough = proteins >= MIN_HELD_OUT
    yield Check("enough", enough, f"{proteins:g} proteins held out", f"at least {MIN_HELD_OUT}")
    for name, floor in floors._asdict().items():
        figure = _number(challenger, name)
        yield Check("floor", figure >= floor, f"{names[name]} {figure:.3f}", f"at least {floor:.3f}")


def _against(
    against: dict[str, Any], champion: dict[str, Any], challenger: dict[str, Any], names: dict[str, str]
) -> Iterator[Check]:
    """Compared with the champion, protein by protein."""
    risen = 0.0
    for name, margin in MARGINS.items():
        difference = _part(against, name)
        change, (low, _) = _number(difference, "difference"), _interval(difference)
        change_words = f"{names[name]} {_points(change)}, 95 % from {_points(low)}"
        yield Check(
            "not worse", low >= -margin, change_words, f"surely no more than {100 * margin:g} points lower"
        )
        risen += change
    change_words = f"{names['q10']} and macro-F1 together {_points(risen)}"
    yield Check("not worse", risen >= 0, change_words, "no fall")
    before, after = champion.get("membrane_q2"), challenger.get("membrane_q2")
    if before is not None and after is None:
        yield Check("not worse", False, "no answer about membranes", f"one, as the champion's ({before:.3f})")
    yield from _membrane(_part(against, "membrane_q2"))
    yield from _locations(against, champion, challenger)


def _membrane(difference: dict[str, Any]) -> Iterator[Check]:
    if difference.get("difference") is None:
        return  # nothing in the holdout says whether it is bound to a membrane
    change, (_, high) = _number(difference, "difference"), _interval(difference)
    fallen = change < -MAX_MEMBRANE_DROP or (change < -SURE_MEMBRANE_DROP and high < 0)
    change_words = f"{NAMES['membrane_q2']} {_points(change)}, 95 % to {_points(high)}"
    yield Check("not worse", not fallen, change_words, "no clear fall")


def _locations(
    against: dict[str, Any], champion: dict[str, Any], challenger: dict[str, Any]
) -> Iterator[Check]:
    before, after = _part(champion, "locations"), _part(challenger, "locations")
    recalls = against.get("recall")
    if not isinstance(recalls, list) or list(before) != list(after) or len(recalls) != len(before):
        raise Incomplete("the recall by location is not that of the same locations")
    for location, compared in zip(before, recalls, strict=True):
        if _number(_part(before, location), "proteins") < MIN_PROTEINS_PER_LOCATION:
            continue
        old, new = (_number(_part(side, location), "recall") for side in (before, after))
        _, high = _interval(compared)
        fallen = old - new
        collapsed = (
            fallen > MAX_RECALL_DROP
            or (fallen > SURE_RECALL_DROP and high < 0)
            or (new == 0 and fallen > SURE_RECALL_DROP)
        )
        change_words = f"recall of {location} {old:.2f} → {new:.2f}"
        yield Check("no collapse", not collapsed, change_words, "kept")


def _calibration(challenger: dict[str, Any], champion: Any) -> Check:
    figure = _number(challenger, "ece")
    allowed = max(MAX_CALIBRATION_ERROR, _number(_part(challenger, "ece_by_chance"), "at_most"))
    if champion is not None:
        allowed = max(allowed, _number(champion, "ece"))
    return Check(
        "calibration", figure <= allowed, f"calibration error {figure:.3f}", f"at most {allowed:.3f}"
    )


def _reason(failed: list[Check], figures: dict[str, Any], evaluation: Any, names: dict[str, str]) -> str:
    """One line for people."""
    if failed:
        faults = [f"{check.check}: expected {check.expected}, found {check.found}" for check in failed[:3]]
        return "; ".join(faults) + (f"; and {len(failed) - 3} more" if len(failed) > 3 else "")
    if evaluation is None:
        return f"the first version: {names['q10']} {figures['q10']:.1%}, macro-F1 {figures['macro_f1']:.3f}"
    difference = evaluation["against"]["q10"]
    low, high = difference["interval"]
    return (
        f"{names['q10']} {difference['champion']:.1%} → {difference['challenger']:.1%} "
        f"({_points(low)} to {_points(high)}), macro-F1 "
        f"{evaluation['champion']['macro_f1']:.3f} → {evaluation['challenger']['macro_f1']:.3f}"
    )


def _warning(evaluation: Any) -> str:
    """Name the locations that the challenger had no protein of to learn from: it hardly names them."""
    with suppress(Incomplete):
        unlearned = _part(evaluation, "challenger").get("unlearned")
        if isinstance(unlearned, list) and unlearned:
            names = ", ".join(map(str, unlearned[:MAX_NAMED]))
            more = f" and {len(unlearned) - MAX_NAMED} more" if len(unlearned) > MAX_NAMED else ""
            return f"; it had no protein of {names}{more} to learn from"
    return ""


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"


def _part(whole: Any, name: str) -> dict[str, Any]:
    part = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(part, dict):
        raise Incomplete(f"there is no {name}")
    return part


def _number(whole: dict[str, Any], name: str) -> float:
    figure = whole.get(name)
    if isinstance(figure, bool) or not isinstance(figure, (int, float)) or not math.isfinite(figure):
        raise Incomplete(f"{name} is {figure!r}")
    return figure


def _interval(difference: Any) -> tuple[float, float]:
    interval = difference.get("interval") if isinstance(difference, dict) else None
    if not isinstance(interval, list) or len(interval) != 2:
        raise Incomplete(f"an interval is {interval!r}")
    ends = dict(zip(("low", "high"), interval, strict=True))
    low, high = _number(ends, "low"), _number(ends, "high")
    if low > high:
        raise Incomplete(f"an interval is {interval!r}")
    return low, high
