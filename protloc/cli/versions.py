"""Tables of model versions for the terminal: all there are, and two compared."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from protloc.cli.display import NARROW_WIDTH, View, add_row, console, display_of, new_table
from protloc.safe import safe

# Fewer proteins, in all or of a location, say little: their figures are not shown.
MIN_PROTEINS, MIN_PROTEINS_PER_LOCATION = 50, 10
STATE_STYLES = {"in_service": "green", "rejected": "yellow", "failed": "red", "retired": "dim"}
FIGURE_NAMES = {
    "q10": "Q10",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "membrane_q2": "membrane Q2",
    "ece": "calibration error (less is better)",
}


def show_models(answer: View) -> None:
    out = console()
    is_narrow = out.width < NARROW_WIDTH
    columns = ("", "version", "state", "Q10>", "macro F1>", "created", "trained on>", "judged on>")
    table = new_table(*(columns[:4] if is_narrow else columns))
    for view in answer["models"]:
        metrics = view["metrics"]
        cells = [
            "*" if view["active"] else "",
            safe(view["version"]),
            Text(view["state"], STATE_STYLES.get(view["state"], "")),
            *(
                _sure(metrics.get(name), metrics.get("intervals", {}).get(name), metrics.get("proteins"))
                for name in ("q10", "macro_f1")
            ),
            str(view["created"] or "")[:16].replace("T", " "),
            f"{view['proteins']:,}" if view["proteins"] is not None else "",
            f"{metrics['proteins']:,}" if isinstance(metrics.get("proteins"), int) else "",
        ]
        add_row(table, *(cells[:4] if is_narrow else cells))
    if not table.row_count:
        out.print("There is no model version yet; `protloc models add ARTIFACT` puts one into service.")
        return
    out.print(table)
    out.print("* answers new uploads. Figures are those it was judged by, or else those its artifact states.")
    out.print(f"In brackets the 95 % interval; a dash where fewer than {MIN_PROTEINS} proteins tell.")
    for view in answer["models"]:
        if view["reason"]:
            out.print(Text(f"\n{safe(view['version'])}: {safe(view['reason'])}"))


def show_comparison(comparison: View) -> None:
    """The figures of two versions, and how far the second differs from the first."""
    first, second = (safe(version) for version in comparison["versions"])
    out = console()
    columns = (
        f"{first}>",
        f"{second}>",
        *(("difference>", "95 % interval>") if comparison["paired"] else ()),
    )
    support = comparison["support"]
    table = new_table("figure", *columns)
    for name, each in comparison["figures"].items():
        cells = _compared(each, comparison["paired"], less_is_better=name == "ece")
        behind = zip(each["values"], comparison["intervals"][name], support["figures"], strict=True)
        sure: list[str | Text] = [_sure(*one) for one in behind]
        enough = all(number is None or number >= MIN_PROTEINS for number in support["figures"])
        add_row(table, FIGURE_NAMES[name], *sure, *(cells[2:] if enough else [""] * len(cells[2:])))
    proteins = (f"{number:,}" if number is not None else "" for number in support["figures"])
    add_row(table, "proteins", *proteins)
    out.print(table)
    recall = new_table("recall of", "proteins>", *columns)
    for name, each in comparison["recall"].items():
        numbers = support["recall"][name]
        cells = _compared(each, comparison["paired"])
        if any(number is not None and number < MIN_PROTEINS_PER_LOCATION for number in numbers):
            cells = ["–", "–", *("" for _ in cells[2:])]
        add_row(recall, display_of(name), _numbers(numbers), *cells)
    out.print(recall)
    fewer = f"{MIN_PROTEINS} proteins, or {MIN_PROTEINS_PER_LOCATION} of a location"
    out.print(f"A dash: fewer than {fewer}, which say little.")
    if comparison["proteins"] is not None:
        out.print(f"Both answered the same {comparison['proteins']:,} proteins of a holdout.")
    if learned := comparison["learned"]:
        of_them = [
            f"{version} had learned from {number:,}"
            for version, number in zip((first, second), learned["of_them"], strict=True)
            if number
        ]
        values = " and ".join(map(_figure, learned["q10"]))
        out.print(
            f"Apart from these: {learned['proteins']:,} more, of which {', '.join(of_them)}. On them Q10 is "
            f"{values}, which says nothing about other proteins."
        )
    if comparison["note"]:
        out.print(safe(comparison["note"]))


def _compared(each: View, paired: bool, less_is_better: bool = False) -> list[str | Text]:
    cells: list[str | Text] = [_figure(value) for value in each["values"]]
    if not paired:
        return cells
    low, high = each["interval"]
    if each["difference"] is None or low is None:
        return [*cells, "", ""]
    better, worse = (high < 0, low > 0) if less_is_better else (low > 0, high < 0)
    style = "green" if better else "red" if worse else ""
    return [*cells, f"{each['difference']:+.3f}", Text(f"{low:+.3f} to {high:+.3f}", style)]


def _numbers(numbers: list[int | None]) -> str:
    """The number of proteins behind two figures: once where it is the same."""
    known = [f"{number:,}" for number in dict.fromkeys(numbers) if number is not None]
    return " / ".join(known)


def _sure(value: Any, interval: Any, proteins: Any) -> str:
    """A figure with its 95 % interval; a dash where too few proteins tell it.

    >>> _sure(0.727, [0.71, 0.743], 2773), _sure(0.966, [0.9, 1.0], 29), _sure(0.7, None, None)
    ('0.727 (0.710–0.743)', '–', '0.700')
    """
    if isinstance(proteins, int | float) and proteins < MIN_PROTEINS:
        return "–"
    between = f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval and interval[0] is not None else ""
    return _figure(value) + (between if _figure(value) else "")


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""
