"""The command line's output for any file: every character prints, and each answer is one row."""

from __future__ import annotations

import json

import click
import pytest

from functions.domain.rows import Row
from protloc.cli.display import TABLE_ROWS, show_answers, show_upload, show_uploads
from protloc.cli.failures import Protloc
from protloc.cli.following import sentence
from protloc.cli.progress import PlainProgress
from protloc.cli.results import default_output
from protloc.safe import safe
from protloc.stack.client import file_name, upload_key
from tests.hostile.conftest import Carried
from tests.hostile.corpus import FILE_NAMES, HEADERS, shown

TEXTS = [*(shown(header) for header in HEADERS.values()), *FILE_NAMES]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output after checking that every character of it prints."""
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert text.replace("\n", "").isprintable(), text
    return text


def test_the_table_of_answers(carried: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Row] = [json.loads(line) for line in carried.files["jsonl"].read_bytes().splitlines()]
    for first in range(0, len(rows), TABLE_ROWS):
        some = rows[first : first + TABLE_ROWS]
        show_answers(some, len(some))
        table = printed(capsys).split("\n\n")[0].splitlines()[2:]
        firsts = [line for line in table if line[24:].strip()]  # others go on with a name of wide letters
        assert len(firsts) >= len(some)


def test_uploads_and_the_lines_of_one(carried: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    for name in FILE_NAMES:
        view = carried.view | {"key": name, "reason": name}
        show_uploads([view])
        show_upload(view)
        PlainProgress().working(view | {"status": "receiving"})
    assert printed(capsys).count(carried.identity) > len(FILE_NAMES)


@pytest.mark.parametrize("text", TEXTS)
def test_a_message_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    @click.group(cls=Protloc)
    def main() -> None:
        pass

    @main.command()
    def fail() -> None:
        raise click.ClickException(f"there is no {text}")

    with pytest.raises(SystemExit):
        main(["fail"])
    assert printed(capsys).count("\n") == 1
    answer = {
        "status": "complete",
        "seconds": 1,
        "output": text,
        **dict.fromkeys(("records", "predicted", "rejected", "failed"), 1),
    }
    assert sentence(answer).isprintable()


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_shown_tells_what_is_there(text: str) -> None:
    assert safe(text).isprintable()
    assert len(safe(text, 24)) <= 24
    if text.isprintable():
        assert safe(text) == text


@pytest.mark.parametrize("name", TEXTS)
def test_no_name_of_a_file_leaves_the_folder_or_the_prefix(name: str) -> None:
    key = upload_key(name)
    date, token, _ = key.split("/")
    assert len(key.encode()) <= 1024 and key.isprintable() and len(token) == 12 and date[:2] == "20"
    output = default_output(safe(file_name(key)), "tsv")
    assert len(output.parts) == 1 and output.name.endswith(".protloc.tsv")
