"""The browser reads a file as the stack will: the same records, answers and refusals, word for word.

One thing differs: the browser has no table of the names of characters, and gives their numbers alone.
"""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.domain.errors import InputError
from functions.domain.fasta import read_records
from functions.domain.formats import packing, require_fasta
from functions.domain.placeholders import PLACEHOLDERS
from functions.domain.protein import Protein, read_protein
from functions.receive import HEAD_BYTES
from tests.hostile.corpus import FILES, HEADERS
from tests.page.made import fasta

pytestmark = pytest.mark.page

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
S, T = "MKVLAAGIVGLCAKAYSTWDEKRHFPQNLLVAGSWKE", "MSTNPKPQRKTKRNTNRRPQDVKFPGGGQIVGGVYLL"

LOOK = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0));
  return (await import('/reading/check.js')).look(new Blob([bytes]));
}"""


def texts() -> Iterator[tuple[str, bytes]]:
    """Files as people have them, by name."""
    for name, header in HEADERS.items():
        yield f"header {name}", b">%b\nMKVLAAGIVGLCAKAYSTWDEK\n>x\nMK1V\n" % header
    for name, (body, _) in FILES.items():
        yield f"file {name}", body
    with (ROOT / "tests" / "hostile" / "cases.tsv").open(encoding="utf-8") as lines:
        for case in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            text = case["input"].replace("{S}", S).replace("{T}", T)
            yield case["source"], text.encode().decode("unicode_escape").encode("latin-1")
    for path in sorted((ROOT / "tests" / "hostile" / "seeds").iterdir()):
        yield f"seed {path.name}", path.read_bytes()
    yield "a proteome", fasta(300)


def shared_files() -> list[Path]:
    return [
        path
        for folder in ("intake", "messy")
        for path in sorted((SHARED / folder).glob("*"))
        if path.suffix != ".md"
    ]


def by_python(body: bytes) -> dict[str, Any]:
    """Read a file as the stack does, in the words of `check.js`."""
    try:
        require_fasta(body[:HEAD_BYTES], whole=len(body) <= HEAD_BYTES)
    except InputError as error:
        return {"refused": str(error), "records": []}
    records = []
    for one in map(read_protein, read_records([body])):
        protein = isinstance(one, Protein)
        records.append(
            {
                "offset": one.offset,
                "line": one.line,
                "accession": one.accession,
                "header": one.header,
                "length": len(one.sequence) if isinstance(one, Protein) else one.length,
                "reason": "" if protein else re.sub(r"\((U\+[0-9A-F]+), [^)]*\)", r"(\1)", one.reason),
                "remarks": list(one.remarks) if protein else [],
            }
        )
    return {"refused": "", "records": records}


def compare(page: Any, name: str, body: bytes) -> None:
    reading = page.evaluate(LOOK, base64.b64encode(body).decode())
    kind = packing(body[:HEAD_BYTES])
    if kind and reading["packed"]:
        assert reading["packed"] == kind, name
        return
    if kind:  # unpacked by the browser, which must then find something in it
        assert reading["refused"] or reading["records"], name
        return
    expected = by_python(body)
    assert reading["refused"] == expected["refused"], name
    assert reading["records"] == expected["records"], name
    assert reading["accepted"] == sum(not record["reason"] for record in expected["records"]), name


def test_the_browser_reads_hostile_and_mistaken_files_as_the_stack_does(
    open_page: Callable[..., Any], modules: str
) -> None:
    page = open_page(modules)
    for name, body in texts():
        compare(page, name, body)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not there")
def test_the_browser_reads_the_shared_files_as_the_stack_does(
    open_page: Callable[..., Any], modules: str
) -> None:
    page = open_page(modules)
    files = shared_files()
    assert len(files) > 50
    for path in files:
        compare(page, path.name, path.read_bytes())


def test_the_browser_unpacks_gzip_and_reads_what_is_in_it(
    open_page: Callable[..., Any], modules: str
) -> None:
    import gzip

    page = open_page(modules)
    body = fasta(50)
    plain, packed = (
        page.evaluate(LOOK, base64.b64encode(each).decode()) for each in (body, gzip.compress(body))
    )
    assert packed == plain and packed["whole"] and len(packed["records"]) == 50


def test_of_a_long_file_the_beginning_is_read_and_no_record_is_cut(
    open_page: Callable[..., Any], modules: str
) -> None:
    page = open_page(modules)
    body = b"".join(b">p%07d\nM%b\n" % (number, b"KVLAAGIVGL" * 60) for number in range(9_000))
    reading = page.evaluate(LOOK, base64.b64encode(body).decode())
    assert not reading["whole"] and reading["rejected"] == 0
    assert {record["length"] for record in reading["records"]} == {601}


def test_both_know_the_same_placeholders(open_page: Callable[..., Any], modules: str) -> None:
    page = open_page(modules)
    words = page.evaluate("async () => [...(await import('/reading/placeholders.js')).PLACEHOLDERS]")
    assert set(words) == PLACEHOLDERS
