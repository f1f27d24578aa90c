"""Rows as an Excel workbook: one sheet with a frozen header and a filter, and every text as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]

from functions.domain.rows import Row
from protloc.errors import UploadProblem

MAX_ROWS = 1_048_576  # of a sheet, the header included: Excel's specifications and limits
MAX_CELL_CHARACTERS = 32_767
OPTIONS = {
    "constant_memory": True,  # a row is written when the next one begins
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # in XML 1.0


def write_workbook(rows: Iterable[Row], columns: Sequence[str], target: Path) -> None:
    """Write rows into a workbook. Raises UploadProblem where a sheet cannot hold them all."""
    with xlsxwriter.Workbook(str(target), OPTIONS) as book:
        sheet = book.add_worksheet("predictions")
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, columns)
        number = 0
        for number, row in enumerate(rows, 1):
            if number == MAX_ROWS:
                raise UploadProblem(f"a workbook holds {MAX_ROWS - 1:,} rows; ask for another format")
            sheet.write_row(number, 0, [_cell(row[column]) for column in columns])
        sheet.autofilter(0, 0, number, len(columns) - 1)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    return _UNWRITABLE.sub("\ufffd", value)[:MAX_CELL_CHARACTERS] if isinstance(value, str) else value
