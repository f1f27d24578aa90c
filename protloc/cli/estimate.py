"""`protloc estimate`: a file's contents, and the time and cost of predicting it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from protloc.cli.options import json_option
from protloc.cli.shared import print_json
from protloc.errors import UsageProblem

if TYPE_CHECKING:
    from protloc.estimate.offers import Offer
    from protloc.estimate.reading import Contents


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@json_option
def estimate(file: Path, as_json: bool) -> None:
    """Read FILE on this machine and estimate the time and cost of predicting it: nothing is sent anywhere.

    It tells which records would be rejected and why, and for each model and instance type the minutes until
    the results and the dollars on AWS (us-east-1, from an endpoint without an instance, with its idle end).
    Minutes and dollars are computed by a model of the system; no run on AWS has confirmed them.

    \b
    Examples
      protloc estimate proteome.fasta.gz
      protloc estimate proteome.fasta --json | jq '.offers[] | {where, minutes, dollars}'

    JSON: records, proteins, residues, bytes, rejected, first_rejected, warnings, and offers, each with model,
    where, minutes, dollars and its parts by service.
    """
    from functions.domain.errors import InputError
    from protloc.cli.predicting import opened
    from protloc.estimate.offers import offers
    from protloc.estimate.reading import examine

    try:
        with opened(file) as stream:
            contents = examine(stream)
    except InputError as error:
        raise UsageProblem(f"{file} would be refused: {error}") from None
    ways = list(offers(contents.work)) if contents.work.proteins else []
    if not as_json:
        _show(str(file), contents, ways)
        return
    print_json(
        {
            "records": contents.records,
            "proteins": contents.work.proteins,
            "residues": contents.work.residues,
            "bytes": contents.work.bytes,
            "rejected": contents.rejected,
            "first_rejected": [
                {"line": line, "accession": accession, "reason": reason}
                for line, accession, reason in contents.first
            ],
            "warnings": contents.warnings,
            "offers": [
                {
                    "model": offer.model,
                    "where": offer.where,
                    "minutes": round(offer.run.minutes, 2),
                    "dollars": round(offer.total, 4),
                    "by_service": {name: round(value, 5) for name, value in offer.dollars.items()},
                }
                for offer in ways
            ],
        }
    )


def _show(name: str, contents: Contents, offers: Iterable[Offer]) -> None:
    from rich.text import Text

    from protloc.cli.display import add_row, console, new_table
    from protloc.safe import safe

    work = contents.work
    lines = [
        f"{safe(name)}: {contents.records:,} records; "
        f"{work.proteins:,} to be predicted, {work.residues:,} residues"
    ]
    if contents.rejected:
        lines.append(f"{contents.rejected:,} would be rejected:")
        for number, accession, reason in contents.first:
            lines.append(f"  line {number}  {safe(accession, 40)}  {safe(reason)}")
        if contents.rejected > len(contents.first):
            lines.append(f"  and {contents.rejected - len(contents.first):,} more")
    lines += [f"warning: {safe(each)}" for each in contents.warnings]
    output = console()
    for line in lines:
        output.print(Text(line))
    table = new_table("model", "where", "minutes>", "dollars>")
    for offer in offers:
        minutes = f"{offer.run.minutes:,.1f}" if offer.run.minutes >= 0.1 else "< 0.1"
        add_row(table, offer.model, offer.where, minutes, f"{offer.total:,.2f}" if offer.dollars else "–")
    if table.row_count:
        output.print(table)
        output.print(Text("Computed, not measured on AWS; us-east-1, from an endpoint without an instance."))
