"""protloc, the command line. Each command finds its stack, asks the client, and shows the result.

Answers go to stdout, progress and errors to stderr; `--json` puts exactly one JSON object on stdout. Exit
codes: 0 done, 1 the upload failed or timed out, 2 wrong usage, 3 cloud not reachable, 130 interrupted.
Everything heavy is imported where it is used, so that `--help` comes at once.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from protloc.cli.cloud import down, env, status, up
from protloc.cli.estimate import estimate
from protloc.cli.failures import Protloc
from protloc.cli.models import models
from protloc.cli.operations import adopt, doctor, teardown
from protloc.cli.options import (
    Wanted,
    home_option,
    organism_option,
    result_options,
    stack_option,
    timeout_option,
)
from protloc.cli.page import open_page, report
from protloc.cli.protein import completion, explain, protein
from protloc.cli.retraining import labels, retrain
from protloc.cli.shared import client_of
from protloc.cli.uploads import cancel, delete, results, retry, show, uploads
from protloc.cli.watching import watch
from protloc.errors import UsageProblem


@click.group(
    cls=Protloc, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(None, "-V", "--version", package_name="protloc", message="%(package)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Tell where in the cell each protein of a FASTA file belongs.

    \b
    Begin with
      protloc predict proteome.fasta
    It starts a small cloud on this machine if none is up, and writes
    proteome.fasta.protloc.tsv: one row for every record, with one of ten
    locations, how sure that is, and whether the protein sits in a membrane.

    \b
    On AWS, with the template deployed as a stack:
      protloc predict proteome.fasta --stack protloc

    Exit codes: 0 done (rejected records are reported, no error), 1 the upload failed or timed out,
    2 wrong usage, 3 cloud not reachable.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# ── The embedded cloud ──────────────────────────────────────────────────────────────────────────────────────

for command in (up, down, status, env):
    main.add_command(command)


# ── Predictions ─────────────────────────────────────────────────────────────────────────────────────────────


@main.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
)
@result_options
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the results.", show_default=True)
@timeout_option
@click.option(
    "--table/--no-table", default=None, help="Print the answers as a table. Without it: on a terminal."
)
@organism_option
@click.option(
    "--once",
    is_flag=True,
    help="On a cloud of its own, which ends with the command and leaves nothing behind.",
)
@stack_option
@home_option
def predict(
    files: tuple[Path, ...],
    wanted: Wanted,
    wait: bool,
    timeout: float | None,
    table: bool | None,
    organism: str | None,
    once: bool,
    stack: str | None,
    home: Path,
) -> None:
    """Predict where each protein of FILE belongs (FASTA, plain or gzip; - is stdin).

    Each FILE may be in any dialect of FASTA and hold up to 5 GiB of text. Every record comes back as one row:
    predicted, or rejected with the reason. The embedded cloud is started if none is up.

    \b
    Examples
      protloc predict proteome.fasta
      protloc predict proteome.fasta.gz --format parquet -o answers.parquet
      protloc predict proteome.fasta --json | jq .predicted
      protloc predict *.faa.gz -o results/
      zcat *.faa.gz | protloc predict - -o all.tsv
      protloc predict proteome.fasta --once -o answers.tsv.gz
      protloc predict proteome.fasta --stack protloc --timeout 2h
      protloc predict assembly.faa --organism "Aspergillus niger"

    JSON: upload, status, records, predicted, rejected, failed, seconds, output, reason, warnings; of several
    files uploads, a list of these.
    """
    from functools import partial

    from protloc.cli.predicting import cloud_of_its_own, run

    if once and stack:
        raise UsageProblem("--once is of a cloud on this machine, --stack of one in AWS; choose one")
    if once and not wait:
        raise UsageProblem("--once ends the cloud with the command, so it waits for the results")
    with cloud_of_its_own() if once else contextlib.nullcontext(home) as home:
        run(
            files,
            wanted,
            partial(client_of, stack, home, start=True),
            wait=wait,
            timeout=timeout,
            table=table,
            organism=organism,
            stack=stack,
            hints=not once,
        )


for command in (
    uploads,
    show,
    results,
    retry,
    cancel,
    delete,
    estimate,
    protein,
    explain,
    report,
    open_page,
    watch,
    completion,
):
    main.add_command(command)


# ── Model versions and retraining ───────────────────────────────────────────────────────────────────────────

for command in (models, labels, retrain):
    main.add_command(command)


# ── Running a stack ─────────────────────────────────────────────────────────────────────────────────────────

for command in (doctor, adopt, teardown):
    main.add_command(command)


if __name__ == "__main__":
    main()
