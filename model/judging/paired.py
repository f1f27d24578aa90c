"""The picture of two models on the same proteins: paired differences with their intervals.

Drawn from the result of `bootstrap.compare`. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from model.judging.markdown import LABELS, MIN_PROTEINS_PER_LOCATION
from model.judging.plots import BLUE, GREEN, INK, MUTED, ORANGE, Figure, styled

# Figures that are shares, of which more is better: errors and losses would point the other way.
SHARES = ("q10", "macro_f1", "mcc", "membrane_q2")
Figures = Mapping[str, Any]


def differences(against: Figures, locations: Mapping[str, Figures]) -> Figure:
    """Challenger - champion: headline figures above, the recall of each location below."""
    named = [(LABELS[name], against[name]) for name in SHARES]
    located = sorted(
        zip(locations.items(), against["recall"], strict=True), key=lambda pair: -pair[0][1]["proteins"]
    )
    recalls = [
        (f"{name.replace('.', ' ').replace('/', ' / ')}  ({figures['proteins']:,})", difference)
        for (name, figures), difference in located
    ]
    few = [figures["proteins"] < MIN_PROTEINS_PER_LOCATION for (_, figures), _ in located]
    with styled():
        figure = Figure(figsize=(7.5, 6.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=(len(named) + 1, len(recalls) + 1))
        upper.set_title("Challenger minus champion, on the same proteins")
        _forest(upper, named, [False] * len(named))
        lower.set_title("Recall of each location (proteins)")
        _forest(lower, recalls, few)
        lower.set_xlabel("difference in percentage points, with its 95 % interval")
        for mark, colour, label in (
            ("^", GREEN, "better (95 %)"),
            ("v", ORANGE, "worse (95 %)"),
            ("o", BLUE, "too close to tell"),
        ):
            lower.plot([], [], mark, color=colour, label=label)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _forest(axes: Axes, rows: Sequence[tuple[str, Figures]], few: Sequence[bool]) -> None:
    """One line a row, the first on top; rows of `few` proteins are pale."""
    axes.axvline(0, color=INK, linewidth=1)
    for row, ((_, comparison), pale) in enumerate(zip(rows, few, strict=True)):
        if comparison["difference"] is None:
            axes.text(0, row, "  not measurable", color=MUTED, va="center", size=8.5)
            continue
        low, high = comparison["interval"]
        sure = low is not None and (low > 0 or high < 0)
        mark, colour = ("o", BLUE) if not sure else ("^", GREEN) if low > 0 else ("v", ORANGE)
        alpha = 0.4 if pale else 1.0
        if low is not None:
            axes.plot([low, high], [row, row], color=colour, alpha=0.35 * alpha, linewidth=6)
        axes.plot(comparison["difference"], row, mark, color=colour, alpha=alpha, markersize=7)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    widest = max(0.01, *(abs(end) for end in axes.get_xlim()))
    axes.set_xlim(-widest, widest)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda share, _: f"{100 * share:+.3g}".replace("-", "−") if share else "0")
    )
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
