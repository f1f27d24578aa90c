"""Cases out of issue trackers of tools that read or write FASTA: the report, the input, the right answer.

`cases.tsv`: the issue, on GitHub; an input made after it, with `{S}` and `{T}` for two proteins; an end for
each record, `p` predicted or `r` rejected, none where the file is refused; and words of the first reason.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from functions.domain.errors import InputError
from functions.domain.fasta import LOOKBACK_BYTES, read_records
from functions.domain.formats import require_fasta
from functions.domain.protein import Protein, read_protein
from tests.simulation import letters

PROTEINS = {
    "{S}": "MKVLAAGIVGLCAKAYSTWDEKRHFPQNLLVAGSWKE",
    "{T}": "MSTNPKPQRKTKRNTNRRPQDVKFPGGGQIVGGVYLL",
}
with (Path(__file__).parent / "cases.tsv").open(encoding="utf-8", newline="") as file:
    CASES = list(csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE))


def body_of(case: dict[str, str]) -> bytes:
    text = case["input"]
    for name, sequence in PROTEINS.items():
        text = text.replace(name, sequence)
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"])
def test_what_was_reported_of_another_tool_is_answered_rightly(case: dict[str, str]) -> None:
    body = body_of(case)
    try:
        require_fasta(body, whole=True)
    except InputError as error:
        assert not case["ends"] and case["names"] in str(error)
        return
    judged = [read_protein(record) for record in read_records([body])]
    assert "".join("p" if isinstance(one, Protein) else "r" for one in judged) == case["ends"]
    reasons = [one.reason for one in judged if not isinstance(one, Protein)]
    assert not reasons or case["names"] in reasons[0]
    others = [letters.sequence(header, rest) for _, header, rest in letters.records(body, LOOKBACK_BYTES)]
    assert others == [one.sequence if isinstance(one, Protein) else None for one in judged]


def test_the_cases_are_many_and_each_is_another_report() -> None:
    assert len(CASES) > 40 and len({case["source"] for case in CASES}) == len(CASES)
