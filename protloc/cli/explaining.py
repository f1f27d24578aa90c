"""Draws an explanation in the terminal: the residues, and under each how much the answer hangs on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from functions.domain.locations import BY_NAME
from protloc.cli.display import console
from protloc.safe import safe

View = dict[str, Any]

RESIDUES_A_LINE = 50
BLOCKS = " ▁▂▃▄▅▆▇█"
SPREAD = 0.5  # of the probability: an answer that keeps more of it hangs on no few residues


def show_explanation(view: View, header: str) -> None:
    """One explanation: its lines with a marked residue, the first and the last, and how far to believe it."""
    out = console()
    out.print(Text(safe(header, 200), "bold"))
    place = BY_NAME[view["location"]].display
    out.print(f"  {place} {_percent(view['probability'])}; model {safe(view['model_version'])}\n")
    for line in drawn(view["sequence"], view["importance"], view["marked"]):
        out.print(Text(line), soft_wrap=True)
    for sentence in verdict(view):
        out.print(sentence)


def drawn(sequence: str, importance: Sequence[float | None], marked: Sequence[int]) -> Iterator[str]:
    """Yield two lines for each stretch of the sequence worth showing, and `…` for those between.

    >>> print("\\n".join(drawn("MKV", [2.0, None, 1.0], [1])))
         1 MKV
           █·▄
    """
    tallest = max((each for each in importance if each is not None), default=0.0)
    skipped = False
    for start in range(0, len(sequence), RESIDUES_A_LINE):
        end = min(start + RESIDUES_A_LINE, len(sequence))
        if start and end < len(sequence) and not any(start < place <= end for place in marked):
            skipped = True
            continue
        if skipped:
            yield "       …"
            skipped = False
        yield f"{start + 1:>6} {sequence[start:end]}"
        yield " " * 7 + "".join(_block(each, tallest) for each in importance[start:end])


def _block(value: float | None, tallest: float) -> str:
    if value is None:
        return "·"
    return BLOCKS[round((len(BLOCKS) - 1) * max(value, 0.0) / tallest)] if tallest > 0 else BLOCKS[0]


def verdict(view: View) -> list[str]:
    """The sentences that explain the bars, and how far to believe them."""
    whole, without, others = (view[name] for name in ("probability", "without_marked", "without_others"))
    sentences = [
        "",
        "The higher a bar, the more of the answer hangs on the residue; · was not read.",
        f"Without the {len(view['marked'])} that matter most {_percent(without)} would be left of "
        f"{_percent(whole)}, without as many others {_percent(others)}.",
    ]
    if without > SPREAD * whole:
        sentences.append("So this answer hangs on no few residues: on the whole protein, or on a relative.")
    return [*sentences, "It marks where the answer comes from, not why."]


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"
