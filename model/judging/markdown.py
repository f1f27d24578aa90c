"""Figures as Markdown tables, and the captions of pictures: for card, report and documentation.

Needs the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MIN_PROTEINS_PER_LOCATION = 10  # of fewer, its figures say little and are not shown
LABELS = {
    "q10": "Q10 (accuracy)",
    "macro_f1": "Macro-F1",
    "mcc": "Matthews correlation (R_K)",
    "membrane_q2": "Membrane Q2",
    "ece": "Calibration error (ECE)",
    "membrane_ece": "Membrane calibration error",
    "log_loss": "Log loss",
}
COLUMNS = {"precision": "precision", "recall": "recall", "f1": "F1", "mcc": "MCC", "proteins": "proteins"}

# Of each picture that `plots.py` and `paired.py` draw, by its name.
CAPTIONS = {
    "differences": "Both models answered the same proteins, so what is hard for both cancels out. Right of "
    "the line the new model is better; pale: fewer than ten proteins.",
    "training": "How training went.",
    "locations": "Each location: the share of its proteins found (recall), and of answers naming it that are "
    "right (precision). In brackets the number of proteins.",
    "confusion": "Rows are true locations, columns what was named; numbers are proteins.",
    "reliability": "On the diagonal, answers are right as often as they say.",
    "abstention": "What is gained by leaving the least confident answers out.",
    "lengths": "The article's recipe cuts at 510 residues; hatched: all that it would cut.",
}


def figures_of(metrics: Mapping[str, Any]) -> str:
    """The tables of an artifact's `metrics`: all together, then of each split by location and by length."""
    if "split" not in metrics:
        return "Not measured yet."
    splits = {metrics["split"]: metrics}
    splits |= {name: metrics[name] for name in ("test", "validation", "all") if name in metrics}
    parts = [_sentence(splits), _headline(splits)]
    for name, figures in splits.items():
        parts += [f"By location ({name}):", _by_location(figures)]
        if "lengths" in figures:
            parts += [f"By length in residues ({name}):", _by_length(figures)]
    return "\n\n".join(parts)


def _sentence(splits: Mapping[str, Mapping[str, Any]]) -> str:
    meanings = {
        "test": "DeepLoc 1.0's test split, which chose nothing",
        "validation": "a validation split, on which settings were chosen",
        "all": "every protein of a labelled file",
    }
    listed = "; ".join(
        f"{name}: {figures['proteins']:,} proteins, {meanings[name]}" for name, figures in splits.items()
    )
    brackets = "In brackets the 95 % interval by bootstrap over proteins (1,000 resamples)."
    return f"Measured on {listed}." + (
        f" {brackets}" if any("intervals" in each for each in splits.values()) else ""
    )


def _headline(splits: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            label,
            *(
                shown(figures.get(name), figures.get("intervals", {}).get(name))
                for figures in splits.values()
            ),
        ]
        for name, label in LABELS.items()
        if any(figures.get(name) is not None for figures in splits.values())
    ]
    return table(["", *splits], rows)


def _by_location(figures: Mapping[str, Any]) -> str:
    if "locations" not in figures:  # an artifact from before there was more than recall
        return table(
            ["location", "recall"], [[name, shown(value)] for name, value in figures["recall"].items()]
        )
    rows = [[name, *by_location(of)] for name, of in figures["locations"].items()]
    return table(["location", *COLUMNS.values()], rows)


def by_location(figures: Mapping[str, Any]) -> list[str]:
    """The cells of a location: its figures, or dashes where they are of too few proteins."""
    enough = figures["proteins"] >= MIN_PROTEINS_PER_LOCATION
    return [
        shown(figures[key] if enough or key == "proteins" else None, figures.get(f"{key}_interval"))
        for key in COLUMNS
    ]


def _by_length(figures: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{band['from']:,} and more" if band["to"] is None else f"{band['from']:,}–{band['to']:,}",
            shown(band["q10"], band["q10_interval"]),
            shown(band["macro_f1"]),
            shown(band["membrane_q2"]),
            shown(band["proteins"]),
        ]
        for band in figures["lengths"]
    ]
    return table(["residues", "Q10", "macro-F1", "membrane Q2", "proteins"], rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: Any, interval: Sequence[float | None] | None = None) -> str:
    """A number as the card shows it, a count whole and a figure to four decimals."""
    if value is None:
        return "–"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
    return f"{text} ({interval[0]:.3f}–{interval[1]:.3f})" if interval and interval[0] is not None else text


def difference(comparison: Mapping[str, Any]) -> str:
    """A comparison of a figure as text: the change with its sign, and its interval."""
    if comparison["difference"] is None:
        return "–"
    low, high = comparison["interval"]
    between = "" if low is None else f" ({low:+.3f} to {high:+.3f})"
    return f"{comparison['difference']:+.4f}{between}".replace("-", "−")


def percent(share: float | None) -> str:
    """A share of 1 in percent."""
    return "none" if share is None else f"{share:.1%}".replace("%", " %")
