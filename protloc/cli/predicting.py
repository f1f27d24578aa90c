"""The work of `protloc predict`: files go in together, and the results of each come out in their order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from protloc.cli.following import Following, Outcome, sentence, show_outcome, wants_table, warn
from protloc.cli.options import Wanted
from protloc.cli.progress import make_progress
from protloc.cli.results import STDOUT, default_output, numbered, require_writable
from protloc.cli.shared import note, print_json
from protloc.errors import Problem, UsageProblem

if TYPE_CHECKING:
    from protloc.stack.client import Client

STDIN = Path("-")


def outputs_of(files: Sequence[Path], wanted: Wanted) -> list[Path]:
    """The path of each file's results, no two the same. Raises UsageProblem where one cannot be written."""
    if files.count(STDIN) > 1:
        raise UsageProblem("stdin (-) can be read once only")
    folder = wanted.output if wanted.output and wanted.output.is_dir() else None
    if len(files) > 1 and wanted.output and not folder:
        raise UsageProblem(
            f"--output {wanted.output} is one file; for several name a folder: {wanted.output}/"
        )
    outputs = list[Path]()
    for file in files:
        if wanted.output and not folder:
            outputs.append(wanted.output)
            continue
        name = "stdin" if file == STDIN else file.name
        path = (folder or Path()) / default_output(name, wanted.format_name)
        free = (numbered(path, number) for number in count(1))
        outputs.append(next(each for each in free if each not in outputs))
    return outputs


def send(client: Client, file: Path, organism: str | None, stack: str | None, began: float) -> Following:
    """Send one file, telling how far it is."""
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size if file.is_file() else None
        name = "stdin" if file == STDIN else file.name
        with make_progress() as progress:
            sent = client.send(stream, name, lambda done: progress.sending(done, size), organism)
    return Following(client, sent.upload_id, stack, began)


def conclude(
    followed: Sequence[tuple[Following, Path]],
    wanted: Wanted,
    timeout: float | None,
    table: bool | None,
    stack: str | None,
    hints: bool,
) -> None:
    """Wait for each upload in turn and write its results; raises the first problem when all are done."""
    answers, problems = list[dict[str, Any]](), list[Problem]()
    for following, output in followed:
        with make_progress() as progress:
            following.wait(progress, timeout)
        outcome: Outcome = following.conclude(wanted.written, output, replace=wanted.is_named)
        warn(outcome.answer)
        if outcome.problem is not None:
            problems.append(outcome.problem)
        answers.append(outcome.answer)
        if wanted.as_json:
            continue
        if wants_table(table, output):
            show_outcome(following, outcome.answer, stack, hints)
        elif output != STDOUT:
            click.echo(sentence(outcome.answer))
    if wanted.as_json:
        print_json(answers[0] if len(answers) == 1 else {"uploads": answers})
    for problem in problems[1:]:
        note(str(problem))
    if problems:
        raise problems[0]


@contextlib.contextmanager
def cloud_of_its_own() -> Iterator[Path]:
    """The home of a cloud that ends with this command, however that ends, and of which nothing stays."""
    from protloc.cloud import lifecycle
    from protloc.cloud.server import OWNER_VARIABLE

    def ended(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = os.environ.get(OWNER_VARIABLE)
    handler = signal.signal(signal.SIGTERM, ended)  # as batch systems end jobs that took too long
    os.environ[OWNER_VARIABLE] = before or str(os.getpid())
    try:
        with tempfile.TemporaryDirectory(prefix="protloc-") as folder:
            home = Path(folder) / "home"
            try:
                yield home
            finally:
                lifecycle.down(home, erase=True)
    finally:
        signal.signal(signal.SIGTERM, handler)
        if before is None:
            del os.environ[OWNER_VARIABLE]


@contextlib.contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    if file == STDIN:
        if sys.stdin is None:  # as after `<&-`
            raise UsageProblem("stdin is closed, so there is nothing to read from it")
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        raise UsageProblem(f"there is no file {file}") from None
    except OSError as error:
        raise UsageProblem(f"{file} cannot be read: {error.strerror}") from None
    with stream:
        yield stream


def run(
    files: Sequence[Path],
    wanted: Wanted,
    client_for: Any,
    *,
    wait: bool,
    timeout: float | None,
    table: bool | None,
    organism: str | None,
    stack: str | None,
    hints: bool,
) -> None:
    """Send every file and, if so wanted, wait for the results; `client_for()` makes the stack ready."""
    began = time.monotonic()
    outputs = outputs_of(files, wanted)
    for file, output in zip(files, outputs, strict=True):
        if wait:
            require_writable(output, file)
        # Before a cloud is started for a file that cannot be read; opening a pipe would wait for its writer.
        if file == STDIN or file.is_file() or not file.exists():
            with opened(file):
                pass
    client = client_for()
    followed = [
        (send(client, file, organism, stack, began), output)
        for file, output in zip(files, outputs, strict=True)
    ]
    if wait:
        conclude(followed, wanted, timeout, table, stack, hints)
        return
    answers = [following.answer(None) for following, _ in followed]
    if wanted.as_json:
        print_json(answers[0] if len(answers) == 1 else {"uploads": answers})
        return
    for following, _ in followed:
        click.echo(following.upload)
        note(f"sent; look with `protloc show{following.words}`")
