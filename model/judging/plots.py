"""Pictures of the figures of `evaluate.judge` and of the course of a training, drawn from their JSON alone.

matplotlib is needed for pictures alone, here and in `paired.py`. Colours are those of Okabe and Ito, told
apart by every kind of colour vision, and no meaning rests on colour alone. The same figures give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

BLUE, ORANGE, GREEN, INK, MUTED, GRID = "#0072B2", "#D55E00", "#009E73", "#1f2933", "#6b7680", "#e3e7eb"
STYLE: Any = {  # Any: matplotlib types the keys one by one
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "protloc",
}
Figures = Mapping[str, Any]


__all__ = ["Figure", "draw", "save", "styled"]


def styled() -> AbstractContextManager[None]:
    """Within it, figures are drawn and written in this project's style."""
    return mpl.rc_context(STYLE)


def draw(judged: Figures, history: Sequence[Figures] = ()) -> dict[str, Figure]:
    """Every picture that there are figures for, by name."""
    with styled():
        pictures = {
            "locations": by_location(judged),
            "confusion": confusion(judged),
            "reliability": reliability(judged),
            "abstention": abstention(judged),
            "lengths": by_length(judged),
        }
        if history:
            pictures = {"training": training(history)} | pictures
    return pictures


def save(pictures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each picture as NAME.png; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in pictures]
    with styled():
        for path, picture in zip(paths, pictures.values(), strict=True):
            picture.savefig(path, dpi=130, metadata={"Software": None})
    return paths


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one plot; no state is kept outside of it."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _title(axes: Axes, title: str, judged: Figures) -> None:
    """Write a figure's title, and under it the proteins that it is drawn from."""
    axes.set_title(title, pad=24)
    sample = f"{judged['proteins']:,} proteins, {judged.get('split', 'all')}"
    axes.annotate(sample, (0, 1), (0, 8), "axes fraction", "offset points", color=MUTED)


def _in_percent(*axes: Axis) -> None:
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def _name(location: str) -> str:
    return location.replace(".", " ").replace("/", " / ")


def training(history: Sequence[Figures]) -> Figure:
    """Losses, and figures on validation, by epoch."""
    epochs = [each["epoch"] for each in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss_axes, figure_axes = figure.subplots(1, 2)
    loss_axes.set_title("Loss by epoch")
    figure_axes.set_title("Figures on validation by epoch")
    _line(loss_axes, epochs, history, "training_loss", "training", BLUE, "o")
    _line(loss_axes, epochs, history, "validation_loss", "validation", ORANGE, "s")
    _line(figure_axes, epochs, history, "q10", "Q10", BLUE, "o")
    _line(figure_axes, epochs, history, "macro_f1", "macro-F1", ORANGE, "s")
    _line(figure_axes, epochs, history, "membrane_q2", "membrane Q2", GREEN, "^")
    _in_percent(figure_axes.yaxis)
    for axes in (loss_axes, figure_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


def _line(
    axes: Axes,
    epochs: Sequence[int],
    history: Sequence[Figures],
    key: str,
    label: str,
    colour: str,
    mark: str,
) -> None:
    values = [np.nan if each.get(key) is None else each[key] for each in history]
    if np.isfinite(values).any():
        axes.plot(epochs, values, color=colour, marker=mark, markersize=4, label=label)


def by_location(judged: Figures) -> Figure:
    """Recall with its interval and precision of each location, the most frequent on top."""
    located = sorted(judged["locations"].items(), key=lambda item: item[1]["proteins"])
    figure, axes = sheet(7.5, 4.6)
    _title(axes, "Recall and precision by location", judged)
    for row, (_, figures) in enumerate(located):
        low, high = figures.get("recall_interval") or (None, None)
        if low is not None:
            axes.plot([low, high], [row, row], color=BLUE, alpha=0.35, linewidth=6, solid_capstyle="round")
    rows = np.arange(len(located))
    for key, colour, mark, label in (
        ("recall", BLUE, "o", "recall, with its 95 % interval"),
        ("precision", ORANGE, "D", "precision"),
    ):
        values = [np.nan if figures[key] is None else figures[key] for _, figures in located]
        axes.scatter(values, rows, color=colour, marker=mark, s=38, zorder=3, label=label)
    axes.set_yticks(rows, [f"{_name(name)}  ({figures['proteins']:,})" for name, figures in located])
    axes.set_xlim(-0.02, 1.02)
    _in_percent(axes.xaxis)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    return figure


def confusion(judged: Figures) -> Figure:
    """Counts, each true location's row shaded by the share that was named so."""
    counts = np.array(judged["confusion"], dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    names = [_name(name) for name in judged["locations"]]
    figure, axes = sheet(8.4, 7)
    _title(axes, "Where proteins of each location were placed", judged)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.5 else INK
            weight = "bold" if row == column else "normal"
            axes.text(
                column,
                row,
                f"{counts[row, column]:.0f}",
                ha="center",
                va="center",
                color=colour,
                weight=weight,
                size=9,
            )
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("named")
    axes.set_ylabel("true")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    _in_percent(bar.ax.yaxis)
    bar.set_label("share of the true location (row)")
    bar.outline.set_visible(False)
    return figure


def reliability(judged: Figures) -> Figure:
    """Plot the accuracy and the number of answers at each confidence."""
    bins = judged["reliability"]
    figure = Figure(figsize=(5.6, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _title(upper, "Accuracy by confidence", judged)
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, label="as often as it says")
    stated = np.array([each["confidence"] for each in bins])
    accuracy = np.array([each["accuracy"] for each in bins])
    proteins = np.array([each["proteins"] for each in bins])
    low, high = _wilson(accuracy, proteins)
    errors = np.clip([accuracy - low, high - accuracy], 0, None)
    label = "right, with its 95 % interval"
    upper.errorbar(stated, accuracy, errors, fmt="o", color=BLUE, ecolor="#7fb8d8", elinewidth=2, label=label)
    upper.set_ylabel("share right")
    upper.legend(loc="upper left")
    note = f"ECE {judged['ece']:.3f}"
    if judged.get("ece_by_chance"):
        note += f"\nby chance up to {judged['ece_by_chance']['at_most']:.3f}"
    upper.text(0.97, 0.05, note, ha="right", transform=upper.transAxes)
    starts, ends = [np.array([each[key] for each in bins]) for key in ("from", "to")]
    lower.bar(starts, proteins, width=ends - starts, align="edge", color=BLUE, edgecolor="white", linewidth=1)
    lower.set_ylabel("proteins")
    lower.set_xlabel("confidence")
    below = (judged.get("uncertain") or {}).get("below")
    if below is not None:
        for axes in (upper, lower):
            axes.axvline(below, color=ORANGE, linewidth=1.2)
        lower.text(below, 1, " certain →", color=ORANGE, va="top", transform=lower.get_xaxis_transform())
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    _in_percent(upper.yaxis, lower.xaxis)
    return figure


def abstention(judged: Figures) -> Figure:
    """Accuracy against the share answered."""
    points = judged["abstention"]["points"]
    share, accuracy = (np.array([each[key] for each in points]) for key in ("share", "accuracy"))
    figure, axes = sheet(6.4, 4.2)
    _title(axes, "Accuracy when the least sure stay unanswered", judged)
    low, high = _wilson(accuracy, np.maximum(1, np.round(share * judged["proteins"])))
    axes.fill_between(share, low, high, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    axes.plot(share, accuracy, color=BLUE, marker="o", markersize=3.5, label="accuracy of the answers given")
    uncertain = judged.get("uncertain") or {}
    if uncertain.get("certain_accuracy") is not None:
        at = (uncertain["certain_share"], uncertain["certain_accuracy"])
        axes.scatter(*at, s=90, color=ORANGE, marker="D", zorder=4)
        text = f"certain (confidence ≥ {uncertain['below']:.2f}):\n"
        text += f"{100 * at[1]:.0f} % right of {100 * at[0]:.0f} % answered"
        # The curve falls to the right: there is room on its lower left, or on the upper right.
        away: dict[str, Any] = {"xytext": (-12, -12), "ha": "right", "va": "top"}
        if at[0] < 0.45:
            away = {"xytext": (14, 12), "ha": "left", "va": "bottom"}
        axes.annotate(text, at, textcoords="offset points", color=ORANGE, weight="bold", **away)
    axes.annotate(
        f"all: {100 * accuracy[-1]:.1f} %",
        (share[-1], accuracy[-1]),
        (-6, -16),
        textcoords="offset points",
        ha="right",
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(min(0.5, float(low.min()) - 0.05), 1.01)
    axes.set_xlabel("share of proteins answered, the most confident first")
    axes.set_ylabel("share right")
    _in_percent(axes.xaxis, axes.yaxis)
    axes.legend(loc="lower left")
    return figure


def by_length(judged: Figures) -> Figure:
    """Q10 by length, with intervals."""
    bands = [band for band in judged["lengths"] if band["proteins"]]
    names = [
        (f"{band['from']:,}–{band['to']:,}" if band["to"] else f"{band['from']:,}\nand more")
        + f"\n({band['proteins']:,})"
        for band in bands
    ]
    figure, axes = sheet(7, 4)
    _title(axes, "Q10 by length", judged)
    accuracy = np.array([band["q10"] for band in bands])
    low, high = np.array([band["q10_interval"] for band in bands], dtype=float).T
    # Summaries over other bands are set apart by a hatch.
    summary = ["//" if band["to"] is None and band["from"] < bands[-2]["from"] else "" for band in bands]
    axes.bar(range(len(bands)), accuracy, 0.62, color="#7fb8d8", edgecolor=BLUE, hatch=summary)
    errors = np.clip([accuracy - low, high - accuracy], 0, None)
    axes.errorbar(range(len(bands)), accuracy, errors, fmt="none", ecolor=INK, elinewidth=1.5, capsize=4)
    axes.axhline(judged["q10"], color=ORANGE, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.text(
        len(bands) - 0.5,
        judged["q10"],
        f"all: {100 * judged['q10']:.1f} %",
        color=ORANGE,
        va="bottom",
        ha="right",
    )
    axes.set_xticks(range(len(bands)), names)
    axes.set_xlabel("residues (proteins)")
    axes.set_ylim(0, 1)
    _in_percent(axes.yaxis)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
    return figure


def _wilson(share: Any, proteins: Any) -> tuple[Any, Any]:
    """Wilson's 95 % interval of a share, which also serves for few proteins and for shares of 0 and 1."""
    z = 1.96
    middle = (share + z**2 / (2 * proteins)) / (1 + z**2 / proteins)
    reach = z / (1 + z**2 / proteins) * np.sqrt(share * (1 - share) / proteins + (z / (2 * proteins)) ** 2)
    return middle - reach, middle + reach
