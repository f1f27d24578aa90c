"""Two versions compared: paired where one was judged against the other, side by side with a warning if not."""

from copy import deepcopy
from typing import Any

import pytest

from functions.domain.locations import LOCATION_NAMES
from protloc.cli.versions import show_comparison, show_models
from protloc.stack.comparison import compared

View = dict[str, Any]


def view(version: str, **metrics: Any) -> View:
    return {"version": version, "metrics": metrics}


def figures(version: str, q10: float) -> View:
    locations = {name: {"recall": q10, "proteins": 50} for name in LOCATION_NAMES}
    return {"version": version, "q10": q10, "macro_f1": q10 - 0.1, "ece": 0.02, "locations": locations}


def difference(before: float, after: float) -> View:
    change = after - before
    return {
        "champion": before,
        "challenger": after,
        "difference": change,
        "interval": [change - 0.01, change + 0.02],
    }


def evaluation(champion: str | None, challenger: str, holdout: str = "held") -> View:
    """The output of an Evaluate job in which the challenger is better by five points."""
    against = {
        "q10": difference(0.70, 0.75),
        "macro_f1": difference(0.60, 0.65),
        "ece": difference(0.03, 0.02),
        "recall": [difference(0.7, 0.75) for _ in LOCATION_NAMES],
    }
    return {
        "holdout": {"sha256": holdout, "proteins": 500},
        "challenger": figures(challenger, 0.75),
        "champion": figures(champion, 0.70) if champion else None,
        "against": against if champion else None,
    }


def test_differences_are_second_minus_first_whichever_was_the_champion() -> None:
    old, new = view("old"), view("new")
    forward = compared(old, None, new, evaluation("old", "new"))
    backward = compared(new, evaluation("old", "new"), old, None)
    assert forward["paired"] and backward["paired"]
    assert forward["figures"]["q10"]["values"] == [0.70, 0.75]
    assert forward["figures"]["q10"]["difference"] == pytest.approx(0.05)
    assert forward["figures"]["q10"]["interval"] == pytest.approx([0.04, 0.07])
    assert backward["figures"]["q10"]["values"] == [0.75, 0.70]
    assert backward["figures"]["q10"]["difference"] == pytest.approx(-0.05)
    assert backward["figures"]["q10"]["interval"] == pytest.approx([-0.07, -0.04])
    assert set(forward["recall"]) == set(LOCATION_NAMES)
    assert forward["proteins"] == 500 and forward["note"] is None


def test_what_cannot_be_measured_stays_unknown_when_turned() -> None:
    unknown = evaluation("old", "new")
    nothing = {"champion": None, "challenger": 0.5, "difference": None, "interval": [None, None]}
    unknown["against"]["recall"][0] = nothing
    recall = compared(view("new"), unknown, view("old"), None)["recall"][LOCATION_NAMES[0]]
    assert recall == {"values": [0.5, None], "difference": None, "interval": [None, None]}


@pytest.mark.parametrize(
    ("of_first", "of_second", "proteins", "note"),
    [
        (evaluation("x", "a"), evaluation("x", "b"), 500, "same proteins"),
        (evaluation("x", "a"), evaluation("y", "b", "other"), None, "other proteins"),
        (None, evaluation("x", "b"), None, "The figures of a are those its artifact states"),
        (evaluation(None, "a"), None, None, "The figures of b are those its artifact states"),
        (None, None, None, "The figures of a and b"),
    ],
)
def test_versions_that_were_never_compared_stand_side_by_side_with_a_warning(
    of_first: View | None, of_second: View | None, proteins: int | None, note: str
) -> None:
    first, second = view("a", q10=0.5, recall={"Nucleus": 0.4}), view("b", q10=0.6)
    before = deepcopy((of_first, of_second))
    comparison = compared(first, of_first, second, of_second)
    assert not comparison["paired"] and comparison["proteins"] == proteins
    assert note in comparison["note"]
    values = comparison["figures"]["q10"]
    assert values["values"] == [0.75 if of_first else 0.5, 0.75 if of_second else 0.6]
    assert values["difference"] is None
    assert comparison["recall"]["Nucleus"]["values"] == [
        0.75 if of_first else 0.4,
        0.75 if of_second else None,
    ]
    assert before == (of_first, of_second)


def test_the_tables_show_both_and_how_sure_the_difference_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(compared(view("old"), None, view("new"), evaluation("old", "new")))
    output = capsys.readouterr().out
    assert "old" in output and "new" in output
    assert "+0.050" in output and "+0.040 to +0.070" in output
    assert "the same 500 proteins" in output
    show_comparison(compared(view("a"), None, view("b\x1b[2J"), None))
    output = capsys.readouterr().out
    assert "difference" not in output and "\x1b[2J" not in output


def test_figures_of_few_proteins_are_dashes_and_those_learned_from_stand_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = evaluation("old", "new")
    for side in ("champion", "challenger"):
        few[side] |= {"proteins": 29, "intervals": {"q10": [0.6, 0.8]}}
        few[side]["locations"]["Peroxisome"]["proteins"] = 1
    few["learned"] = {
        "proteins": 23,
        "champion": {"q10": 1.0, "learned": 23},
        "challenger": {"q10": 0.9, "learned": 0},
    }
    show_comparison(compared(view("old"), None, view("new"), few))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    (q10,) = (line for line in lines if line.startswith("Q10"))
    assert q10.split() == ["Q10", "–", "–"]
    (peroxisome,) = (line for line in lines if line.startswith("Peroxisome"))
    assert peroxisome.split() == ["Peroxisome", "1", "–", "–"]
    text = " ".join(" ".join(lines).split())
    assert (
        "Apart from these: 23 more, of which old had learned from 23. On them Q10 is 1.000 and 0.900" in text
    )
    assert "the same 29 proteins" in text


def test_a_figure_stands_beside_its_number_and_interval(capsys: pytest.CaptureFixture[str]) -> None:
    sure = evaluation("old", "new")
    for side, interval in (("champion", [0.66, 0.74]), ("challenger", [0.71, 0.79])):
        sure[side] |= {"proteins": 500, "intervals": {"q10": interval}}
    show_comparison(compared(view("old"), None, view("new"), sure))
    assert "0.700 (0.660–0.740)" in (output := capsys.readouterr().out) and "0.750 (0.710–0.790)" in output
    metrics = {"proteins": 2773, "q10": 0.712, "macro_f1": 0.6, "intervals": {"q10": [0.695, 0.729]}}
    few = {"proteins": 29, "q10": 0.966, "macro_f1": 0.9}
    views = [
        view(name, **each)
        | {"state": "standby", "active": False, "created": None, "proteins": None, "reason": None}
        for name, each in (("sure", metrics), ("few", few))
    ]
    show_models({"models": views})
    output = capsys.readouterr().out
    assert "2,773" in output and "0.712 (0.695–0.729)" in output
    assert "29" in output and "0.966" not in output
