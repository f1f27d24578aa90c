"""protloc, the command line. Each command finds its stack, asks the client, and shows what came of it.

Answers go to stdout, progress and errors to stderr; `--json` puts exactly one JSON object on stdout. Exit
codes: 0 done, 1 the upload failed or timed out, 2 wrong usage, 3 cloud not reachable, 130 interrupted.
Everything heavy is imported where it is used, so that `--help` comes at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from protloc.errors import Problem, Unreachable, UploadProblem, UsageProblem

if TYPE_CHECKING:
    from protloc.client import Client
    from protloc.progress import PlainProgress

FORMAT_NAMES = ("tsv", "csv", "jsonl", "parquet")
COUNTS = ("records", "predicted", "rejected", "failed")
INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])


class Protloc(click.Group):
    """The group of all commands: every error becomes one line on stderr and the exit code it stands for."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            with _aws_errors():
                code = super().main(
                    args, prog_name or "protloc", complete_var, standalone_mode=False, **extra
                )
        except Problem as problem:
            code = _fail(str(problem), problem.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "protloc"
            code = _fail(f"{error.format_message()} See `{command} --help`.", UsageProblem.exit_code)
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            code = _fail("interrupted", INTERRUPTED)
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    from protloc.safe import safe

    click.echo(f"protloc: {safe(' '.join(message.split()))}", err=True)
    return code


@contextlib.contextmanager
def _aws_errors() -> Iterator[None]:
    """Errors of boto3 as what they mean to a person. boto3 is loaded only if a command has used it."""
    try:
        yield
    except Exception as error:
        if "botocore" not in sys.modules:
            raise
        raise _translated(error) from error


def _translated(error: Exception) -> Exception:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    if isinstance(error, NoCredentialsError):
        return Unreachable("no AWS credentials found; set up a profile, or AWS_ACCESS_KEY_ID and its secret")
    if isinstance(error, NoRegionError):
        return Unreachable("no AWS region found; set AWS_REGION to where the stack is")
    if isinstance(error, ClientError):
        said = error.response["Error"]
        message = f"{error.operation_name}: {said.get('Message') or said.get('Code')}"
        if "does not exist" in message and error.operation_name == "DescribeStacks":
            message += "; name the stack and the region (AWS_REGION) it was deployed with"
        return Unreachable(message)
    if isinstance(error, BotoCoreError | Boto3Error):
        return Unreachable(f"{error}; is the cloud up? `protloc status`")
    return error


def _default_home() -> Path:
    return Path(__file__).resolve().parents[1] / ".protloc"


def home_option(command: Command) -> Command:
    return click.option(
        "--home",
        envvar="PROTLOC_HOME",
        show_envvar=True,
        type=click.Path(file_okay=False, path_type=Path),
        default=_default_home,
        show_default=".protloc in the project",
        help="Folder of the embedded cloud's state. Each folder is a cloud of its own.",
    )(command)


def stack_option(command: Command) -> Command:
    return click.option(
        "--stack",
        metavar="NAME",
        help="Work on the AWS stack of this name, with your AWS credentials, instead of the embedded cloud.",
    )(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


def result_options(command: Command) -> Command:
    command = click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path, allow_dash=True),
        help="Where the results go; - is stdout. Without it: the input's name with .protloc.FORMAT added, "
        "in the current folder, replacing what an earlier run left there.",
    )(command)
    return click.option(
        "--format",
        "-f",
        "format_name",
        type=click.Choice(FORMAT_NAMES),
        help="Format of the results. Without it: what the end of --output says, else tsv.",
    )(command)


class Seconds(click.ParamType[float]):
    """A time: `90`, `90s`, `15m`, `2h`."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in "smh" and value else (value, "s")
        try:
            seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        except ValueError:
            seconds = 0
        if not 0 < seconds < float("inf"):
            self.fail(f"expected a time such as 90s, 15m or 2h, found {value!r}.", param, ctx)
        return seconds


def timeout_option(command: Command) -> Command:
    return click.option(
        "--timeout",
        type=Seconds(),
        help="Wait no longer than this (90s, 15m, 2h), then exit 1; the upload goes on.",
    )(command)


@click.group(
    cls=Protloc, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="protloc", message="%(package)s %(version)s")
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


@main.command()
@home_option
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Without it: any free one.")
def up(home: Path, port: int | None) -> None:
    """Start the embedded cloud, or bring a running one up to date.

    It runs in the background, on this machine only. The template is deployed where it changed, and the model
    that comes with protloc goes into service where there is none. Everything is kept in the home folder
    and is there again after `protloc down`, a crash or a restart.

    \b
    Examples
      protloc up
      PROTLOC_HOME=~/clouds/second protloc up --port 4567
    """
    from protloc.embedded import active_model, ready

    client = ready(home.resolve(), _note, port)
    click.echo(f"The embedded cloud is up, with model {active_model(client)}.")
    click.echo(f"API:  {client.api_url}")
    click.echo("Next: protloc predict FILE    Stop: protloc down")


@main.command()
@home_option
@click.option("--erase", is_flag=True, help="Also delete everything it kept: uploads, results, models.")
def down(home: Path, erase: bool) -> None:
    """Stop the embedded cloud. Its state stays, unless --erase is given."""
    from protloc.cloud import lifecycle

    stopped = lifecycle.down(home.resolve(), erase)
    said = "The embedded cloud is stopped" if stopped else "The embedded cloud was not running"
    click.echo(f"{said}, and what it kept is deleted." if erase else f"{said}; its state is kept in {home}.")


@main.command()
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say whether the embedded cloud runs, and where.

    JSON: pid, state (running, starting or stopped), api, console_url, home, active_model.
    """
    from protloc.cloud import lifecycle

    found = lifecycle.status(home.resolve())
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        if value is not None:
            click.echo(f"{name.replace('_', ' '):>12}  {value}")


# ── Predictions ─────────────────────────────────────────────────────────────────────────────────────────────


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@result_options
@json_option
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the results.", show_default=True)
@timeout_option
@click.option(
    "--table/--no-table", default=None, help="Print the answers as a table. Without it: on a terminal."
)
@stack_option
@home_option
def predict(
    file: Path,
    format_name: str | None,
    output: Path | None,
    as_json: bool,
    wait: bool,
    timeout: float | None,
    table: bool | None,
    stack: str | None,
    home: Path,
) -> None:
    """Predict where each protein of FILE belongs (FASTA, plain or gzip; - is stdin).

    FILE may be of any size and in any dialect of FASTA. Every record comes back as one row: predicted, or
    rejected with the reason. The embedded cloud is started if none is up.

    \b
    Examples
      protloc predict proteome.fasta
      protloc predict proteome.fasta.gz --format parquet -o answers.parquet
      protloc predict proteome.fasta --json | jq .predicted
      zcat *.faa.gz | protloc predict - -o all.tsv
      protloc predict proteome.fasta --stack protloc --timeout 2h

    JSON: upload, status, records, predicted, rejected, failed, seconds, output, reason.
    """
    from protloc.results import STDOUT, default_output, require_writable

    began = time.monotonic()
    name = "stdin" if file == Path("-") else file.name
    format_name = format_name or _format_of(output)
    output = output or default_output(name, format_name)
    if as_json and output == STDOUT:
        raise UsageProblem("--json and --output - both want stdout; choose one")
    if wait:
        require_writable(output, file)
    with _opened(file) as stream:
        client = _client(stack, home, start=True)
        with _make_progress() as progress:
            size = file.stat().st_size if file.is_file() else None
            sent = client.send(stream, name, lambda done: progress.sending(done, size))
            answer: dict[str, Any] = {
                "upload": sent.upload_id,
                "status": "receiving",
                **dict.fromkeys(COUNTS, 0),
                "seconds": 0.0,
                "output": None,
                "reason": None,
            }
            view = None
            problem: Problem | None = None
            if wait:
                view, problem = _follow(client, sent.upload_id, progress, timeout)
    if view is not None:
        answer |= {name: view[name] for name in ("status", *COUNTS, "reason")}
        if view["results"] and problem is None and view["records"]:
            _fetch(client, view, format_name, output)
            answer["output"] = str(output)
    answer["seconds"] = round(time.monotonic() - began, 2)
    if as_json:
        _print_json(answer)
    elif not wait:
        click.echo(sent.upload_id)
        _note(f"sent; look with `protloc show {sent.upload_id}{_stack_words(stack)}`")
    elif view is not None and problem is None and output != STDOUT:
        show_table = sys.stdout.isatty() if table is None else table
        _show_results(client, view, answer, show_table, stack)
    if problem is None and view is not None:
        problem = _verdict(view, answer["output"])
    if problem is not None:
        raise problem


@main.command()
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@json_option
@stack_option
@home_option
def uploads(limit: int, as_json: bool, stack: str | None, home: Path) -> None:
    """List the uploads, newest first."""
    from protloc.display import show_uploads

    found = list(islice(_client(stack, home).uploads(), limit))
    if as_json:
        _print_json({"uploads": found})
    else:
        show_uploads(found)


@main.command()
@click.argument("upload")
@json_option
@stack_option
@home_option
def show(upload: str, as_json: bool, stack: str | None, home: Path) -> None:
    """Show how one upload stands: its status, counts, and where its results are.

    JSON: upload, status (receiving, running, complete, partial or failed), reason, records, predicted,
    rejected, failed, model_version, created, finished, progress, results, and where the file is in S3.
    """
    from protloc.display import show_upload
    from protloc.progress import stage

    view = _client(stack, home).upload(upload)
    if as_json:
        _print_json(view)
        return
    show_upload(view)
    if view["finished"]:
        click.echo(f"\nResults as a file: protloc results {upload}{_stack_words(stack)}")
    else:
        now = stage(view)
        click.echo(f"\nNow {now.phase}" + (f": {now.detail}" if now.detail else ""))


@main.command()
@click.argument("upload")
@result_options
@json_option
@click.option("--wait", is_flag=True, help="Wait for an upload that is still in work.")
@timeout_option
@stack_option
@home_option
def results(
    upload: str,
    format_name: str | None,
    output: Path | None,
    as_json: bool,
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
      protloc results abcdefghijklmnopqrstuvwxyz -f jsonl -o - | head

    JSON: the same object as of `protloc predict`.
    """
    from protloc.client import file_name
    from protloc.results import STDOUT, default_output, require_writable
    from protloc.safe import safe

    began = time.monotonic()
    format_name = format_name or _format_of(output)
    if as_json and output == STDOUT:
        raise UsageProblem("--json and --output - both want stdout; choose one")
    client = _client(stack, home)
    view = client.upload(upload)
    output = output or default_output(safe(file_name(view["key"])), format_name)
    require_writable(output)
    problem: Problem | None = None
    if wait:
        with _make_progress() as progress:
            last, problem = _follow(client, upload, progress, timeout)
            view = last or view
    answer = {name: view[name] for name in ("upload", "status", *COUNTS)}
    answer |= {"seconds": 0.0, "output": None, "reason": view["reason"]}
    if view["results"] and view["records"]:
        _fetch(client, view, format_name, output)
        answer["output"] = str(output)
    elif problem is None and not view["finished"]:
        problem = UploadProblem(f"the upload is still {view['status']}; wait for it with --wait")
    answer["seconds"] = round(time.monotonic() - began, 2)
    if as_json:
        _print_json(answer)
    elif answer["output"] and output != STDOUT:
        click.echo(_sentence(view, answer))
    if problem is None:
        problem = _verdict(view, answer["output"])
    if problem is not None:
        raise problem


# ── Model versions ──────────────────────────────────────────────────────────────────────────────────────────


@main.group(invoke_without_command=True)
@json_option
@stack_option
@home_option
@click.pass_context
def models(context: click.Context, as_json: bool, stack: str | None, home: Path) -> None:
    """List the model versions, and add one.

    \b
    Examples
      protloc models
      protloc models add model/default
      protloc models --stack protloc add s3://my-bucket/model.tar.gz
    """
    context.obj = (stack, home)
    if context.invoked_subcommand is not None:
        return
    from protloc.display import show_models

    found = _client(stack, home).models()
    if as_json:
        _print_json(found)
    else:
        show_models(found)


@models.command("add")
@click.argument("artifact")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is in service.")
@stack_option
@click.pass_obj
def add_model(of_group: tuple[str | None, Path], artifact: str, wait: bool, stack: str | None) -> None:
    """Put a trained model into service: ARTIFACT is a folder, a model.tar.gz, or the s3:// address of one.

    The state machine hosts it beside the active version, tries it on known proteins, and makes it the active
    one. Uploads in work stay with the version they began with. What fails leaves the active version as it is.
    """
    from protloc.versions import add

    stack = stack or of_group[0]
    version = add(_client(stack, of_group[1]), artifact, _note, wait=wait)
    if wait:
        click.echo(f"{version} is in service and answers new uploads.")
    else:
        click.echo(f"{version} is on its way into service; look with `protloc models{_stack_words(stack)}`.")


# ── What the commands share ─────────────────────────────────────────────────────────────────────────────────


def _client(stack: str | None, home: Path, *, start: bool = False) -> Client:
    """The client of the stack a command works on; `start` brings the embedded cloud up if need be."""
    if stack:
        from protloc.client import connect

        return connect(stack)
    from protloc.embedded import active_model, ready, running

    home = home.resolve()
    client = running(home)
    if client is not None and (not start or active_model(client)):
        return client
    if not start:
        raise Unreachable(f"the embedded cloud of {home} is not up; start it with `protloc up`")
    return ready(home, _note)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    if file == Path("-"):
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


def _format_of(output: Path | None) -> str:
    suffix = output.suffix.lstrip(".").lower() if output else ""
    return suffix if suffix in FORMAT_NAMES else "tsv"


def _make_progress() -> PlainProgress:
    from protloc.progress import make_progress

    return make_progress()


def _follow(
    client: Client, upload: str, progress: PlainProgress, timeout: float | None
) -> tuple[dict[str, Any] | None, Problem | None]:
    """Wait for an upload; return how it stands and, where the time was over, the problem that makes."""
    last: dict[str, Any] | None = None

    def tell(view: dict[str, Any] | None) -> None:
        nonlocal last
        last = view
        progress.working(view)

    try:
        return client.wait(upload, tell, timeout), None
    except UploadProblem as problem:
        return last, problem
    except KeyboardInterrupt:
        progress.note(f"The upload goes on. Come back with: protloc show {upload}")
        raise


def _fetch(client: Client, view: dict[str, Any], format_name: str, output: Path) -> None:
    from protloc.results import fetch

    try:
        fetch(client, view["results"], format_name, output)
    except OSError as error:
        raise UploadProblem(
            f"the results could not be written to {output} ({error.strerror or error}); "
            f"take them again with `protloc results {view['upload']}`"
        ) from None


def _verdict(view: dict[str, Any], output: str | None) -> Problem | None:
    """What is to be said of an upload that ended other than completely."""
    if view["status"] not in ("partial", "failed"):
        return None
    kept = f"; what could be predicted is in {output}" if output else ""
    return UploadProblem(f"the upload is {view['status']}: {view['reason'] or 'no reason given'}{kept}")


def _show_results(
    client: Client, view: dict[str, Any], answer: dict[str, Any], show_table: bool, stack: str | None
) -> None:
    if show_table and answer["output"]:
        from protloc.display import show_answers
        from protloc.results import downloaded_rows

        with downloaded_rows(client, view["results"]) as rows:
            show_answers(rows, view["records"])
        click.echo()
    click.echo(_sentence(view, answer))
    if not show_table:
        return
    click.echo(f"\nResults  {answer['output'] or 'none'}")
    click.echo(f"Upload   protloc show {view['upload']}{_stack_words(stack)}")
    click.echo(f"API      {client.api_url}")
    if not stack:
        click.echo(
            f"         curl --aws-sigv4 aws:amz:{client.region}:execute-api --user test:test \\\n"
            f"           '{client.api_url}/uploads/{view['upload']}/predictions?location=Nucleus'"
        )
        click.echo("Stop     protloc down")


def _sentence(view: dict[str, Any], answer: dict[str, Any]) -> str:
    from protloc.progress import duration

    counts = ", ".join(f"{view[name]:,} {name}" for name in ("predicted", "rejected", "failed"))
    where = f" → {answer['output']}" if answer["output"] else ""
    return f"{view['status']}: {view['records']:,} records, {counts}, in {duration(answer['seconds'])}{where}"


def _stack_words(stack: str | None) -> str:
    return f" --stack {stack}" if stack else ""


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _note(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
