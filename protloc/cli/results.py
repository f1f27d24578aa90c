"""Results as files: taken from S3, written in the format asked for, whole or not at all.

Every format holds the same rows in the same order. TSV and JSON Lines are the stack's own exports, byte for
byte; CSV and Parquet are made here from the JSON Lines. A file gets its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import filecmp
import gzip
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.domain.rows import COLUMNS, FORMATS, PROBABILITY, SPREADSHEET, Row
from protloc.errors import UsageProblem

if TYPE_CHECKING:
    from protloc.stack.client import Client

FORMAT_NAMES = (*FORMATS, "parquet")
STDOUT = Path("-")
ROW_GROUP_ROWS = 50_000

_INTEGERS = {"length", "residues_read", "offset"}
_NUMBERS = {"confidence", "second_confidence", "membrane"}
_TRUTHS = {"truncated", "uncertain"}
_LISTS = {"remarks", "locations_90"}
_REPEATED = {
    "status",
    "location",
    "second",
    "model_version",
    "go",
}  # few different values: kept as a dictionary


def default_output(name: str, format_name: str) -> Path:
    """The default path of results: in the current folder, under the input's whole name.

    >>> default_output("yeast.fasta.gz", "tsv")
    PosixPath('yeast.fasta.gz.protloc.tsv')
    """
    return Path(f"{name}.protloc.{format_name}")


def numbered(output: Path, number: int) -> Path:
    """A default path with a number, where another file has the name; the first has none.

    >>> numbered(Path("out/yeast.fasta.protloc.tsv"), 2)
    PosixPath('out/yeast.fasta.2.protloc.tsv')
    """
    name, _, ending = output.name.rpartition(".protloc.")
    return output if number == 1 else output.with_name(f"{name}.{number}.protloc.{ending}")


def require_writable(output: Path, source: Path | None = None) -> None:
    """Raise UsageProblem where results could not be written in the end, or would replace the input."""
    if output == STDOUT:
        return
    if output.is_dir():
        raise UsageProblem(f"--output {output} is a folder; name a file in it")
    folder = output.resolve().parent  # of the target, where it is a link
    if not folder.is_dir():
        raise UsageProblem(f"--output {output}: there is no folder {folder}; make it first")
    if not os.access(output if output.exists() else folder, os.W_OK):
        raise UsageProblem(f"--output {output} may not be written; choose another place with --output")
    if source and output.exists() and source.exists() and output.samefile(source):
        raise UsageProblem(f"--output {output} is the input itself; choose another name")


def fetch(
    client: Client, results: dict[str, str], format_name: str, output: Path, *, replace: bool = True
) -> Path:
    """Write an upload's results to `output`, and return where they are.

    Without `replace` other results stay that are there already: these go beside them, under the first number
    that is free.
    """
    with _becoming(output, replace) as target:
        if format_name in results:
            client.download(results[format_name], target.path)
        else:
            with downloaded_rows(client, results) as rows:
                write_rows(rows, format_name, target.path)
        if output.suffix.lower() == ".gz":
            _compress(target.path)
    return target.written


def fetch_report(client: Client, view: dict[str, Any], output: Path, *, replace: bool = True) -> Path:
    """Write an upload's report, the one beside its results or for an older one a new one, as of `fetch`."""
    from functions.page.report import report

    with _becoming(output, replace) as target:
        if "report" in view["results"]:
            client.download(view["results"]["report"], target.path)
        else:
            models = client.models()["models"]
            model = next((each for each in models if each["version"] == view["model_version"]), None)
            with downloaded_rows(client, view["results"]) as rows, target.path.open("wb") as file:
                file.writelines(report(rows, view, model))
    return target.written


@contextlib.contextmanager
def downloaded_rows(client: Client, results: dict[str, str]) -> Iterator[Iterator[Row]]:
    """The rows of an upload's results, one after the other."""
    with tempfile.TemporaryDirectory(prefix="protloc-") as folder:
        path = Path(folder) / "results.jsonl"
        client.download(results["jsonl"], path)
        with path.open("rb") as file:
            yield (json.loads(line) for line in file)


def write_rows(rows: Iterable[Row], format_name: str, target: Path) -> None:
    """Write rows, whose columns are those of the first one: a model may have labels of its own."""
    following = iter(rows)
    first = next(following, None)
    columns = COLUMNS if first is None else tuple(first)
    rows = following if first is None else chain([first], following)
    if format_name == "parquet":
        _write_parquet(rows, columns, target)
        return
    if format_name == "xlsx":
        from protloc.cli.workbook import write_workbook

        write_workbook(rows, columns, target)
        return
    with target.open("wb") as file:
        file.writelines(
            (SPREADSHEET if format_name == "spreadsheet" else FORMATS[format_name])(rows, columns)
        )


class _Target:
    """A file that is written, and where it is once it has its name."""

    def __init__(self, path: Path, written: Path) -> None:
        self.path, self.written = path, written


@contextlib.contextmanager
def _becoming(output: Path, replace: bool) -> Iterator[_Target]:
    """A file that becomes `output`, or is copied to stdout, once it is written without an error.

    Where `output` is a symbolic link, the file replaces its target.
    """
    folder = None if output == STDOUT else output.resolve().parent
    handle, name = tempfile.mkstemp(prefix=".protloc-", suffix=".part", dir=folder)
    os.close(handle)
    part = Path(name)
    target = _Target(part, output)
    try:
        yield target
        if output == STDOUT:
            with part.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        if not replace:
            target.written = _placed_beside(part, output)
        elif output.exists() and not output.is_file():  # a device or a pipe: written to, not replaced
            with part.open("rb") as file, output.open("wb") as device:
                shutil.copyfileobj(file, device)
        else:
            part.replace(output.resolve())
    finally:
        part.unlink(missing_ok=True)


def _placed_beside(part: Path, output: Path) -> Path:
    """Give a file the first name, by number, that is free or holds the very same; return that name."""
    for number in count(1):
        path = numbered(output, number)
        if path.exists():
            if path.is_file() and filecmp.cmp(part, path, shallow=False):
                return path
            continue
        try:
            os.link(part, path.resolve())  # unlike a renaming, it never replaces a file that came meanwhile
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            part.replace(path.resolve())
        return path
    raise AssertionError("numbers do not end")


def _compress(path: Path) -> None:
    """Compress a file in place; the same content gives the same bytes."""
    packed = path.with_name(path.name + ".gz")
    try:
        with (
            path.open("rb") as plain,
            packed.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as stream,
        ):
            shutil.copyfileobj(plain, stream)
        packed.replace(path)
    finally:
        packed.unlink(missing_ok=True)


def _write_parquet(rows: Iterable[Row], columns: Sequence[str], target: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    def kind(column: str) -> Any:
        if column in _INTEGERS:
            return pyarrow.int64()
        if column in _NUMBERS or column.startswith(PROBABILITY):
            return pyarrow.float64()
        if column in _LISTS:
            return pyarrow.list_(pyarrow.string())
        return pyarrow.bool_() if column in _TRUTHS else pyarrow.string()

    schema = pyarrow.schema([(column, kind(column)) for column in columns])
    following = iter(rows)
    dictionaries = sorted(_REPEATED)
    with pyarrow.parquet.ParquetWriter(
        target, schema, compression="zstd", use_dictionary=dictionaries
    ) as writer:
        while group := list(islice(following, ROW_GROUP_ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
