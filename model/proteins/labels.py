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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.proteins.labelled import LOCATIONS
from model.serving.artifact import DESCRIPTION, Artifact

MAX_LABELS = 256  # labels; a person can still tell so many apart, and it is far more than any published set
# Of one label: a stack keeps all labels of a model beside every upload, in an item of at most 400 KB.
MAX_CHARACTERS, MAX_TERMS = 100, 10
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
    if not 2 <= len(labels) <= MAX_LABELS:
        raise LabelsError(f"expected 2 to {MAX_LABELS} labels in {path.name}, found {len(labels)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LabelsError(f"expected each label once in {path.name}, found {', '.join(twice)} again")
    return tuple(labels)


def _label(row: dict[str, str], where: str) -> Label:
    name, display = (row.get("name") or "").strip(), (row.get("display") or "").strip()
    terms = tuple(term.strip() for term in (row.get("go") or "").split(",") if term.strip())
    return _checked(Label(name, display or name, terms), where)


def _checked(label: Label, where: str) -> Label:
    if not NAME.fullmatch(label.name):
        raise LabelsError(
            f"{where}: expected a name of at most 60 letters, digits and . _ / + ( ) -, "
            f"found {label.name[:60]!r}"
        )
    if not label.display.isprintable() or len(label.display) > MAX_CHARACTERS:
        raise LabelsError(
            f"{where}: expected a display name of printable characters, at most {MAX_CHARACTERS}"
        )
    if wrong := [term for term in label.go if not TERM.fullmatch(term)]:
        raise LabelsError(f"{where}: expected terms such as GO:0005634, found {wrong[0][:40]!r}")
    if len(label.go) > MAX_TERMS:
        raise LabelsError(f"{where}: expected at most {MAX_TERMS} terms, found {len(label.go)}")
    return label


def names_of(labels: Sequence[Label]) -> tuple[str, ...]:
    """Their names, in their order."""
    return tuple(label.name for label in labels)


TEN = tuple(Label(name, name.replace(".", " ")) for name in LOCATIONS)
"""DeepLoc's, whose terms the stack knows (`functions/domain/locations.py`)."""


@dataclass(frozen=True)
class LabelSet:
    """The labels that are learned, in the order of the probabilities."""

    labels: tuple[Label, ...] = TEN
    several: bool = False  # a protein may have more than one

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> LabelSet:
        """The labels that `sources.json` or a manifest names; DeepLoc's ten where it names none.

        Raises LabelsError for labels that no file of labels could hold.
        """
        labels = description.get("labels")
        if labels is None:
            return DEEPLOC
        read = [Label(str(each["name"]), str(each["display"]), tuple(each["go"])) for each in labels]
        return cls(tuple(_checked(label, "labels") for label in read), bool(description.get("several")))

    @property
    def names(self) -> tuple[str, ...]:
        return names_of(self.labels)

    def described(self) -> dict[str, Any]:
        """The same as `read` reads it."""
        if self == DEEPLOC:
            return {}
        return {"labels": [label.described() for label in self.labels], "several": self.several}

    def table(self) -> bytes:
        """The file of these labels, which `read_labels` reads."""
        rows = [(each.name, each.display, ",".join(each.go)) for each in self.labels]
        return "".join("\t".join(row) + "\n" for row in [("name", "display", "go"), *rows]).encode()


DEEPLOC = LabelSet()


def own_labels(artifact: Artifact) -> list[dict[str, object]]:
    """The labels of a model as a stack takes them, each with its threshold where a protein may have several.

    Empty for one of DeepLoc's ten, of which a protein has one: those a stack knows by itself. Raises
    LabelsError for labels that no file of labels could hold.
    """
    described = [
        Label(str(each["name"]), str(each["display"]), tuple(each["go"])) for each in artifact.labels
    ]
    labels = [_checked(label, DESCRIPTION) for label in described]
    if labels and (names_of(labels) != artifact.locations or len(labels) > MAX_LABELS):
        raise LabelsError(f"{DESCRIPTION}: expected a label for each location, at most {MAX_LABELS}")
    if artifact.thresholds is None:
        return [label.described() for label in labels]
    if len(artifact.thresholds) != len(artifact.locations):
        raise LabelsError(f"{DESCRIPTION}: expected a threshold for each location")
    pairs = zip(labels or TEN, artifact.thresholds, strict=True)
    return [label.described() | {"threshold": float(threshold)} for label, threshold in pairs]
