"""Writes `report.html`: the page with an upload's data inside, which opens anywhere and asks nobody."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from functions.domain.rows import Row
from functions.page.data import REPORT_ROWS, Data
from functions.page.document import document

CONTENT_TYPE = "text/html; charset=utf-8"


def report(
    rows: Iterable[Row],
    about: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
) -> Iterator[bytes]:
    """Yield the report in pieces: one for each row, and a few more.

    `about` is the upload as the API shows it, `model` the model version. Above
    `REPORT_ROWS` rows the report holds the sums alone, and says where all rows are.
    """
    page = document(live=False)
    yield page.before
    yield from Data(about, model, REPORT_ROWS).pieces(rows)
    yield page.after
