"""Follows an upload to its end and hands over its results, for `predict` and `results`.

There is always an answer to print: the upload's name, how far it got, where its results are. A problem
travels beside it, so that `--json` prints its one object in every case.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import click

from protloc.cli.failures import aws_errors
from protloc.cli.progress import duration, make_progress
from protloc.cli.results import STDOUT, downloaded_rows, fetch
from protloc.cli.shared import note
from protloc.errors import Problem, UploadProblem, UsageProblem
from protloc.safe import safe

if TYPE_CHECKING:
    from protloc.cli.progress import PlainProgress
    from protloc.stack.client import Client

UNSEEN_SECONDS = 180.0  # a busy stack may take minutes to pick up a file
STILL_SECONDS = 900.0  # an endpoint that wakes takes up to ten minutes
COUNTS = ("records", "predicted", "rejected", "failed")

View = dict[str, Any]


class Outcome(NamedTuple):
    """The state of an upload as far as it was followed, and its complaints."""

    answer: View
    problem: Problem | None


class Standstill:
    """Notices that an upload has stood still, once for each while that it has."""

    def __init__(self) -> None:
        self._last: object = ()
        self._since = 0.0

    def lasts(self, view: View | None) -> bool:
        """True if nothing has changed in `STILL_SECONDS`, nor since it was last said."""
        state = view and (view["status"], view["progress"], *(view[name] for name in COUNTS))
        now = time.monotonic()
        if state != self._last:
            self._last, self._since = state, now
        if now - self._since < STILL_SECONDS:
            return False
        self._since = now
        return True


class Following:
    """One upload, and the output that was asked for."""

    def __init__(self, client: Client, upload: str, stack: str | None, began: float) -> None:
        self.client = client
        self.upload = upload
        self.began = began
        self.where = f" --stack {stack}" if stack else ""
        self.words = f" {upload}{self.where}"
        self.view: View | None = None
        self.problem: Problem | None = None

    def wait(
        self,
        progress: PlainProgress,
        timeout_seconds: float | None,
        unseen_seconds: float | None = None,
    ) -> None:
        """Wait for the end; an error while waiting becomes `problem`."""
        standstill = Standstill()

        def tell(view: View | None) -> None:
            self.view = view
            progress.working(view)
            if standstill.lasts(view):
                progress.note(
                    f"Nothing has changed for {duration(STILL_SECONDS)}. `protloc doctor{self.where}` looks "
                    "for a reason; the stack's alarms name a function that fails."
                )

        try:
            self.client.wait(self.upload, tell, timeout_seconds, unseen_seconds)
        except UsageProblem:
            raise
        except Problem as problem:
            self.problem = type(problem)(
                f"{problem}; the upload goes on, look with `protloc show{self.words}`"
            )
        except KeyboardInterrupt:
            progress.note(f"The upload goes on. Come back with: protloc show{self.words}")
            raise

    def conclude(self, format_name: str, output: Path, *, replace: bool) -> Outcome:
        """Write the results where there are any, as of `fetch`, and sum up."""
        view, problem, written = self.view, self.problem, None
        if view and view["results"] and view["records"]:
            try:
                with aws_errors():
                    place = fetch(self.client, view["results"], format_name, output, replace=replace)
                if place != output:
                    note(f"{safe(str(output))} holds other results, which stay; --output would replace them")
                written = str(place)
            except (Problem, OSError) as error:
                if output == STDOUT and isinstance(error, BrokenPipeError):
                    raise  # the reader has seen enough
                again = f"take them again with `protloc results{self.words}`"
                kind = type(error) if isinstance(error, Problem) else UploadProblem
                problem = kind(f"the results could not be written to {output} ({error}); {again}")
        if problem is None and view:
            problem = _verdict(view, written, self.words)
        return Outcome(self.answer(written), problem)

    def answer(self, written: str | None) -> View:
        """The object of `--json`."""
        view = self.view or {}
        return {
            "upload": self.upload,
            "status": view.get("status", "receiving"),
            **{name: view.get(name, 0) for name in COUNTS},
            "seconds": round(time.monotonic() - self.began, 2),
            "output": written,
            "reason": view.get("reason"),
            "warnings": view.get("warnings", []),
        }


def warn(answer: View) -> None:
    """Print on stderr the reasons to doubt the answers."""
    for warning in answer["warnings"]:
        note(f"warning: {safe(warning)}")


def sentence(answer: View) -> str:
    """An answer in one line."""
    counts = ", ".join(f"{answer[name]:,} {name}" for name in COUNTS[1:])
    where = f" → {safe(answer['output'])}" if answer["output"] else ""
    took = duration(answer["seconds"])
    return f"{answer['status']}: {answer['records']:,} records, {counts}, in {took}{where}"


def show_outcome(following: Following, answer: View, stack: str | None, hints: bool) -> None:
    """Show the answers as a table and, with `hints`, the commands that may follow."""
    from functions.domain.locations import labels_of
    from protloc.cli.display import show_answers

    client, view = following.client, following.view
    labels = labels_of(view.get("labels") if view else None)
    if answer["output"] and view:
        with downloaded_rows(client, view["results"]) as rows:
            show_answers(rows, view["records"], labels)
        click.echo()
    click.echo(sentence(answer))
    if not hints:
        return
    click.echo(f"\nResults  {safe(answer['output'] or 'none')}")
    click.echo(f"Upload   protloc show{following.words}")
    click.echo(f"API      {client.api_url}/uploads/{following.upload}")
    if not stack:
        place = quote("Nucleus" if "Nucleus" in labels.names else labels.names[0])
        click.echo(
            '         eval "$(protloc env)"; '
            f"curl --aws-sigv4 aws:amz:{client.region}:execute-api \\\n"
            '           --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\\n'
            f"           '{client.api_url}/uploads/{following.upload}/predictions?location={place}'"
        )
        click.echo("Stop     protloc down")


def wants_table(table: bool | None, output: Path) -> bool:
    """True if the answers are shown as a table: as asked, or else on a terminal."""
    return output != STDOUT and (sys.stdout.isatty() if table is None else table)


def follow(following: Following, timeout_seconds: float | None) -> None:
    """Wait for an upload that is there already."""
    with make_progress() as progress:
        following.wait(progress, timeout_seconds, UNSEEN_SECONDS)


def _verdict(view: View, written: str | None, words: str) -> Problem | None:
    """Describe an upload that did not end completely."""
    reason = view["reason"] or "no reason given"
    again = f"; try again what failed with `protloc retry{words}`" if view["failed"] else ""
    if view["status"] == "failed":
        return UploadProblem(f"the upload failed: {reason}{again}")
    if view["status"] == "partial":
        where = f"in {written}" if written else f"there: `protloc results{words}`"
        return UploadProblem(f"the upload is partial: {reason}; all rows there are, are {where}{again}")
    if view["status"] == "cancelled":
        return UploadProblem(f"the upload was {reason}{again}")
    if not view["finished"]:
        return UploadProblem(f"the upload is still {view['status']}; wait for it with --wait")
    return None
