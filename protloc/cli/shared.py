"""Helpers of the commands: the client of the stack they work on, JSON on stdout, notes on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from protloc.errors import Unreachable

if TYPE_CHECKING:
    from protloc.stack.client import Client


def client_of(stack: str | None, home: Path, *, start: bool = False) -> Client:
    """The client of the stack a command works on; `start` brings the embedded cloud up if need be."""
    if stack:
        from protloc.stack.client import connect

        return connect(stack)
    from protloc.embedded import active_model, ready, running

    home = home.resolve()
    client = running(home)
    if client is not None and (not start or active_model(client)):
        return client
    if not start:
        raise Unreachable(f"the embedded cloud of {home} is not up; start it with `protloc up`")
    return ready(home, note)


def upload_of(client: Client, name: str) -> str:
    """The id of the upload that a person calls so: by id, its beginning, `latest`, or its file's name."""
    from protloc.stack.lookup import find

    return find(client, name)


def stack_words(stack: str | None) -> str:
    """The words that name the stack in a suggested command."""
    return f" --stack {stack}" if stack else ""


def print_json(value: Any) -> None:
    click.echo(json.dumps(value))


class Loudness:
    """The amount of text on stderr besides errors, as the options --quiet and --verbose ask."""

    quiet = False
    verbose = False


def note(text: str) -> None:
    if not Loudness.quiet:
        click.echo(text, err=True)
