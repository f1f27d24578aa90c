"""Result rows: one for every record of an upload, and how they are written as text.

A row is a plain dictionary with the keys of COLUMNS plus `line`, the lines before the record within its
shard; it travels as JSON Lines inside result parts, and becomes a line of the exports once the lines
of the shards before it are known. A model with labels of its own has a column of probabilities for each of
them; where it gives a protein several locations, `location` has them all, as `Cytoplasm|Nucleus`.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol

from functions.domain.locations import LOCATION_NAMES, TEN, LabelSet
from functions.domain.prediction import Answer, Prediction, second_of
from functions.domain.protein import Protein, Rejection
from functions.domain.remarks import doubts

Row = dict[str, Any]


class Pinned(Protocol):
    """The values beside the answers that decide rows: an upload pins them for all its records."""

    @property
    def model_version(self) -> str: ...

    @property
    def labels(self) -> LabelSet: ...

    @property
    def organism(self) -> str:
        """The kingdom that the sender named; empty where none was named."""


PROBABILITY = "p:"
"""Begins the name of each column of probabilities."""

PROBABILITY_COLUMNS: tuple[str, ...] = tuple(f"{PROBABILITY}{name}" for name in LOCATION_NAMES)

_BEFORE: tuple[str, ...] = (
    "accession",
    "status",
    "location",
    "confidence",
    "uncertain",
    "second",
    "second_confidence",
    "relative",
    "locations_90",
    "membrane",
    "length",
    "residues_read",
    "truncated",
    "model_version",
    "reason",
    "remarks",
    "go",
)
_AFTER = ("header", "offset")

COLUMNS: tuple[str, ...] = (*_BEFORE, *PROBABILITY_COLUMNS, *_AFTER)
"""The columns of a model that tells apart DeepLoc's ten."""

DERIVED = ("go", "second", "second_confidence")
"""Columns that follow from others, and are kept nowhere but where rows travel whole."""

_PROBABILITIES = {"confidence", "second_confidence", "membrane"}
_FORMULA = re.compile(r"""(?:^|(?<=[,;]))(?=[\s"]*[=+\-@＝＋－＠])""")
"""The beginning of a formula, also after a comma or semicolon, which split cells in some countries."""


@cache
def columns_of(labels: LabelSet) -> tuple[str, ...]:
    """The columns of a model's rows."""
    return (*_BEFORE, *probability_columns(labels), *_AFTER)


@cache
def probability_columns(labels: LabelSet) -> tuple[str, ...]:
    """The columns of probabilities, in the order of the labels."""
    return tuple(f"{PROBABILITY}{name}" for name in labels.names)


def predicted_row(protein: Protein, answer: Answer, upload: Pinned) -> Row:
    """The row of a protein the model was asked about."""
    labels = upload.labels
    row = _blank_row(protein, len(protein.sequence), labels)
    row |= {"model_version": upload.model_version, "remarks": list(protein.remarks)}
    if not isinstance(answer, Prediction):
        return row | {"status": "failed", "reason": answer.reason}
    second, second_confidence = answer.runner_up
    return row | {
        "status": "predicted",
        "location": answer.location,
        "confidence": answer.confidence,
        "uncertain": answer.uncertain,
        "second": second,
        "second_confidence": second_confidence,
        "relative": answer.relative,
        "locations_90": None if answer.locations_90 is None else list(answer.locations_90),
        "membrane": answer.membrane,
        "residues_read": answer.residues_read,
        "truncated": answer.truncated,
        "remarks": [*protein.remarks, *doubts(answer, protein.header, upload.organism)],
        "go": labels.go_of(answer.places),
        **dict(zip(probability_columns(labels), answer.probabilities, strict=True)),
    }


def rejected_row(rejection: Rejection, labels: LabelSet = TEN) -> Row:
    row = _blank_row(rejection, rejection.length, labels)
    return row | {"status": "rejected", "reason": rejection.reason}


def _blank_row(record: Protein | Rejection, length: int, labels: LabelSet) -> Row:
    row: Row = dict.fromkeys(columns_of(labels))
    row |= {
        "accession": record.accession,
        "length": length,
        "header": record.header,
        "offset": record.offset,
        "line": record.line,
        "remarks": [],
    }
    return row


def current(row: Row, has_remarks: bool) -> Row:
    """The row about DeepLoc's ten with every column of today, also if it was kept by an older release.

    `has_remarks` says whether it was kept with remarks: before there were any, the reason of a predicted row
    named the changes on reading.
    """
    if not has_remarks:
        remarks = [row["reason"]] if row["status"] == "predicted" and row["reason"] else []
        row |= {"uncertain": None, "remarks": remarks}
        if row["status"] == "predicted":
            row["reason"] = None
    row |= dict.fromkeys(DERIVED)
    if row["location"]:
        row["go"] = TEN.go_of((row["location"],))
        probabilities = [row[column] for column in PROBABILITY_COLUMNS]
        row["second"], row["second_confidence"] = second_of(probabilities)
    return row


def exported(row: Row, first_line: int | None) -> Row:
    """The row as exported: a reason for a missing answer names the record's line, counted from 1.

    `first_line` is the number of lines before the row's shard, None where a part before it was not read.
    """
    row = dict(row)
    line = row.pop("line")
    if row["status"] != "predicted" and first_line is not None:
        row["reason"] = f"line {first_line + line + 1}: {row['reason']}"
    return row


def dump_part(rows: Iterable[Row]) -> bytes:
    """Rows as the JSON Lines of a result part."""
    return b"".join(_json_line(row) for row in rows)


def load_part(body: bytes) -> list[Row]:
    """The rows of a part, of this release or of an older one."""
    rows = (json.loads(line) for line in body.splitlines())
    return [row if "locations_90" in row else _of_today(row) for row in rows]


def _of_today(row: Row) -> Row:
    """A row of an older release, whose columns were fewer."""
    return current(dict.fromkeys(COLUMNS) | row, "remarks" in row)


def _json_line(row: Row) -> bytes:
    """ASCII, so that no character of a header ends a line for any reader or steers a terminal."""
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def cell(column: str, value: Any, *, defused: bool = True) -> str:
    """A value as the text of one cell of a table.

    Characters that print nothing (control, bidirectional, of no width), which could break the line or make it
    show something else, become spaces. Defused for a spreadsheet, text that it would run as a formula gets an
    apostrophe; else an accession stays as its database writes it, so that a join finds it.

    >>> cell("accession", "=1+1"), cell("accession", "-1_orf2", defused=False)
    ("'=1+1", '-1_orf2')
    >>> cell("confidence", 0.5), cell("truncated", None)
    ('0.5000', '')
    """
    if value is None:
        return ""
    if isinstance(value, list):
        value = "; ".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if column in _PROBABILITIES or column.startswith(PROBABILITY):
        return f"{value:.4f}"
    if not isinstance(value, str):
        return str(value)
    text = _printable(value)
    return _FORMULA.sub("'", text) if defused else text


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _tsv(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[bytes]:
    """For programs: one record a line, accessions as databases write them."""
    return _tab_separated(rows, columns, defused=False)


def _spreadsheet(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[bytes]:
    """TSV of which a spreadsheet runs nothing."""
    return _tab_separated(rows, columns, defused=True)


def _tab_separated(rows: Iterable[Row], columns: Sequence[str], *, defused: bool) -> Iterator[bytes]:
    """Yield a header and a line for each row; cells that hold a quotation mark are quoted, and no others.

    pandas, R and spreadsheets take a mark for the beginning of a quoted cell, perhaps of many lines; they
    read it back from a quoted cell. `cut` and awk know no quoting, and find every cell in its place.
    """
    yield ("\t".join(columns) + "\n").encode()
    for row in rows:
        line = "\t".join(cell(column, row[column], defused=defused) for column in columns)
        if '"' in line:
            line = "\t".join(map(_quoted, line.split("\t")))
        yield (line + "\n").encode("utf-8")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if '"' in text else text


def _csv(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(column, row[column]) for column in columns])
        yield buffer.getvalue().encode("utf-8")
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode("utf-8")


def _jsonl(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[bytes]:
    for row in rows:
        yield _json_line({column: row[column] for column in columns})


class Format(Protocol):
    """Takes exported rows in file order and their columns, and yields the file's bytes, a piece a row."""

    def __call__(self, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[bytes]: ...


FORMATS: dict[str, Format] = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl}

SPREADSHEET = _spreadsheet
"""TSV for a spreadsheet, as `FORMATS` has the others."""
