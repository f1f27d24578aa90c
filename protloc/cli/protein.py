"""`protloc protein` and `explain`: all about one protein, and the residues that its answer depends on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import click

from protloc.cli.options import Seconds, home_option, json_option, stack_option
from protloc.cli.shared import client_of, note, print_json, stack_words, upload_of
from protloc.errors import ModelAway, UsageProblem

View = dict[str, Any]

PAUSE_SECONDS = 3.0
"""Between two questions to a model that starts or wakes up."""


@click.command()
@click.argument("accession")
@click.option(
    "--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many answers."
)
@json_option
@stack_option
@home_option
def protein(accession: str, limit: int, as_json: bool, stack: str | None, home: Path) -> None:
    """Show all answers about the protein ACCESSION, with the probability of each location.

    \b
    Examples
      protloc protein P12345
      protloc protein P12345 --json | jq '.predictions[0].location'

    JSON: accession, and predictions, the rows of all uploads that have it.
    """
    from protloc.cli.display import show_protein
    from protloc.safe import safe

    rows = list(islice(client_of(stack, home).protein(accession), limit))
    if as_json:
        print_json({"accession": accession, "predictions": rows})
    elif rows:
        for row in rows:
            show_protein(row)
    else:
        raise UsageProblem(f"no upload that is kept row by row has a protein {safe(accession, 60)}")


@click.command()
@click.argument("upload")
@click.argument("accession")
@click.option(
    "--timeout",
    type=Seconds(),
    default="10m",
    show_default=True,
    help="Wait no longer than this (90s, 15m, 2h) for a model that is not there yet, then exit 3.",
)
@json_option
@stack_option
@home_option
def explain(
    upload: str, accession: str, timeout: float, as_json: bool, stack: str | None, home: Path
) -> None:
    """Show which residues of the protein ACCESSION the answer in UPLOAD hangs on.

    The model is asked again with stretches of the protein hidden. That marks where its answer comes from, not
    why; the last line says how far to believe the marks. A model that starts or wakes up is waited for.

    \b
    Examples
      protloc explain latest P12345
      protloc explain latest P12345 --json | jq .marked

    JSON: the explanation, as `GET /uploads/{upload}/predictions/{offset}/explanation` gives it.
    """
    from protloc.cli.explaining import show_explanation
    from protloc.safe import safe

    client = client_of(stack, home)
    upload = upload_of(client, upload)
    rows = [row for row in client.protein(accession) if row["upload"] == upload]
    row = next((row for row in rows if row["status"] == "predicted"), None)
    if row is None:
        kept = "has no answer for" if rows else "is not kept row by row, or has no protein"
        raise UsageProblem(f"the upload {upload} {kept} {safe(accession, 60)}")
    if len(rows) > 1:
        note(f"{len(rows)} records have this name; the first one is explained.")
    again = f"protloc explain {upload} {shlex.quote(accession)}{stack_words(stack)}"
    explanation = _awaited(lambda: client.explanation(upload, row["offset"]), timeout, again)
    if as_json:
        print_json(explanation)
    else:
        show_explanation(explanation, row["header"] or accession)


def _awaited(ask: Callable[[], View], timeout_seconds: float, again: str) -> View:
    """Ask until a model is there to answer. Raises ModelAway when the time is over."""
    began, is_told = time.monotonic(), False
    while True:
        try:
            return ask()
        except ModelAway as problem:
            if time.monotonic() - began + PAUSE_SECONDS > timeout_seconds:
                raise ModelAway(f"{problem} Ask again with `{again}`") from None
        if not is_told:
            note("the model is not there to ask yet; waiting for it")
            is_told = True
        try:
            time.sleep(PAUSE_SECONDS)
        except KeyboardInterrupt:
            note(f"Ask again with: {again}")
            raise


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes this program's commands and options in SHELL.

    \b
    Example
      eval "$(protloc completion bash)"
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "protloc", "_PROTLOC_COMPLETE").source())
