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
    """List the labelled files that retraining learns from; add one, or remove it.

    \b
    Examples
      protloc labels add mine.fasta
      protloc labels
      protloc labels add deeploc_data.fasta --base
      protloc labels remove mine.fasta

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

    A model is judged by 50 proteins or more that it did not learn from: of those that are not marked, every
    seventh is held out, so about 350 are needed. Where there are fewer, that is said at once.

    JSON: uri, proteins, locations, and with those that were there: labelled, held_out (about), enough.
    """
    from functions.domain.judgement import MIN_HELD_OUT
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
    if added["enough"]:
        click.echo(f"Learn from them: protloc retrain{stack_words(stack)}")
    else:
        note(
            f"These are too few to judge a model by: of {added['labelled']:,} labelled proteins about "
            f"{added['held_out']:,} would be held out, and {MIN_HELD_OUT} are needed. Add more, about "
            f"{MIN_HELD_OUT * 7} in all, or mark some as test."
        )


@labels.command("remove")
@click.argument("name")
@click.option("--base", is_flag=True, help="One of the stack's base data.")
@json_option
@stack_option
@click.pass_obj
def remove_labels(
    of_group: tuple[str | None, Path], name: str, base: bool, as_json: bool, stack: str | None
) -> None:
    """Remove the labelled file NAME, so that no later retraining learns from it.

    Models that learned from it already stay as they are.

    \b
    Example
      protloc labels remove mine.fasta

    JSON: removed, the address it had.
    """
    from protloc.safe import safe
    from protloc.stack.labels import remove

    client = client_of(stack or of_group[0], of_group[1])
    removed = remove(client, name, "base" if base else "labels")
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{safe(removed)} is removed; the next retraining does not read it.")


@click.command()
@click.option("--version", metavar="NAME", help="The name of the new version. Without it: the time.")
@click.option(
    "--set", "words", metavar="NAME=VALUE", multiple=True, help="A setting of the training, as epochs=20."
)
@click.option("--again", is_flag=True, help="Also where the labels are those that were judged last.")
@click.option("--follow", is_flag=True, help="Follow the one that is at work, and start none.")
@click.option("--cancel", is_flag=True, help="Stop the one that is at work; the active version stays.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the end.", show_default=True)
@json_option
@stack_option
@home_option
def retrain(
    version: str | None,
    words: tuple[str, ...],
    again: bool,
    follow: bool,
    cancel: bool,
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
      protloc retrain --follow

    JSON: outcome (Promoted, KeptChampion, NothingNew, Skipped or Failed), version, reason, report; with
    --no-wait or --cancel outcome is null. Exit code: 1 where it failed, else 0.
    """
    from model.source import publish
    from protloc.errors import UploadProblem, UsageProblem
    from protloc.stack.retraining import at_work, outcome, sentence, settings, start, stop

    chosen = settings(words)
    if follow or cancel:
        if chosen or again or (follow and cancel):
            raise UsageProblem(
                "--follow and --cancel are of a retraining that is at work, and go with --version alone"
            )
        client = client_of(stack, home)
        started = at_work(client, version)
    else:
        client = client_of(stack, home, start=True)
        # The program of the jobs is this project's, on AWS as well.
        publish(client.client, client.outputs["ModelsBucket"], client.outputs["ModelsTable"])
        started = start(client, version, chosen, again=again)
    look = f"protloc models{stack_words(stack)}"
    if cancel:
        stop(client, started)
        if as_json:
            print_json({"outcome": None, "version": started.version, "reason": "cancelled", "report": None})
        else:
            click.echo(f"{started.version} is cancelled; the active version stays as it is.")
        return
    if not wait:
        if as_json:
            print_json({"outcome": None, "version": started.version, "reason": None, "report": None})
        else:
            click.echo(f"{started.version} is being trained; look with `{look}`.")
        return
    try:
        ended = outcome(client, started, lambda step: note(f"{started.version}: {step}"))
    except KeyboardInterrupt:
        note(f"The retraining goes on. Come back with: protloc retrain --follow{stack_words(stack)}")
        raise
    if as_json:
        print_json(ended)
    if ended["outcome"] == "Failed":
        raise UploadProblem(sentence(ended))
    if not as_json:
        click.echo(sentence(ended))
        if ended["report"]:
            click.echo(f"Report: protloc models report {ended['version']}{stack_words(stack)}")
