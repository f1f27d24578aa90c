"""The page's data: what happened to an upload, its rows in a short form, and their sums, as one JSON object.

    {"format": 1, "rows": [...] or null, "about": {...}, "model": {...} or null, "remarks": [...],
     "summary": {...}, "locations": [...], "several": true or false,
     "thresholds": [[display, number], ...]}

The object is written in one pass over the rows, in pieces, and holds at most `most` rows: of a longer upload
it holds the sums alone. A row is `[accession, header, offset, length, remarks, …]`, where `remarks` are
places in the list of that name, and then, of a predicted one, `[ten probabilities], membrane,
residues_read, uncertain, relative, [locations that hold the true one nine times in ten]`, or else `status,
reason`. A predicted row of a model that gives a protein several locations ends with
`[those that are named], confidence`. Probabilities are ten-thousandths, null where the model says none. All
that follows from them (location, confidence, second) the page works out as `prediction.py` does.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from functions.domain.locations import BETWEEN, TEN, LabelSet, labels_of
from functions.domain.remarks import Doubts
from functions.domain.rows import Row, probability_columns

FORMAT = 1

REPORT_ROWS = 50_000
"""A report of more would take a browser longer to read than a person waits."""

LIVE_ROWS = 250_000
"""Rows that the live page takes into the browser's memory."""

BINS = 20
"""Of the histogram of confidence, from 0 to 1."""

MAX_KINDS = 200
"""Kinds of remarks and reasons that are counted apart, so that no file makes the sums long."""

ABOUT = (
    *("upload", "key", "bytes", "status", "reason", "model_version", "attempts", "created", "finished"),
    *("records", "predicted", "rejected", "failed", "residues", "results"),
)

_VARYING = re.compile(r"'[^']*'|[0-9][0-9,.]*|^line [0-9]+: ")


class Data:
    """Writes the data of one upload, from `about` as the API shows it."""

    def __init__(
        self,
        about: Mapping[str, Any],
        model: Mapping[str, Any] | None,
        most: int,
    ) -> None:
        self._labels = labels_of(about.get("labels"))
        self._about = {name: about.get(name) for name in ABOUT}
        self._warnings: list[str] = about.get("warnings") or []
        self._model = _figures(model)
        self._with_rows = (about.get("records") or 0) <= most
        self._remarks: dict[str, int] = {}
        self._doubts = Doubts()
        self._sums = Sums(self._labels)

    def pieces(self, rows: Iterable[Row]) -> Iterator[bytes]:
        """Yield the object: one piece for each row, which may be empty, and one before and after them all."""
        yield b'{"format":%d,"rows":%b' % (FORMAT, b"[\n" if self._with_rows else b"null")
        separator = b""
        for row in rows:
            self._doubts.count(row)
            self._sums.count(row)
            if self._with_rows:
                yield separator + dumps(self._short(row))
                separator = b",\n"
            else:
                yield b""
        warnings = dict.fromkeys([*self._warnings, *self._doubts.warnings()])
        rest = {
            "about": {**self._about, "warnings": list(warnings)},
            "model": self._model,
            "remarks": list(self._remarks),
            "summary": self._sums.found(),
            "locations": [
                [each.name, each.display, each.go, each.uniprot] for each in self._labels.locations
            ],
            "several": self._labels.several,
            "thresholds": [
                [each.display, each.threshold]
                for each in self._labels.locations
                if each.threshold is not None
            ],
        }
        yield (b"]," if self._with_rows else b",") + dumps(rest)[1:]

    def _short(self, row: Row) -> list[Any]:
        remarks = [self._remarks.setdefault(remark, len(self._remarks)) for remark in row["remarks"] or ()]
        short = [row["accession"], row["header"], row["offset"], row["length"], remarks]
        if row["status"] != "predicted":
            return [*short, row["status"], row["reason"]]
        names = self._labels.names
        probabilities = [round(row[column] * 10_000) for column in probability_columns(self._labels)]
        uncertain = None if row["uncertain"] is None else int(row["uncertain"])
        membrane = None if row["membrane"] is None else round(row["membrane"] * 10_000)
        places = None if row["locations_90"] is None else [*map(names.index, row["locations_90"])]
        short += [probabilities, membrane, row["residues_read"], uncertain, row["relative"], places]
        if self._labels.several:
            named = [*map(names.index, row["location"].split(BETWEEN))]
            short += [named, round(row["confidence"] * 10_000)]
        return short


FIGURES = ("split", "proteins", "q10", "membrane_q2", "intervals", "locations", "uncertain")
"""Of a model's metrics, those that the page shows."""


def _figures(model: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if model is None:
        return None
    metrics = model.get("metrics") or {}
    figures = {name: metrics[name] for name in FIGURES if name in metrics}
    return {"version": model["version"], "created": model.get("created"), "metrics": _finite(figures)}


def _finite(value: Any) -> Any:
    """The value with None for what JSON has no number for; an artifact may say of itself what it likes."""
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Sums:
    """The sums of rows that the page draws; `summary.js` makes the same of the rows that a filter leaves."""

    def __init__(self, labels: LabelSet = TEN) -> None:
        self._statuses = Counter[str]()
        self._locations = {name: [0, 0, 0] for name in labels.names}
        self._confidence = [[0, 0] for _ in range(BINS)]
        self._remarks = Counter[str]()
        self._reasons = Counter[str]()
        self._doubtful = self._truncated = 0

    def count(self, row: Row) -> None:
        """Count one row."""
        self._statuses[row["status"]] += 1
        if row["status"] != "predicted":
            _count_kind(self._reasons, row["reason"] or "")
            return
        doubtful = bool(row["uncertain"])
        for name in row["location"].split(BETWEEN):
            of_location = self._locations[name]
            of_location[0] += 1
            of_location[1] += doubtful
            of_location[2] += (row["membrane"] or 0.0) >= 0.5
        self._confidence[min(int(row["confidence"] * BINS), BINS - 1)][doubtful] += 1
        self._doubtful += doubtful
        self._truncated += bool(row["truncated"])
        for remark in row["remarks"] or ():
            _count_kind(self._remarks, remark)

    def found(self) -> dict[str, Any]:
        """The sums: of each location `[proteins, doubtful, bound to a membrane]`, of each bin of confidence
        `[certain, doubtful]`. A protein in several locations is counted in each.
        """
        return {
            "predicted": self._statuses["predicted"],
            "rejected": self._statuses["rejected"],
            "failed": self._statuses["failed"],
            "doubtful": self._doubtful,
            "truncated": self._truncated,
            "locations": self._locations,
            "confidence": self._confidence,
            "remarks": self._remarks.most_common(),
            "reasons": self._reasons.most_common(),
        }


def kind(text: str) -> str:
    """A remark or reason without what is particular to its row, so that those alike are counted together.

    >>> kind("line 12: '1' at residue 3 is no amino acid")
    '… at residue … is no amino acid'
    """
    return _VARYING.sub(lambda match: "" if match[0].startswith("line ") else "…", text)


def _count_kind(kinds: Counter[str], text: str) -> None:
    name = kind(text)
    kinds[name if name in kinds or len(kinds) < MAX_KINDS else "others"] += 1


def dumps(value: Any) -> bytes:
    """JSON that may stand inside a document: nothing in it ends a script or begins a tag."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode("ascii")
