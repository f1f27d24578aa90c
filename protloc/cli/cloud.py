"""Commands about the embedded cloud: start it, stop it, how it is, and how AWS's tools reach it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from protloc.cli.options import Seconds, home_option, json_option
from protloc.cli.progress import duration
from protloc.cli.shared import note, print_json
from protloc.errors import Unreachable, UploadProblem, UsageProblem


@click.command()
@home_option
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Without it: any free one.")
@click.option(
    "--recover", is_flag=True, help="Begin with the newest state that is whole, where the last one is not."
)
@click.option(
    "--idle",
    type=Seconds(),
    help="End it in order after so long (30m, 2h) without a request from outside and without work. Without "
    "it: it runs until `protloc down`.",
)
def up(home: Path, port: int | None, recover: bool, idle: float | None) -> None:
    """Start the embedded cloud, or bring a running one up to date.

    It runs in the background, on this machine only. The template is deployed where it changed, and the model
    that comes with protloc goes into service where there is none. Everything is kept in the home folder
    and is there again after `protloc down`, a crash or a restart.

    With --idle it ends itself: uploads, trainings and retrainings count as work, `protloc status` does not
    count as a request. Given again, the time holds for the running cloud.

    \b
    Examples
      protloc up
      protloc up --idle 30m
      PROTLOC_HOME=~/clouds/second protloc up --port 4567
    """
    from protloc.embedded import active_model, ready

    client = ready(home.resolve(), note, port, recover=recover, idle_seconds=idle)
    click.echo(f"The embedded cloud is up, with model {active_model(client)}.")
    click.echo(f"API:  {client.api_url}")
    click.echo("Next: protloc predict FILE    Stop: protloc down")


@click.command()
@home_option
@click.option("--erase", is_flag=True, help="Also delete everything it kept: uploads, results, models.")
@click.option("--only-if-saved", is_flag=True, help="Leave it running where its state cannot be saved.")
@click.option("--yes", is_flag=True, help="Do not ask, also where a training stops with it.")
def down(home: Path, erase: bool, only_if_saved: bool, yes: bool) -> None:
    """Stop the embedded cloud. Its state stays, unless --erase is given.

    A training that is at work writes a checkpoint first, which takes two minutes at most, and goes on from
    there when the cloud is up again. You are asked before.

    Exit code 1 where the state could not be saved, as on a full disk: it names the part that is not kept.
    """
    from protloc.cloud import lifecycle

    _tell_of_training(home.resolve(), ask=not yes, erase=erase)
    try:
        stopped = lifecycle.down(home.resolve(), erase, only_if_saved)
    except lifecycle.NotKeptError as error:
        raise UploadProblem(str(error)) from None
    except lifecycle.CloudError as error:
        raise Unreachable(str(error)) from None
    state = "The embedded cloud is stopped" if stopped else "The embedded cloud was not running"
    click.echo(
        f"{state}, and what it kept is deleted." if erase else f"{state}; its state is kept in {home}."
    )


def _tell_of_training(home: Path, ask: bool, erase: bool) -> None:
    """Say which training stops with the cloud, and `ask`. Raises UsageProblem where nobody can answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    from protloc.cloud import connection

    try:
        cloud = connection.find(home)
        if cloud is None:
            return
        jobs = cloud.client("sagemaker").list_training_jobs(StatusEquals="InProgress")
    except (BotoCoreError, ClientError):  # a cloud that does not answer can only be stopped
        return
    names = [job["TrainingJobName"] for job in jobs["TrainingJobSummaries"]]
    if not names:
        return
    later = "it is deleted as well" if erase else "it goes on with the next `protloc up`, from its checkpoint"
    warning = f"a training is at work, {', '.join(names)}; {later}"
    if ask and not sys.stdin.isatty():
        raise UsageProblem(f"{warning}. Add --yes to stop, or see it to its end: protloc retrain --follow")
    note(f"{warning}.")
    if ask:
        click.confirm("Stop the cloud all the same?", abort=True, err=True)


@click.command()
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say whether the embedded cloud runs, and where.

    JSON: pid, state (running, starting, stopped, or stopped by a signal), api, console_url, home,
    active_model; idle_seconds since it had anything to do, and after how many of them it ends itself
    (ends_after_idle_seconds); not_saved, since when and why, while its state cannot be saved; and the access
    of models' code that this system cannot take away: models_have_network, models_have_files.
    """
    from protloc.cloud import lifecycle

    state = lifecycle.status(home.resolve())
    if as_json:
        print_json(state)
        return
    idle, ends_after = state.pop("idle_seconds"), state.pop("ends_after_idle_seconds")
    if state["state"] == "running":
        state["idle"] = f"for {duration(idle)}" if idle else "no: it is at work"
        state["stop"] = (
            f"protloc down{f', or by itself when idle for {duration(ends_after)}' if ends_after else ''}"
        )
    for name, value in state.items():
        if value is not None:
            click.echo(f"{name.replace('_', ' '):>12}  {value}")


@click.command()
@home_option
@json_option
def env(home: Path, as_json: bool) -> None:
    """Print the address and the access key of the embedded cloud, for AWS's tools in a shell.

    The key is that of the home's file `credentials`, which only you can read; its holder owns the cloud.

    \b
    Examples
      eval "$(protloc env)" && aws s3 ls
      protloc env --json | jq -r .AWS_ENDPOINT_URL

    JSON: the variables by name.
    """
    from protloc.cloud import connection

    cloud = connection.find(home.resolve())
    if cloud is None:
        raise Unreachable(f"the embedded cloud of {home.resolve()} is not up; start it with `protloc up`")
    variables = cloud.variables
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo("unset AWS_SESSION_TOKEN AWS_PROFILE")
