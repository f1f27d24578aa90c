"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from protloc.errors import UsageProblem

FORMAT_NAMES = ("tsv", "csv", "jsonl", "parquet", "xlsx")
COMPRESSED = ("tsv", "csv", "jsonl")  # which of them an ending .gz compresses

Command = TypeVar("Command", bound=Callable[..., Any])


def _default_home() -> Path:
    """The home in a checkout, or else where programs keep their state (XDG Base Directory Specification)."""
    from protloc.project import IN_CHECKOUT, PROJECT

    if IN_CHECKOUT:
        return PROJECT / ".protloc"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "protloc"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "protloc"


def home_option(command: Command) -> Command:
    return click.option(
        "--home",
        envvar="PROTLOC_HOME",
        show_envvar=True,
        type=click.Path(file_okay=False, path_type=Path),
        default=_default_home,
        show_default=".protloc in a checkout, else ~/.local/state/protloc",
        help="Folder of the embedded cloud's state. Each folder is a cloud of its own.",
    )(command)


def stack_option(command: Command) -> Command:
    return click.option(
        "--stack",
        metavar="NAME",
        help="Work on the AWS stack of this name, with your AWS credentials, instead of the embedded cloud.",
    )(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


@dataclass(frozen=True)
class Wanted:
    """The results that a person wants: in which format, where, and if the command answers in JSON."""

    format_name: str
    written: str  # the format as it is written: for a spreadsheet, or as it is
    output: Path | None
    as_json: bool

    @property
    def is_named(self) -> bool:
        """True if the file that the results go into is named; otherwise they get the input's name."""
        return self.output is not None and not self.output.is_dir()


class Place(click.Path):
    """A file, or a folder: one whose name ends in a slash is made where it is not there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).endswith(os.sep):
            try:
                Path(value).mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                self.fail(f"the folder {value} cannot be made: {problem.strerror}.", param, ctx)
        return super().convert(value, param, ctx)


def result_options(command: Command) -> Command:
    """Add the options of results, handed on as `wanted`; two that exclude each other are refused."""

    @wraps(command)
    def collected(
        *arguments: Any,
        format_name: str | None,
        spreadsheet: bool,
        output: Path | None,
        as_json: bool,
        **options: Any,
    ) -> Any:
        folder = output is not None and output.is_dir()
        name = format_name or format_of(None if folder else output)
        if output and output.suffix.lower() == ".gz" and name not in COMPRESSED:
            raise UsageProblem(f"--output {output}: {name} is compressed already; leave .gz out")
        written = written_as(name, spreadsheet)
        if as_json and output == Path("-"):
            raise UsageProblem("--json and --output - both want stdout; choose one")
        return command(*arguments, wanted=Wanted(name, written, output, as_json), **options)

    collected = json_option(collected)
    collected = click.option(
        "--output",
        "-o",
        type=Place(path_type=Path, allow_dash=True),
        help="Where the results go: a file, or a folder, as for several files; - is stdout. Without it: the "
        "input's name with .protloc.FORMAT added, in the current folder. Other results that are there stay, "
        "as of the same file before it was edited, and these get a number; a file named here is replaced.",
    )(collected)
    collected = click.option(
        "--spreadsheet",
        is_flag=True,
        help="Defuse formulas of spreadsheets in TSV, as CSV always is: accessions that "
        "begin with = + - @ then get an apostrophe.",
    )(collected)
    collected = click.option(
        "--format",
        "-f",
        "format_name",
        type=click.Choice(FORMAT_NAMES),
        help="Format of the results. Without it: by the end of --output, else tsv. An output whose "
        "name ends in .gz is compressed.",
    )(collected)
    return cast(Command, collected)


class Seconds(click.ParamType[float]):
    """A time: `90`, `90s`, `15m`, `2h`."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in "smh" and value else (value, "s")
        try:
            seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        except ValueError:
            seconds = 0
        if not 0 < seconds < float("inf"):
            self.fail(f"expected a time such as 90s, 15m or 2h, found {value!r}.", param, ctx)
        return seconds


def timeout_option(command: Command) -> Command:
    return click.option(
        "--timeout",
        type=Seconds(),
        help="Wait no longer than this (90s, 15m, 2h), then exit 1; the upload goes on.",
    )(command)


class Organism(click.ParamType[str]):
    """An organism whose kingdom is known: by its name, its genus, its number, or the kingdom itself."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from functions.domain.organisms import KINGDOMS, kingdom_of

        if not value.isascii() or not kingdom_of(value):
            self.fail(
                f"expected an organism of a known genus, or one of {', '.join(KINGDOMS)}; found {value!r}.",
                param,
                ctx,
            )
        return str(value)


def organism_option(command: Command) -> Command:
    return click.option(
        "--organism",
        type=Organism(),
        help="The organism of the proteins, where their headers name none: 'Homo sapiens', 'fungi', …",
    )(command)


def written_as(format_name: str, spreadsheet: bool) -> str:
    """The format to write where this one is asked for, and perhaps a table for a spreadsheet.

    >>> written_as("tsv", True), written_as("csv", True), written_as("tsv", False)
    ('spreadsheet', 'csv', 'tsv')
    """
    if spreadsheet and format_name not in ("tsv", "csv", "xlsx"):
        raise click.UsageError(
            f"--spreadsheet is for tsv, csv and xlsx; {format_name} is no table of a spreadsheet."
        )
    return "spreadsheet" if spreadsheet and format_name == "tsv" else format_name


def format_of(output: Path | None) -> str:
    """The format that the end of a name asks for, also before `.gz`. Raises UsageProblem for another end.

    >>> format_of(Path("answers.CSV")), format_of(Path("answers")), format_of(None)
    ('csv', 'tsv', 'tsv')
    >>> format_of(Path("answers.jsonl.gz")), format_of(Path("answers.xlsx"))
    ('jsonl', 'xlsx')
    """
    if output is None or output == Path("-"):
        return "tsv"
    packed = output.suffix.lower() == ".gz"
    ending = Path(output.stem if packed else output.name).suffix.lower()
    name = ending.removeprefix(".") or "tsv"
    if name not in (COMPRESSED if packed else FORMAT_NAMES):
        endings = ", ".join(f".{each}" for each in FORMAT_NAMES)
        raise UsageProblem(
            f"--output {output}: no format ends so; expected {endings}, the first three also with .gz, "
            "or --format that names it"
        )
    return name
