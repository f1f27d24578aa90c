"""Evaluations of a challenger beside its champion, as an Evaluate job writes them, and a snapshot's manifest."""

from typing import Any

from functions.domain.locations import LOCATION_NAMES

ASKED = {"version": "new", "champion": "old", "snapshot": "snap"}


def figures(version: str, q10: float) -> dict[str, Any]:
    return {
        "version": version,
        "training_sha256": "learned",
        "q10": q10,
        "macro_f1": q10 - 0.1,
        "mcc": q10 - 0.05,
        "membrane_q2": 0.88,
        "ece": 0.02,
        "ece_by_chance": {"mean": 0.015, "at_most": 0.03},
        "locations": {name: {"recall": q10, "proteins": 50} for name in LOCATION_NAMES},
    }


def difference(before: float, after: float, spread: float = 0.01) -> dict[str, Any]:
    change = after - before
    return {
        "champion": before,
        "challenger": after,
        "difference": change,
        "interval": [change - spread, change + spread],
    }


def evaluation(before: float = 0.70, after: float = 0.71) -> dict[str, Any]:
    """Two models whose Q10 is so high, and everything else with it."""
    return {
        "schema": 1,
        "snapshot": "snap",
        "holdout": {"sha256": "held", "proteins": 500},
        "challenger": figures("new", after),
        "champion": figures("old", before),
        "against": {
            "q10": difference(before, after),
            "macro_f1": difference(before - 0.1, after - 0.1, 0.02),
            "membrane_q2": difference(0.88, 0.88),
            "recall": [difference(before, after, 0.05) for _ in LOCATION_NAMES],
        },
        "golden": [],
    }


MANIFEST = {
    "snapshot": "snap",
    "splits": {
        "training": {"sha256": "learned", "proteins": 4000},
        "holdout": {"sha256": "held", "proteins": 500},
    },
}
