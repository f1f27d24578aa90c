"""Tables for the terminal: answers, uploads and labelled files.

Text that came from a file is shown through `safe`, and never read as markup.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from functions.domain.locations import BETWEEN, TEN, LabelSet
from functions.domain.rows import PROBABILITY, Row
from protloc.safe import safe

TABLE_ROWS = 60
PIPED_WIDTH, NARROW_WIDTH = 110, 90  # columns; a narrower terminal gets fewer of a table's
UNBROKEN = ("upload", "version")  # names to copy into the next command
SHORT_NAME = 12  # characters of an upload's name, which stand for all of it
STATUS_STYLES = {"complete": "green", "partial": "yellow", "failed": "red", "cancelled": "yellow"}

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
    table = new_table(*(columns[:3] if is_narrow else columns))
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
            add_row(table, *cells)
    out.print(table)
    if is_narrow:
        out.print("Membrane, length and remarks: in the results file, or on a wider terminal.\n")
    if records > TABLE_ROWS:
        out.print(f"… and {records - TABLE_ROWS:,} more rows in the results file.\n")
    predicted = statuses["predicted"]
    if predicted:
        summary = new_table("location", "proteins>", "share>")
        for location in labels.locations:
            if count := locations[location.name]:
                add_row(summary, location.display, f"{count:,}", f"{count / predicted:.0%}")
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
    """One answer in full: its location, how sure that is, and a bar for each location."""
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
    table = new_table(*(columns[:4] if is_narrow else columns))
    for view in uploads:
        cells = [
            view["upload"][:SHORT_NAME] if is_narrow else view["upload"],
            safe(view["key"].rsplit("/", 1)[-1], 40),
            Text(view["status"], STATUS_STYLES.get(view["status"], "")),
            *(f"{view[name]:,}" for name in ("records", "rejected", "failed")),
            str(view["created"])[:19].replace("T", " "),
        ]
        add_row(table, *(cells[:4] if is_narrow else cells))
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


def show_labels(files: Iterable[View]) -> None:
    table = new_table("file", "kind", "bytes>", "added")
    for each in files:
        modified = each["modified"][:16].replace("T", " ")
        add_row(table, safe(each["name"], 60), each["kind"], f"{each['bytes']:,}", modified)
    nothing = "No labelled proteins yet; `protloc labels add FILE` adds some."
    console().print(table if table.row_count else nothing)


def new_table(*columns: str) -> Table:
    """A table without rows; a column whose name ends with `>` stands to the right."""
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


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row of cells, none of which is read as markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
