"""Tables for the terminal: answers, uploads, model versions and labelled files.

Text that came from a file is shown through `safe`, and never read as markup.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from functions.domain.locations import BETWEEN, TEN, LabelSet
from functions.domain.rows import PROBABILITY, Row
from protloc.safe import safe

if TYPE_CHECKING:
    from protloc.estimate.offers import Offer
    from protloc.estimate.reading import Contents

TABLE_ROWS = 60
PIPED_WIDTH, NARROW_WIDTH = 110, 90  # columns; a narrower terminal gets fewer of a table's
ENOUGH, SPOKEN_OF = 50, 10  # proteins, and those of a location, below which figures say little
UNBROKEN = ("upload", "version")  # names to copy into the next command
SHORT_NAME = 12  # characters of an upload's name, which stand for all of it
STATUS_STYLES = {"complete": "green", "partial": "yellow", "failed": "red", "cancelled": "yellow"}
STATE_STYLES = {"in_service": "green", "rejected": "yellow", "failed": "red", "retired": "dim"}
FIGURE_NAMES = {
    "q10": "Q10",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "membrane_q2": "membrane Q2",
    "ece": "calibration error (less is better)",
}

View = dict[str, Any]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # as of any other output, where rich would end the program with 1


def console() -> Console:
    """Stdout, wide enough for a table also when it is no terminal."""
    width = max(shutil.get_terminal_size((PIPED_WIDTH, 24)).columns, 60)
    return _Console(highlight=False, markup=False, emoji=False, width=width)


def display_of(location: str, labels: LabelSet = TEN) -> str:
    """A location as people call it, or several; one of a model that is not at hand by its own name.

    >>> display_of("Cytoplasm|Golgi.apparatus")
    'Cytoplasm, Golgi apparatus'
    """
    names = location.split(BETWEEN)
    return ", ".join(labels.by_name[name].display if name in labels.by_name else name for name in names)


def show_answers(rows: Iterable[Row], records: int, labels: LabelSet = TEN) -> None:
    """The first rows as a table, and how many proteins belong where; `labels` are the model's."""
    out = console()
    is_narrow = out.width < NARROW_WIDTH
    columns = ("accession", "location", "confidence>", "membrane>", "length>", "remark")
    table = _table(*(columns[:3] if is_narrow else columns))
    locations: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    membrane, asked_of = 0, 0  # proteins of which the model says whether they are bound to one
    for number, row in enumerate(rows):
        statuses[row["status"]] += 1
        if row["status"] == "predicted":
            locations.update(row["location"].split(BETWEEN))
            if row["membrane"] is not None:
                asked_of += 1
                membrane += row["membrane"] >= 0.5
        if number < TABLE_ROWS:
            cells = _answer(row, labels)
            if is_narrow:
                cells = [cells[0], cells[1] if row["status"] == "predicted" else cells[5], cells[2]]
            _add(table, *cells)
    out.print(table)
    if is_narrow:
        out.print("Membrane, length and remarks: in the results file, or on a wider terminal.\n")
    if records > TABLE_ROWS:
        out.print(f"… and {records - TABLE_ROWS:,} more rows in the results file.\n")
    predicted = statuses["predicted"]
    if predicted:
        summary = _table("location", "proteins>", "share>")
        for location in labels.locations:
            if count := locations[location.name]:
                _add(summary, location.display, f"{count:,}", f"{count / predicted:.0%}")
        out.print(summary)
        if labels.several:
            out.print("A protein in several locations is counted in each.")
        if asked_of:
            out.print(f"{membrane:,} of {asked_of:,} are more likely than not bound to a membrane.")
        else:
            out.print("This model says nothing about membranes.")


def _answer(row: Row, labels: LabelSet) -> list[str | Text]:
    accession = safe(row["accession"] or "(no name)", 24)
    length = f"{row['length']:,}"
    if row["status"] != "predicted":
        style = "yellow" if row["status"] == "rejected" else "red"
        remark = Text(f"{row['status']}: {safe(row['reason'] or '', 70)}", style)
        return [accession, "–", "", "", length, remark]
    remarks = [safe(remark, 110) for remark in row["remarks"]]
    if row["truncated"]:
        remarks.append(f"{row['residues_read']:,} residues read")
    location = display_of(row["location"], labels)
    if row["uncertain"] and row["second"]:
        location += f" (or {display_of(row['second'], labels)})"
    membrane = "–" if row["membrane"] is None else f"{row['membrane']:.2f}"
    numbers = [f"{row['confidence']:.2f}", membrane, length]
    return [accession, location, *numbers, "; ".join(remarks)]


def show_protein(row: Row) -> None:
    """One answer in full: what is said, how sure that is, and a bar for each location."""
    out = console()
    out.print(Text(safe(row["header"] or row["accession"], 200), "bold"))
    if row["status"] != "predicted":
        out.print(Text(f"  {row['status']}: {safe(row['reason'] or '', 200)}\n"))
        return
    doubt = ", doubtful" if row["uncertain"] else ""
    membrane = "" if row["membrane"] is None else f"; bound to a membrane {row['membrane']:.0%}"
    out.print(
        f"  {display_of(row['location'])} {row['confidence']:.0%}{doubt}{membrane}; "
        f"{row['length']:,} residues; model {safe(row['model_version'] or '')}"
    )
    for remark in row["remarks"]:
        out.print(Text(f"  {safe(remark, 200)}"))
    names = [column.removeprefix(PROBABILITY) for column in row if column.startswith(PROBABILITY)]
    shares = {display_of(name): row[f"{PROBABILITY}{name}"] for name in names}
    for location, share in sorted(shares.items(), key=lambda each: -each[1]):
        out.print(Text(f"  {location:<24}{share:>5.0%} {'█' * round(20 * share)}".replace("%", " %")))
    out.print()


def show_uploads(uploads: Iterable[View]) -> None:
    out = console()
    is_narrow = out.width < NARROW_WIDTH
    columns = ("upload", "file", "status", "records>", "rejected>", "failed>", "created")
    table = _table(*(columns[:4] if is_narrow else columns))
    for view in uploads:
        cells = [
            view["upload"][:SHORT_NAME] if is_narrow else view["upload"],
            safe(view["key"].rsplit("/", 1)[-1], 40),
            Text(view["status"], STATUS_STYLES.get(view["status"], "")),
            *(f"{view[name]:,}" for name in ("records", "rejected", "failed")),
            str(view["created"])[:19].replace("T", " "),
        ]
        _add(table, *(cells[:4] if is_narrow else cells))
    out.print(table if table.row_count else "No uploads yet; `protloc predict FILE` makes one.")


def show_upload(view: View) -> None:
    """Everything worth knowing of one upload, a line each."""
    lines: list[tuple[str, str | Text]] = [
        ("upload", view["upload"]),
        ("file", safe(view["key"].rsplit("/", 1)[-1])),
        ("stored as", safe(f"s3://{view['bucket']}/{view['key']}") + f" (version {view['version_id']})"),
        ("bytes", f"{view['bytes']:,}"),
        ("status", Text(view["status"], STATUS_STYLES.get(view["status"], ""))),
        ("reason", safe(view["reason"] or "")),
        ("model version", view["model_version"] or ""),
        *((name, f"{view[name]:,}") for name in ("records", "predicted", "rejected", "failed", "residues")),
        ("attempts", str(view["attempts"]) if view["attempts"] > 1 else ""),
        ("created", view["created"]),
        ("finished", view["finished"] or ""),
        *(("warning", safe(warning)) for warning in view.get("warnings", [])),
        *((f"results ({name})", uri) for name, uri in (view["results"] or {}).items()),
    ]
    out = console()
    for name, value in lines:
        if str(value):
            out.print(Text(f"{name:>17}  ").append(value), soft_wrap=True)


def show_models(answer: View) -> None:
    out = console()
    is_narrow = out.width < NARROW_WIDTH
    columns = ("", "version", "state", "Q10>", "macro F1>", "created", "trained on>", "judged on>")
    table = _table(*(columns[:4] if is_narrow else columns))
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
        _add(table, *(cells[:4] if is_narrow else cells))
    if not table.row_count:
        out.print("There is no model version yet; `protloc models add ARTIFACT` puts one into service.")
        return
    out.print(table)
    out.print("* answers new uploads. Figures are those it was judged by, or else those its artifact states.")
    out.print(f"In brackets the 95 % interval; a dash where fewer than {ENOUGH} proteins tell.")
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
    table = _table("figure", *columns)
    for name, each in comparison["figures"].items():
        cells = _compared(each, comparison["paired"], less_is_better=name == "ece")
        behind = zip(each["values"], comparison["intervals"][name], support["figures"], strict=True)
        sure: list[str | Text] = [_sure(*one) for one in behind]
        enough = all(number is None or number >= ENOUGH for number in support["figures"])
        _add(table, FIGURE_NAMES[name], *sure, *(cells[2:] if enough else [""] * len(cells[2:])))
    _add(table, "proteins", *(f"{number:,}" if number is not None else "" for number in support["figures"]))
    out.print(table)
    recall = _table("recall of", "proteins>", *columns)
    for name, each in comparison["recall"].items():
        numbers = support["recall"][name]
        cells = _compared(each, comparison["paired"])
        if any(number is not None and number < SPOKEN_OF for number in numbers):
            cells = ["–", "–", *("" for _ in cells[2:])]
        _add(recall, display_of(name), _numbers(numbers), *cells)
    out.print(recall)
    out.print(f"A dash: fewer than {ENOUGH} proteins, or {SPOKEN_OF} of a location, which say little.")
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


def show_labels(files: Iterable[View]) -> None:
    table = _table("file", "kind", "bytes>", "added")
    for each in files:
        modified = each["modified"][:16].replace("T", " ")
        _add(table, safe(each["name"], 60), each["kind"], f"{each['bytes']:,}", modified)
    nothing = "No labelled proteins yet; `protloc labels add FILE` adds some."
    console().print(table if table.row_count else nothing)


def show_estimate(name: str, contents: Contents, offers: Iterable[Offer]) -> None:
    work = contents.work
    lines = [
        f"{safe(name)}: {contents.records:,} records; "
        f"{work.proteins:,} to be predicted, {work.residues:,} residues"
    ]
    if contents.rejected:
        lines.append(f"{contents.rejected:,} would be rejected:")
        for number, accession, reason in contents.first:
            lines.append(f"  line {number}  {safe(accession, 40)}  {safe(reason)}")
        if contents.rejected > len(contents.first):
            lines.append(f"  and {contents.rejected - len(contents.first):,} more")
    lines += [f"warning: {safe(each)}" for each in contents.warnings]
    output = console()
    for line in lines:
        output.print(Text(line))
    table = _table("model", "where", "minutes>", "dollars>")
    for offer in offers:
        minutes = f"{offer.run.minutes:,.1f}" if offer.run.minutes >= 0.1 else "< 0.1"
        _add(table, offer.model, offer.where, minutes, f"{offer.total:,.2f}" if offer.dollars else "–")
    if table.row_count:
        output.print(table)
        output.print(Text("Computed, not measured on AWS; us-east-1, from an endpoint without an instance."))


def _numbers(numbers: list[int | None]) -> str:
    """The number of proteins behind two figures: once where it is the same."""
    known = [f"{number:,}" for number in dict.fromkeys(numbers) if number is not None]
    return " / ".join(known)


def _sure(value: Any, interval: Any, proteins: Any) -> str:
    """A figure with its 95 % interval; a dash where too few proteins tell it.

    >>> _sure(0.727, [0.71, 0.743], 2773), _sure(0.966, [0.9, 1.0], 29), _sure(0.7, None, None)
    ('0.727 (0.710–0.743)', '–', '0.700')
    """
    if isinstance(proteins, int | float) and proteins < ENOUGH:
        return "–"
    between = f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval and interval[0] is not None else ""
    return _figure(value) + (between if _figure(value) else "")


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.endswith(">")
        table.add_column(
            column.rstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=column in UNBROKEN,
        )
    return table


def _add(table: Table, *cells: str | Text) -> None:
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
