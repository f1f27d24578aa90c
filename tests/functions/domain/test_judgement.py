"""The judgement: it promotes a model that is shown to be good enough, and no other."""

import json
from collections.abc import Callable
from copy import deepcopy
from math import nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.judgement import Floors, judge
from functions.domain.locations import LOCATION_NAMES
from tests.functions.evaluations import ASKED, MANIFEST, difference, evaluation

EVENTS = Path(__file__).parents[3] / "events"
FLOORS = Floors(0.5, 0.3)
Change = Callable[[dict[str, Any]], Any]


def verdict(judged: Any, manifest: Any = MANIFEST, **asked: str) -> dict[str, Any]:
    return judge(judged, manifest, FLOORS, **{**ASKED, **asked})


def test_a_better_model_is_promoted_and_the_reason_has_its_figures() -> None:
    judged = verdict(evaluation())
    assert judged["promote"]
    assert judged["reason"] == "Q10 70.0% → 71.0% (+0.0 points to +2.0 points), macro-F1 0.600 → 0.610"
    assert judged["figures"]["q10"] == 0.71
    assert {check["check"] for check in judged["checks"]} == {
        *("complete", "holdout", "enough", "floor", "not worse", "no collapse", "calibration")
    }
    assert json.loads(json.dumps(judged)) == judged


def test_what_the_jobs_write_is_judged() -> None:
    """The samples are made by the real jobs (`tests/wire/test_retraining.py`), of a model that is better."""
    judged, manifest = (
        json.loads((EVENTS / f"{name}.json").read_text()) for name in ("evaluation", "manifest")
    )
    asked = {
        side: judged[who]["version"] for side, who in (("version", "challenger"), ("champion", "champion"))
    }
    result = judge(judged, manifest, FLOORS, snapshot=manifest["snapshot"], **asked)
    assert result["promote"], result["reason"]


def test_the_first_model_needs_no_champion_to_beat() -> None:
    alone = evaluation() | {"champion": None, "against": None}
    assert verdict(alone, champion="")["promote"]
    assert not verdict(alone)["promote"]
    assert not verdict(evaluation(), champion="")["promote"]
    assert not verdict(evaluation(after=0.4) | {"champion": None, "against": None}, champion="")["promote"]


def recall(location: int, before: float, after: float, spread: float) -> Change:
    def change(judged: dict[str, Any]) -> None:
        name = LOCATION_NAMES[location]
        judged["champion"]["locations"][name]["recall"] = before
        judged["challenger"]["locations"][name]["recall"] = after
        judged["against"]["recall"][location] = difference(before, after, spread)

    return change


def put(*path: Any) -> Change:
    *names, last, value = path

    def change(judged: dict[str, Any]) -> None:
        for name in names:
            judged = judged[name]
        judged[last] = value

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "another version": (put("challenger", "version", "other"), "complete"),
    "another champion": (put("champion", "version", "other"), "complete"),
    "no champion": (put("champion", None), "complete"),
    "no comparison": (put("against", None), "complete"),
    "no figure": (lambda judged: judged["challenger"].pop("macro_f1"), "complete"),
    "nothing for a figure": (put("challenger", "q10", None), "complete"),
    "text for a figure": (put("challenger", "q10", "0.99"), "complete"),
    "true for a figure": (put("challenger", "q10", True), "complete"),
    "not a number": (put("challenger", "ece", nan), "complete"),
    "not a number between them": (put("against", "q10", "difference", nan), "complete"),
    "half an interval": (put("against", "q10", "interval", [0.1]), "complete"),
    "no end of an interval": (put("against", "q10", "interval", [None, 0.1]), "complete"),
    "other locations": (lambda judged: judged["challenger"]["locations"].popitem(), "complete"),
    "recalls of fewer": (lambda judged: judged["against"]["recall"].pop(), "complete"),
    "a foreign snapshot": (put("snapshot", "other"), "holdout"),
    "a foreign holdout": (put("holdout", "sha256", "other"), "holdout"),
    "part of the holdout": (put("holdout", "proteins", 499), "holdout"),
    "other training proteins": (put("challenger", "training_sha256", "other"), "holdout"),
    "a worse model": (put("against", "q10", difference(0.72, 0.71)), "not worse"),
    "one that may be much worse": (put("against", "q10", difference(0.7, 0.71, 0.05)), "not worse"),
    "one surely worse at membranes": (put("against", "membrane_q2", difference(0.88, 0.84)), "not worse"),
    "one much worse at them": (put("against", "membrane_q2", difference(0.88, 0.77, 0.2)), "not worse"),
    "a location lost": (recall(4, 0.30, 0.0, 0.4), "no collapse"),
    "a location surely much worse": (recall(4, 0.60, 0.40, 0.1), "no collapse"),
    "a location very much worse": (recall(4, 0.80, 0.45, 0.4), "no collapse"),
    "one unsure of itself": (put("challenger", "ece", 0.08), "calibration"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_keeps_the_champion_before(name: str) -> None:
    change, check = REFUSED[name]
    judged = deepcopy(evaluation())
    change(judged)
    result = verdict(judged)
    assert not result["promote"]
    assert check in {each["check"] for each in result["checks"] if not each["passed"]}, result
    assert result["reason"].count("expected") >= 1


def test_a_location_of_few_proteins_or_slightly_worse_is_no_collapse() -> None:
    for change in (recall(4, 0.6, 0.5, 0.05), recall(4, 0.6, 0.4, 0.3)):
        judged = deepcopy(evaluation())
        change(judged)
        assert verdict(judged)["promote"]
    judged = deepcopy(evaluation())
    recall(4, 0.8, 0.0, 0.1)(judged)
    judged["champion"]["locations"][LOCATION_NAMES[4]]["proteins"] = 9
    assert verdict(judged)["promote"]


def test_few_membrane_labels_or_none_are_no_reason_against_it() -> None:
    for value in (difference(0.88, 0.84, 0.2), {"difference": None, "interval": [None, None]}):
        judged = deepcopy(evaluation())
        put("against", "membrane_q2", value)(judged)
        for side in ("champion", "challenger"):
            put(side, "membrane_q2", value["difference"] and 0.88)(judged)
        assert verdict(judged)["promote"]


def test_a_model_that_says_nothing_of_membranes_does_not_follow_one_that_does() -> None:
    judged = deepcopy(evaluation())
    put("against", "membrane_q2", {"difference": None, "interval": [None, None]})(judged)
    put("challenger", "membrane_q2", None)(judged)
    assert not verdict(judged)["promote"] and "no answer about membranes" in verdict(judged)["reason"]


def test_chance_and_the_champion_excuse_a_calibration_error() -> None:
    for side in (("challenger", "ece_by_chance", "at_most"), ("champion", "ece")):
        judged = deepcopy(evaluation())
        put("challenger", "ece", 0.08)(judged)
        put(*side, 0.09)(judged)
        assert verdict(judged)["promote"]


def test_too_few_proteins_judge_nothing() -> None:
    manifest = deepcopy(MANIFEST)
    put("splits", "holdout", "proteins", 49)(manifest)
    judged = evaluation()
    put("holdout", "proteins", 49)(judged)
    assert "49 proteins" in verdict(judged, manifest)["reason"]


@pytest.mark.parametrize("broken", [None, [], "text", 3, {}, {"challenger": []}])
def test_what_is_no_evaluation_or_no_manifest_promotes_nothing(broken: Any) -> None:
    assert not verdict(broken)["promote"]
    assert not verdict(evaluation(), broken)["promote"]


paths = st.sampled_from(
    [
        ("challenger",),
        ("champion",),
        ("against",),
        ("holdout",),
        ("challenger", "q10"),
        ("challenger", "locations"),
        ("champion", "locations"),
        ("against", "q10"),
        ("against", "macro_f1"),
        ("against", "recall"),
        ("against", "q10", "interval"),
        ("challenger", "ece_by_chance"),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(paths, values)
def test_no_nonsense_in_an_evaluation_promotes_or_raises(path: tuple[str, ...], value: Any) -> None:
    judged = deepcopy(evaluation())
    put(*path, value)(judged)
    result = verdict(judged)
    if result["promote"]:  # a number that is better still
        assert (path == ("challenger", "q10") and value >= 0.5) or (
            path[-1] == "interval" and value[0] <= value[1]
        )


def with_learned(proteins: int, known: int) -> dict[str, Any]:
    """An evaluation on a holdout of which one of the models has learned a part."""
    judged = evaluation()
    for side in ("challenger", "champion"):
        judged[side] |= {"proteins": proteins - known, "intervals": {"q10": [0.66, 0.74]}}
    judged["holdout"]["proteins"] = proteins
    judged["learned"] = {"proteins": known, "challenger": {"q10": 0.8}, "champion": {"q10": 1.0}}
    return judged


def test_proteins_that_a_model_has_learned_do_not_make_a_holdout_large_enough() -> None:
    manifest = deepcopy(MANIFEST)
    manifest["splits"]["holdout"]["proteins"] = 72  # type: ignore[index]
    refused = verdict(with_learned(72, 23), manifest)
    assert not refused["promote"]
    assert refused["reason"] == "enough: expected at least 50, found 49 proteins held out"
    assert verdict(with_learned(72, 22), manifest)["promote"]


def test_a_champion_that_answered_other_proteins_is_no_measure() -> None:
    judged = with_learned(500, 100)
    judged["champion"]["proteins"] = 500
    assert "proteins that the champion answered 500" in verdict(judged)["reason"]


def test_figures_are_kept_with_their_number_and_intervals() -> None:
    kept = verdict(with_learned(500, 100))["metrics"]
    assert (kept["split"], kept["proteins"], kept["q10"]) == ("holdout", 400, 0.71)
    assert kept["intervals"] == {"q10": [0.66, 0.74]}
    assert kept["learned"] == {"proteins": 100, "q10": 0.8}
    broken = with_learned(500, 100)
    broken["challenger"]["intervals"] = {"q10": [nan, "x"], "ece": None}
    assert verdict(broken)["metrics"]["intervals"] == {}


def test_locations_that_nothing_was_learned_of_are_named_with_the_verdict() -> None:
    warned = evaluation()
    warned["challenger"]["unlearned"] = ["Peroxisome"]
    assert verdict(warned)["reason"].endswith("; it had no protein of Peroxisome to learn from")
    warned["challenger"]["unlearned"] = [f"L{number}" for number in range(9)]
    assert verdict(warned)["reason"].endswith("no protein of L0, L1, L2, L3, L4 and 4 more to learn from")
    assert "to learn from" not in verdict(evaluation())["reason"]


def test_labels_of_the_challenger_are_passed_on_and_their_accuracy_is_not_called_q10() -> None:
    own = evaluation()
    own["labels"] = [{"name": "A", "display": "a", "go": [], "threshold": 0.4}]
    judged = verdict(own)
    assert json.loads(judged["labels"]) == own["labels"]
    assert judged["promote"] and judged["reason"].startswith("accuracy 70.0% → 71.0%")
    assert not [check for check in judged["checks"] if "Q10" in check["found"]]
    assert verdict(evaluation())["labels"] == ""


@pytest.mark.parametrize("labels", ["ten", [1], [{"name": "A"}], {"name": "A"}])
def test_labels_that_are_none_keep_the_champion(labels: Any) -> None:
    judged = verdict(evaluation() | {"labels": labels})
    assert not judged["promote"] and judged["labels"] == ""
    assert judged["reason"].startswith("complete: expected every figure, finite, found the labels are")
