"""Turns errors of the command line into one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import click

from protloc.cli.shared import Loudness
from protloc.errors import Problem, Unreachable, UsageProblem

INTERRUPTED = 130


class ReaderGone(Exception):
    """The program that reads our output has seen enough, as `head` has; click would make an error of it."""


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Raises ReaderGone where nobody reads the output printed within, flushed at the end."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


class Protloc(click.Group):
    """The group of all commands: every error becomes one line on stderr and the exit code it stands for.

    Every command takes `--quiet` and `--verbose`, and so does `protloc` itself, before the command.
    """

    def __init__(self, *arguments: Any, **extra: Any) -> None:
        super().__init__(*arguments, **extra)
        self.params += _loudness()

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        _add_loudness(cmd)
        super().add_command(cmd, name)

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _written():  # the help
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _written():
            return super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        _replace_unprintable()
        Loudness.quiet = Loudness.verbose = False
        if os.environ.get("NO_COLOR"):  # https://no-color.org
            extra["color"] = False
        try:
            with aws_errors():
                code = super().main(args, "protloc", complete_var, standalone_mode=False, **extra)
        except Problem as problem:
            code = _fail(str(problem), problem.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "protloc"
            code = _fail(f"{error.format_message()} See `{command} --help`.", UsageProblem.exit_code)
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            code = _fail("interrupted", INTERRUPTED)
        except ReaderGone:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:  # a file or folder that is not as a command needs it
            place = f"{error.filename}: " if error.filename else ""
            code = _fail(f"{place}{error.strerror or error}", Problem.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def _add_loudness(command: click.Command) -> None:
    """Add the options about how much a command says, to those of a group as well."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _add_loudness(each)
    command.params += _loudness()


def _loudness() -> list[click.Parameter]:
    """Make the options about how much is said; where one stands makes no difference."""

    def be(name: str) -> Any:
        def set_(_context: click.Context, _option: click.Parameter, value: bool) -> None:
            if value:
                setattr(Loudness, name, True)
                if name == "verbose":
                    logging.basicConfig(format="%(name)s: %(message)s")
                    logging.getLogger("urllib3.connectionpool").setLevel(logging.DEBUG)

        return set_

    quiet = click.Option(
        ["--quiet", "-q"],
        is_flag=True,
        expose_value=False,
        callback=be("quiet"),
        help="Say nothing but errors.",
    )
    verbose = click.Option(
        ["--verbose"],
        is_flag=True,
        expose_value=False,
        callback=be("verbose"),
        help="Tell each request, and where an error came from.",
    )
    return [quiet, verbose]


def _replace_unprintable() -> None:
    """Print a character that the terminal's encoding lacks as `?`, instead of ending the command.

    In the locale C, Python escapes bytes that it could not read, which is no help for characters that it
    cannot write.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def _fail(message: str, code: int) -> int:
    from protloc.safe import safe

    if Loudness.verbose and sys.exc_info()[0]:
        traceback.print_exc()
    click.echo(f"protloc: {safe(' '.join(message.split()))}", err=True)
    return code


@contextlib.contextmanager
def aws_errors() -> Iterator[None]:
    """Errors of boto3 in words for a person. boto3 is loaded only if a command has used it."""
    try:
        yield
    except Exception as error:
        if "botocore" not in sys.modules:
            raise
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


def _translated(error: Exception) -> Exception:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    if isinstance(error, NoCredentialsError):
        return Unreachable("no AWS credentials found; set up a profile, or AWS_ACCESS_KEY_ID and its secret")
    if isinstance(error, NoRegionError):
        return Unreachable("no AWS region found; set AWS_REGION to where the stack is")
    if isinstance(error, ClientError):
        details = error.response["Error"]
        message = f"{error.operation_name}: {details.get('Message') or details.get('Code')}"
        if "does not exist" in message and error.operation_name == "DescribeStacks":
            message += "; name the stack and the region (AWS_REGION) it was deployed with"
        return Unreachable(message)
    if isinstance(error, BotoCoreError | Boto3Error):
        return Unreachable(f"{error}; is the cloud up? `protloc status`")
    return error
