"""`protloc protein`: all that is known of one protein, by its accession."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from protloc.cli.options import home_option, json_option, stack_option
from protloc.cli.shared import client_of, print_json
from protloc.errors import UsageProblem


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
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what completes this program's commands and options in SHELL.

    \b
    Example
      eval "$(protloc completion bash)"
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "protloc", "_PROTLOC_COMPLETE").source())
