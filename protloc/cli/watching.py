"""`protloc watch`: every FASTA file that comes into a folder is predicted, its results beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from protloc.cli.options import FORMAT_NAMES, home_option, stack_option, written_as
from protloc.cli.shared import client_of, note
from protloc.errors import Problem

PAUSE_SECONDS = 2.0
ENDINGS = (".fasta", ".fa", ".faa", ".fas", ".pep")
PACKED = (".gz", ".bz2", ".xz")


class Seen(NamedTuple):
    """A file as it was at the last look; one that is still being written is another at the next."""

    size: int
    changed: int  # nanoseconds


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--format", "-f", "format_name", type=click.Choice(FORMAT_NAMES), default="tsv", show_default=True
)
@stack_option
@home_option
def watch(folder: Path, format_name: str, stack: str | None, home: Path) -> None:
    """Predict each FASTA file in FOLDER, and each that comes into it, until Ctrl-C.

    A file is taken once it does not grow any more. Its results appear beside it, as NAME.protloc.tsv; a file
    that has them, made after it, is left alone, so that the command may be stopped and begun again.

    \b
    Example
      protloc watch incoming/
    """
    from protloc.cli.options import Wanted
    from protloc.cli.predicting import conclude, send
    from protloc.cli.results import default_output

    client = client_of(stack, home, start=True)
    note(f"watching {folder}; Ctrl-C ends this, not the uploads in work")
    with contextlib.suppress(KeyboardInterrupt):
        for file in arrivals(folder, lambda file: folder / default_output(file.name, format_name)):
            output = folder / default_output(file.name, format_name)
            wanted = Wanted(format_name, written_as(format_name, False), output, False)
            try:
                following = send(client, file, None, stack, time.monotonic())
                conclude([(following, output)], wanted, None, False, stack, False)
            except Problem as problem:
                note(f"{file.name}: {problem}")


def arrivals(folder: Path, output_of: Callable[[Path], Path]) -> Iterator[Path]:
    """The files that have no results yet, each once it was the same at two looks; without an end."""
    before, done = dict[Path, Seen](), dict[Path, Seen]()
    while True:
        now = dict(_files(folder))
        for file, seen in now.items():
            output = output_of(file)
            if output.exists() and output.stat().st_mtime_ns >= seen.changed:
                continue
            if before.get(file) == seen != done.get(file):
                done[file] = seen
                yield file
        before = now
        _pause()


def _files(folder: Path) -> Iterator[tuple[Path, Seen]]:
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        for ending in PACKED:
            name = name.removesuffix(ending)
        if name.endswith(ENDINGS) and not path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.is_file() and status.st_size:
                    yield path, Seen(status.st_size, status.st_mtime_ns)


def _pause() -> None:
    time.sleep(PAUSE_SECONDS)
