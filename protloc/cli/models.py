"""The commands on model versions: list, compare, add and promote."""

from __future__ import annotations

from pathlib import Path

import click

from protloc.cli.options import home_option, json_option, stack_option
from protloc.cli.shared import client_of, note, print_json, stack_words

Group = tuple[str | None, Path]  # stack and home, as given to `protloc models`


@click.group(invoke_without_command=True)
@json_option
@stack_option
@home_option
@click.pass_context
def models(context: click.Context, as_json: bool, stack: str | None, home: Path) -> None:
    """List the model versions; add, compare and promote them.

    \b
    Examples
      protloc models
      protloc models add model/default
      protloc models compare small-2026-11-22 model-2026-12-01-030000
      protloc models rollback

    JSON: active, previous, revision, and models, each with version, state, active, created, metrics, reason,
    artifact, snapshot, proteins (it was trained on), evaluation, report.
    """
    context.obj = (stack, home)
    if context.invoked_subcommand is not None:
        return
    from protloc.cli.versions import show_models
    from protloc.stack.snapshots import with_proteins

    client = client_of(stack, home)
    view = with_proteins(client, client.models())
    if as_json:
        print_json(view)
    else:
        show_models(view)


@models.command("add")
@click.argument("artifact")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is in service.")
@click.option(
    "--if-none",
    is_flag=True,
    help="Do nothing where a version is active; host that which was before the stack was made again.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether to trust it.")
@stack_option
@click.pass_obj
def add_model(
    of_group: Group, artifact: str, wait: bool, if_none: bool, yes: bool, stack: str | None
) -> None:
    """Put a trained model into service: ARTIFACT is a folder, a model.tar.gz, or the s3:// address of one.

    The state machine hosts it beside the active version, tries it on known proteins, and makes it the active
    one. Uploads in work stay with the version they began with. One that fails leaves the active version as it
    is.

    A model brings code that runs: on this machine, or in the endpoint of the stack. So you are asked whether
    you trust it, unless it is the one that comes with protloc, or --yes is given.
    """
    from functools import partial

    from protloc.stack.activation import promote
    from protloc.stack.versions import add

    stack = stack or of_group[0]
    client = client_of(stack, of_group[1])
    now = client.models() if if_none else {"active": None, "previous": None}
    if now["active"]:
        click.echo(f"{now['active']} is active; nothing was added.")
        return
    if version := now["previous"]:
        promote(client, version, note, wait=wait)
    else:
        version = add(client, artifact, note, wait=wait, agree=partial(_agree, artifact, yes, stack))
    if wait:
        click.echo(f"{version} is in service and answers new uploads.")
    else:
        click.echo(f"{version} is on its way into service; look with `protloc models{stack_words(stack)}`.")


@models.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@json_option
@stack_option
@click.pass_obj
def compare_models(of_group: Group, first: str, second: str, as_json: bool, stack: str | None) -> None:
    """Compare two versions: the figures of both, and how far B differs from A.

    If one was judged against the other, both answered the same proteins, and each difference comes with its
    95 % interval. If not, the figures stand side by side, with a note on their limits.

    JSON: versions, paired, proteins, note, figures and recall (by location), each with values, difference,
    interval.
    """
    from protloc.cli.versions import show_comparison
    from protloc.stack.activation import find
    from protloc.stack.comparison import compare

    client = client_of(stack or of_group[0], of_group[1])
    listing = client.models()
    comparison = compare(client, find(listing, first), find(listing, second))
    if as_json:
        print_json(comparison)
    else:
        show_comparison(comparison)


@models.command("promote")
@click.argument("version")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for one that is not hosted.")
@json_option
@stack_option
@click.pass_obj
def promote_model(of_group: Group, version: str, wait: bool, as_json: bool, stack: str | None) -> None:
    """Make VERSION the active one, which answers new uploads.

    A hosted version takes over at once. One that is not hosted any more, or never was, is hosted and tried
    first; that takes minutes, and nothing judges it.

    JSON: active, previous, revision.
    """
    from protloc.stack.activation import promote

    stack = stack or of_group[0]
    now = promote(client_of(stack, of_group[1]), version, note, wait=wait)
    if as_json:
        _print_alias(now)
    elif now["active"] == version:
        click.echo(f"{version} is the active version and answers new uploads.")
    else:
        click.echo(f"{version} is on its way into service; look with `protloc models{stack_words(stack)}`.")


@models.command("rollback")
@json_option
@stack_option
@click.pass_obj
def roll_back(of_group: Group, as_json: bool, stack: str | None) -> None:
    """Go back to the version that was active before, at once. A second time comes forward again.

    JSON: active, previous, revision.
    """
    from protloc.stack.activation import rollback

    now = rollback(client_of(stack or of_group[0], of_group[1]))
    if as_json:
        _print_alias(now)
    else:
        click.echo(f"{now['active']} is the active version again; {now['previous']} stands by.")


@models.command("report")
@click.argument("version")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Where the report goes; - is stdout. Without it: VERSION.report.html in the current folder.",
)
@stack_option
@click.pass_obj
def report_model(of_group: Group, version: str, output: Path | None, stack: str | None) -> None:
    """Fetch the report of how VERSION was judged: one HTML page that opens without a network."""
    import sys

    from protloc.errors import UsageProblem
    from protloc.safe import safe
    from protloc.stack.activation import find
    from protloc.stack.client import split_uri

    client = client_of(stack or of_group[0], of_group[1])
    view = find(client.models(), version)
    if not view["report"]:
        raise UsageProblem(f"{version} was never judged, so there is no report of it")
    if output == Path("-"):
        bucket, key = split_uri(view["report"])
        body = client.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        for part in body.iter_chunks():
            sys.stdout.buffer.write(part)
        return
    output = output or Path(f"{version.replace('/', '_')}.report.html")
    try:
        client.download(view["report"], output)
    except OSError as error:
        raise UsageProblem(f"{output} cannot be written: {error.strerror}") from None
    click.echo(safe(str(output)))


def _agree(artifact: str, yes: bool, stack: str | None, version: str) -> None:
    """Ask whether a model may run. Raises UsageProblem where nobody can answer."""
    import sys

    from protloc.embedded import DEFAULT_MODEL
    from protloc.errors import UsageProblem

    if yes or Path(artifact).resolve() == DEFAULT_MODEL:
        return
    place = f"in the endpoint of the stack {stack}" if stack else "on this machine, started by you"
    warning = f"{version} is not the model that comes with protloc; it brings code that runs {place}"
    if not sys.stdin.isatty():
        raise UsageProblem(f"{warning}. Add --yes if you trust its maker")
    note(f"{warning}.")
    click.confirm("Do you trust its maker?", abort=True, err=True)


def _print_alias(now: dict[str, object]) -> None:
    print_json({name: now[name] for name in ("active", "previous", "revision")})
