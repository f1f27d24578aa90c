"""The places that a model tells apart: DeepLoc's ten unless a run names others.

A file of labels is a table, tab-separated, whose first line names its columns: `name`, as it stands in
labelled files and answers; `display`, for people; `go`, Gene Ontology terms with commas between. The last two
may be left out or empty. The order of its lines is that of every vector of probabilities.

    name      display           go
    Nucleus   Cell nucleus      GO:0005634
    Elsewhere
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from model.proteins.labelled import LOCATIONS

MOST = 256  # labels; what a person can still tell apart, and far more than any published set
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+() -]{0,59}")
TERM = re.compile(r"GO:\d{7}")


class LabelsError(ValueError):
    """A file of labels cannot be used; names the line."""


@dataclass(frozen=True)
class Label:
    """One place."""

    name: str
    display: str
    go: tuple[str, ...] = ()

    def described(self) -> dict[str, object]:
        """The label as JSON values."""
        return asdict(self) | {"go": list(self.go)}


def read_labels(path: Path) -> tuple[Label, ...]:
    """The labels of a file, or of the only file of a SageMaker channel's folder. Raises LabelsError."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if len(files) != 1:
            raise LabelsError(f"expected one file of labels in {path}, found {len(files)}")
        path = files[0]
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
        if "name" not in (table.fieldnames or ()):
            raise LabelsError(f"{path.name} line 1: expected the columns name, display, go; no name")
        labels = [_label(row, f"{path.name} line {table.line_num}") for row in table]
    names = [label.name for label in labels]
    if not 2 <= len(labels) <= MOST:
        raise LabelsError(f"expected 2 to {MOST} labels in {path.name}, found {len(labels)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LabelsError(f"expected each label once in {path.name}, found {', '.join(twice)} again")
    return tuple(labels)


def _label(row: dict[str, str], where: str) -> Label:
    name, display = (row.get("name") or "").strip(), (row.get("display") or "").strip()
    if not NAME.fullmatch(name):
        raise LabelsError(
            f"{where}: expected a name of at most 60 letters, digits and . _ / + ( ) -, found {name[:60]!r}"
        )
    if not display.isprintable():
        raise LabelsError(f"{where}: expected a display name of printable characters")
    terms = tuple(term.strip() for term in (row.get("go") or "").split(",") if term.strip())
    if wrong := [term for term in terms if not TERM.fullmatch(term)]:
        raise LabelsError(f"{where}: expected terms such as GO:0005634, found {wrong[0][:40]!r}")
    return Label(name, display or name, terms)


def names_of(labels: Sequence[Label]) -> tuple[str, ...]:
    """Their names, in their order."""
    return tuple(label.name for label in labels)


TEN = tuple(Label(name, name.replace(".", " ")) for name in LOCATIONS)
"""DeepLoc's, whose terms the stack knows (`functions/domain/locations.py`)."""
