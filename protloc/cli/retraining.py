"""The commands of retraining: labelled proteins go in, and a model version that is better may come out."""

from __future__ import annotations

from pathlib import Path

import click

from protloc.cli.options import home_option, json_option, stack_option
from protloc.cli.shared import client_of, note, print_json, stack_words


@click.group(invoke_without_command=True)
@json_option
@stack_option
@home_option
@click.pass_context
def labels(context: click.Context, as_json: bool, stack: str | None, home: Path) -> None:
    """List the labelled files that retraining learns from, and add one.

    \b
    Examples
      protloc labels add mine.fasta
      protloc labels
      protloc labels add deeploc_data.fasta --base

    JSON: labels, each with uri, name, kind (labels or base), bytes, modified.
    """
    context.obj = (stack, home)
    if context.invoked_subcommand is not None:
        return
    from protloc.cli.display import show_labels
    from protloc.stack.labels import listed

    files = list(listed(client_of(stack, home)))
    if as_json:
        print_json({"labels": files})
    else:
        show_labels(files)


@labels.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base", is_flag=True, help="As base data of the stack, which labels of users overrule.")
@json_option
@stack_option
@click.pass_obj
def add_labels(
    of_group: tuple[str | None, Path], file: Path, base: bool, as_json: bool, stack: str | None
) -> None:
    """Add a file of labelled proteins, for the next retraining to learn from.

    FILE is FASTA (.fasta, .fa, .faa) with headers such as '>P12345 Nucleus-S', or a table (.tsv) with the
    columns accession, sequence, location and membrane. M is bound to a membrane, S soluble, U not known. A
    header that ends in 'test' keeps the protein for judging. A file of the same name is replaced.

    JSON: uri, proteins, locations.
    """
    from protloc.safe import safe
    from protloc.stack.labels import WrongLabels, add

    stack = stack or of_group[0]
    try:
        added = add(client_of(stack, of_group[1], start=True), file, "base" if base else "labels")
    except WrongLabels as wrong:
        for fault in wrong.faults:
            note(safe(fault))
        raise
    if as_json:
        print_json(added)
        return
    click.echo(
        f"{added['proteins']:,} proteins of {len(added['locations'])} locations are in {safe(added['uri'])}."
    )
    click.echo(f"Learn from them: protloc retrain{stack_words(stack)}")


@click.command()
@click.option("--version", metavar="NAME", help="What to call the new version. Without it: by the time.")
@click.option(
    "--set", "words", metavar="NAME=VALUE", multiple=True, help="A setting of the training, as epochs=20."
)
@click.option("--again", is_flag=True, help="Also where the labels are those that were judged last.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the end.", show_default=True)
@json_option
@stack_option
@home_option
def retrain(
    version: str | None,
    words: tuple[str, ...],
    again: bool,
    wait: bool,
    as_json: bool,
    stack: str | None,
    home: Path,
) -> None:
    """Train a new model version on the labelled proteins, and promote it if it is better.

    The new version and the active one answer the same proteins, which the new one did not learn from. It
    takes the active one's place only if it is shown to be good enough; else everything stays as it is.

    \b
    Examples
      protloc retrain
      protloc retrain --again --set epochs=20 --set seed=2
      protloc retrain --json | jq .outcome

    JSON: outcome (Promoted, KeptChampion, NothingNew, Skipped or Failed), version, reason, report; with
    --no-wait outcome is null. Exit code: 1 where it failed, else 0.
    """
    from model.source import publish
    from protloc.errors import UploadProblem
    from protloc.stack.retraining import outcome, sentence, settings, start

    chosen = settings(words)
    client = client_of(stack, home, start=True)
    # The program of the jobs is this project's, on AWS as well.
    publish(client.client, client.outputs["ModelsBucket"], client.outputs["ModelsTable"])
    started = start(client, version, chosen, again=again)
    look = f"protloc models{stack_words(stack)}"
    if not wait:
        if as_json:
            print_json({"outcome": None, "version": started.version, "reason": None, "report": None})
        else:
            click.echo(f"{started.version} is being trained; look with `{look}`.")
        return
    try:
        ended = outcome(client, started, lambda step: note(f"{started.version}: {step}"))
    except KeyboardInterrupt:
        note(f"The retraining goes on. Look with: {look}")
        raise
    if as_json:
        print_json(ended)
    if ended["outcome"] == "Failed":
        raise UploadProblem(sentence(ended))
    if not as_json:
        click.echo(sentence(ended))
        if ended["report"]:
            click.echo(f"Report: protloc models report {ended['version']}{stack_words(stack)}")
