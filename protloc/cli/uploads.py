"""`protloc uploads`, `show`, `results`, `retry`, `cancel` and `delete`: uploads that are there already."""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from protloc.cli.options import (
    Wanted,
    home_option,
    json_option,
    result_options,
    stack_option,
    timeout_option,
)
from protloc.cli.shared import client_of, note, print_json, stack_words, upload_of
from protloc.errors import UsageProblem

if TYPE_CHECKING:
    from protloc.stack.client import Client


@click.command()
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@json_option
@stack_option
@home_option
def uploads(limit: int, as_json: bool, stack: str | None, home: Path) -> None:
    """List the uploads, newest first."""
    from protloc.cli.display import show_uploads

    views = list(islice(client_of(stack, home).uploads(), limit))
    if as_json:
        print_json({"uploads": views})
    else:
        show_uploads(views)


@click.command()
@click.argument("upload")
@json_option
@stack_option
@home_option
def show(upload: str, as_json: bool, stack: str | None, home: Path) -> None:
    """Show how one upload stands: its status, counts, and where its results are.

    UPLOAD is its id, the first letters of it, `latest`, or the name of its file, here and in other commands.

    JSON: upload, status (receiving, running, complete, partial, failed or cancelled), reason, records,
    predicted, rejected, failed, model_version, created, finished, progress, results, warnings, and where the
    file is in S3.
    """
    from protloc.cli.display import show_upload
    from protloc.cli.progress import stage

    client = client_of(stack, home)
    view = client.upload(upload_of(client, upload))
    if as_json:
        print_json(view)
        return
    show_upload(view)
    upload = view["upload"]
    if view["finished"]:
        click.echo(f"\nResults as a file: protloc results {upload}{stack_words(stack)}")
    else:
        now = stage(view)
        click.echo(f"\nNow {now.phase}" + (f": {now.detail}" if now.detail else ""))


@click.command()
@click.argument("upload")
@result_options
@click.option("--wait", is_flag=True, help="Wait for an upload that is still in work.")
@timeout_option
@stack_option
@home_option
def results(
    upload: str,
    wanted: Wanted,
    wait: bool,
    timeout: float | None,
    stack: str | None,
    home: Path,
) -> None:
    """Write the results of an upload into a file.

    \b
    Examples
      protloc results abcdefghijklmnopqrstuvwxyz
      protloc results abcdefghijklmnopqrstuvwxyz --format csv -o answers.csv
      protloc results latest -f jsonl -o - | head

    JSON: the same object as of `protloc predict`.
    """
    client = client_of(stack, home)
    _take_results(client, upload_of(client, upload), wanted, stack, wait=wait, timeout=timeout)


@click.command()
@click.argument("upload")
@result_options
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the results.", show_default=True)
@timeout_option
@stack_option
@home_option
def retry(
    upload: str,
    wanted: Wanted,
    wait: bool,
    timeout: float | None,
    stack: str | None,
    home: Path,
) -> None:
    """Try again those records of an upload that failed.

    Answered and rejected records stay as they are, and the model version is the one the upload began with.
    The results are made again, with every record in them; those of the attempt before stay where they were.

    \b
    Examples
      protloc retry abcdefghijklmnopqrstuvwxyz
      protloc retry abcdefghijklmnopqrstuvwxyz --no-wait --stack protloc

    JSON: the same object as of `protloc predict`; with --no-wait that of `protloc show`.
    """
    from protloc.cli.results import require_writable

    if wanted.output and not wanted.output.is_dir():
        require_writable(wanted.output)
    client = client_of(stack, home)
    upload = upload_of(client, upload)
    view = client.retry(upload)
    note(f"attempt {view['attempts']} at what failed has begun")
    if wait:
        _take_results(client, upload, wanted, stack, wait=True, timeout=timeout)
    elif wanted.as_json:
        print_json(view)
    else:
        click.echo(upload)


@click.command()
@click.argument("upload")
@json_option
@stack_option
@home_option
def cancel(upload: str, as_json: bool, stack: str | None, home: Path) -> None:
    """End an upload that is in work with the answers it has.

    Its records that have no answer end as failed ones, within minutes; `protloc retry` goes on with them.

    \b
    Examples
      protloc cancel latest
      protloc cancel abcdefghijklmnopqrstuvwxyz --stack protloc

    JSON: the same object as of `protloc show`.
    """
    client = client_of(stack, home)
    upload = upload_of(client, upload)
    view = client.cancel(upload)
    if as_json:
        print_json(view)
        return
    click.echo(f"cancelled: {upload}; what has no answer yet ends without one")
    click.echo(f"Results, when it has ended: protloc results {upload} --wait{stack_words(stack)}")


@click.command()
@click.argument("upload")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@stack_option
@home_option
def delete(upload: str, yes: bool, as_json: bool, stack: str | None, home: Path) -> None:
    """Delete an upload for good: its file, its results and all that is known of it.

    Results that were written into files here stay. One that is in work ends with it, and nobody is told.

    \b
    Examples
      protloc delete abcdefghijklmnopqrstuvwxyz
      protloc delete latest --yes --stack protloc

    JSON: upload, deleted (true).
    """
    from protloc.safe import safe
    from protloc.stack.client import file_name

    client = client_of(stack, home)
    upload = upload_of(client, upload)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageProblem("deleting an upload asks first; add --yes where nobody can answer")
        name = safe(file_name(client.upload(upload)["key"]))
        click.confirm(f"Delete {upload} ({name}) with its file and results for good?", abort=True, err=True)
    client.delete(upload)
    if as_json:
        print_json({"upload": upload, "deleted": True})
    else:
        click.echo(f"deleted: {upload}")


def _take_results(
    client: Client, upload: str, wanted: Wanted, stack: str | None, *, wait: bool, timeout: float | None
) -> None:
    """Write the results of an upload that is there already, and say how it ended."""
    from protloc.cli.following import Following, follow, sentence, warn
    from protloc.cli.results import STDOUT, default_output, require_writable
    from protloc.safe import safe
    from protloc.stack.client import file_name

    following = Following(client, upload, stack, time.monotonic())
    folder = wanted.output if wanted.output and wanted.output.is_dir() else None
    output = None if folder else wanted.output
    if output:
        require_writable(output)
    if wait:
        follow(following, timeout)
    else:
        following.view = client.upload(upload)
    if output is None:
        name = file_name(following.view["key"]) if following.view else upload
        output = (folder or Path()) / default_output(safe(name), wanted.format_name)
        require_writable(output)
    answer, problem = following.conclude(wanted.written, output, replace=wanted.is_named)
    warn(answer)
    if wanted.as_json:
        print_json(answer)
    elif answer["output"] and output != STDOUT:
        click.echo(sentence(answer))
    if problem is not None:
        raise problem
