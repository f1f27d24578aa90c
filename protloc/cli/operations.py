"""The commands of a stack's operator: examining it, and taking it down."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from protloc.cli.options import home_option, json_option, stack_option
from protloc.cli.shared import note, print_json
from protloc.errors import UploadProblem, UsageProblem

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM", "unchecked": "–      "}
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unchecked": "bright_black"}


@click.command()
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--before-deployment", is_flag=True, help="Check the account only: a stack need not be there yet."
)
@json_option
@stack_option
@home_option
def doctor(
    parameters: tuple[str, ...], before_deployment: bool, as_json: bool, stack: str | None, home: Path
) -> None:
    """Examine a stack and its account: faults that would keep a file from being predicted, and their remedy.

    Credentials, the stack, quotas of instances and functions, the serving image, buckets, endpoint, the model
    in service and the caller's permissions. Nothing is changed. Works before the first deployment, too: name
    the parameters of the template that it will be made with.

    \b
    Examples
      protloc doctor
      protloc doctor --stack protloc
      protloc doctor --stack protloc --before-deployment InferenceInstanceType=ml.m5.xlarge

    Exit code 1 if anything would keep predictions from working. JSON: stack, healthy, and checks, each with
    name, state (ok, warning, problem or unchecked), detail, remedy.
    """
    from protloc.embedded import account_of
    from protloc.safe import safe
    from protloc.stack.doctor import PROBLEM, Doctor
    from protloc.stack.naming import check_stack_name
    from protloc.stack.parameters import chosen

    account = account_of(stack, home)
    if before_deployment:
        check_stack_name(account.stack)
    examination = Doctor(account, chosen(parameters))
    checks = []
    for check in examination.account_checks() if before_deployment else examination.examine():
        checks.append(check)
        if not as_json:
            click.secho(MARKS[check.state], nl=False, fg=COLOURS[check.state])
            click.echo(f"  {check.name}: {safe(check.detail)}")
            if check.remedy:
                click.echo(f"{'':9}→ {safe(check.remedy)}")
    problems = [check.name for check in checks if check.state == PROBLEM]
    if as_json:
        listed = [check.as_json() for check in checks]
        print_json({"stack": account.stack, "healthy": not problems, "checks": listed})
    if problems:
        raise UploadProblem(f"predictions do not work: {', '.join(problems)}")


@click.command()
@json_option
@stack_option
@home_option
def adopt(as_json: bool, stack: str | None, home: Path) -> None:
    """Begin a new stack with the buckets and tables that a deleted one of its name left.

    Run it before the deployment, which adds everything else; `make deploy` does. Where nothing was left, or
    the stack is there, nothing is done. CloudFormation remembers a deleted stack for 90 days.

    \b
    Example
      protloc adopt --stack protloc

    JSON: stack, and adopted, the names of the buckets and tables.
    """
    from protloc.embedded import account_of
    from protloc.safe import safe
    from protloc.stack.adoption import AdoptionFailed, take_over

    account = account_of(stack, home)
    try:
        adopted = take_over(account)
    except AdoptionFailed as error:
        raise UploadProblem(f"what {account.stack} left cannot be taken over: {error}") from None
    if as_json:
        print_json({"stack": account.stack, "adopted": adopted})
    elif adopted:
        click.echo(f"The stack {account.stack} begins with what was kept: {safe(', '.join(adopted))}.")
    else:
        click.echo(f"Nothing to take over for the stack {account.stack}.")


@click.command()
@click.option(
    "--erase", is_flag=True, help="Also delete all that it keeps: files, results, models, tables, logs."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@stack_option
@home_option
def teardown(erase: bool, yes: bool, as_json: bool, stack: str | None, home: Path) -> None:
    """Take a stack down: its model versions, endpoint, functions and API.

    All that works for it is stopped first, in the order in which AWS allows it. Files, results, models and
    their tables stay, and are listed with their cost, unless --erase is given. May be repeated: it goes on
    where it was.

    \b
    Examples
      protloc teardown --stack protloc
      protloc teardown --stack protloc --erase --yes

    JSON: stack, erased, and remains, each with resource, size_bytes, dollars_a_month.
    """
    from protloc.embedded import account_of
    from protloc.safe import safe
    from protloc.stack.kept import Kept
    from protloc.stack.teardown import Teardown

    account = account_of(stack, home)
    work = Teardown(account, note)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageProblem("taking a stack down asks first; add --yes where nobody can answer")
        question = f"Take down the stack {account.stack}"
        if erase:
            names = ", ".join(sorted(name for _, name in Kept(account).named()))
            question += f", and delete for good what it keeps ({safe(names)})"
        click.confirm(f"{question}?", abort=True, err=True)
    remains = work.run(erase)
    if as_json:
        listed = [rest.as_json() for rest in remains]
        print_json({"stack": account.stack, "erased": erase, "remains": listed})
        return
    click.echo(f"The stack {account.stack} is gone" + (", and what it kept is deleted." if erase else "."))
    for rest in remains:
        click.echo(
            f"  still there: {safe(rest.resource)} ({rest.size_bytes / 1e9:,.2f} GB, "
            f"about ${rest.dollars_a_month:,.2f} a month)"
        )
    if remains:
        click.echo(f"Delete that, too: protloc teardown{account.stack_words} --erase")
