"""`protloc report` and `protloc open`: an upload's answers as a page, in a file or live in the browser."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from protloc.cli.options import home_option, stack_option
from protloc.cli.shared import client_of, note, stack_words, upload_of
from protloc.errors import UploadProblem


@click.command()
@click.argument("upload")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Where the page goes; - is stdout. Without it: the input's name with .protloc.html added, "
    "in the current folder; another page that is there already stays, and this one gets a number.",
)
@stack_option
@home_option
def report(upload: str, output: Path | None, stack: str | None, home: Path) -> None:
    """Write an upload's answers as a page: one HTML file that opens in any browser, also offline.

    It shows where the proteins are and how sure that is, and has every protein in a table to filter and sort.
    Of more than 50,000 records it shows the sums alone.

    \b
    Examples
      protloc report abcdefghijklmnopqrstuvwxyz
      protloc report abcdefghijklmnopqrstuvwxyz -o yeast.html
    """
    from protloc.cli.results import STDOUT, default_output, fetch_report, require_writable
    from protloc.safe import safe
    from protloc.stack.client import file_name

    client = client_of(stack, home)
    view = client.upload(upload_of(client, upload))
    upload = view["upload"]
    if not view["results"]:
        words = f" {upload}{stack_words(stack)}"
        raise UploadProblem(
            f"the upload has no results ({view['status']}); `protloc show{words}` says how it stands"
        )
    is_named = output is not None
    output = output or default_output(safe(file_name(view["key"])), "html")
    require_writable(output)
    output = fetch_report(client, view, output, replace=is_named)
    if output != STDOUT:
        click.echo(f"{view['records']:,} records → {safe(str(output))}")


@click.command("open")
@click.argument("upload", required=False)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Without it: any free one.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Whether to open a browser.")
@stack_option
@home_option
def open_page(upload: str | None, port: int | None, browser: bool, stack: str | None, home: Path) -> None:
    """Open the page in the browser: send files, watch them, and look at the results.

    It is served on this machine, to your browser alone, for as long as the command runs; Ctrl-C ends it. Your
    own credentials ask the stack. The embedded cloud is started if none is up.

    \b
    Examples
      protloc open
      protloc open abcdefghijklmnopqrstuvwxyz
      protloc open --stack protloc --no-browser
    """
    import webbrowser

    from protloc.page.server import PageServer

    client = client_of(stack, home, start=True)
    if upload:
        upload = client.upload(upload_of(client, upload))["upload"]
    try:
        server = PageServer(client, port or 0, upload or "")
    except OSError as error:
        raise UploadProblem(f"the page cannot be served on port {port}: {error.strerror}") from None
    with server:
        click.echo(server.address)
        note("Open this address in your browser; it works once. Ctrl-C ends the page, not the work.")
        if browser:
            webbrowser.open(server.address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.2)
