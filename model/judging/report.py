"""A report of a judgement: pictures in a folder, or one HTML file that opens without a network.

Drawn from the result of `evaluate.judge`. Everything that comes from a labelled file is escaped.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.judging import plots
from model.judging.markdown import CAPTIONS, COLUMNS, LABELS, by_location, difference, shown
from model.judging.plots import Figure
from model.serving.artifact import Artifact

# An accession of UniProt (https://www.uniprot.org/help/accession_numbers), and an isoform's number.
ACCESSION = re.compile(
    r"([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:-[0-9]{1,3})?"
)
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2933 }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.6rem }} h2 {{ font-size: 1.15rem; margin-top: 2.2rem }}
table {{ border-collapse: collapse }} th, td {{ padding: .25rem .8rem; border-bottom: 1px solid #e3e7eb }}
th {{ text-align: left; font-weight: 600 }}
th + th, td + td {{ text-align: right; font-variant-numeric: tabular-nums }}
figure {{ margin: 1.5rem 0 }} figure img {{ max-width: 100% }}
details {{ margin: .8rem 0 }} summary {{ cursor: pointer }}
td {{ overflow-wrap: anywhere }} td + td {{ white-space: nowrap }}
.problems th, .problems td {{ text-align: left; white-space: normal }}
.problems td:first-child {{ min-width: 14rem }}
figcaption, .note {{ color: #56616b; font-size: .9rem }}
</style>
<h1>{title}</h1>
<p class="note">{note}</p>
{body}
</html>
"""


def write(place: Path, judged: Mapping[str, Any], artifact: Artifact) -> None:
    """Write the report: `place` is a file that ends in `.html`, or a folder for pictures."""
    pictures = plots.draw(judged, artifact.training.get("history", ()))
    if place.suffix == ".html":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page(judged, artifact, pictures), encoding="utf-8")
    else:
        plots.save(pictures, place)


def page(judged: Mapping[str, Any], artifact: Artifact, pictures: Mapping[str, Figure]) -> str:
    """The HTML of a report."""
    between = judged["intervals"]
    parts = [
        table(
            ["figure", "value (95 % interval)"],
            [[label, shown(judged[name], between[name])] for name, label in LABELS.items()],
        )
    ]
    if "against" in judged:
        parts += ["<h2>Against the champion</h2>", _against(judged["against"])]
    parts += [figure(name, picture) for name, picture in pictures.items()]
    parts += ["<h2>By location</h2>", locations(judged)]
    if judged.get("mistakes"):
        parts += ["<h2>The most confident mistakes</h2>", mistakes(judged["mistakes"])]
    return PAGE.format(
        title=html.escape(f"{artifact.version} on {judged['proteins']:,} proteins ({judged['split']})"),
        note=html.escape(
            f"Model made {artifact.created}, {artifact.training['parameters']:,} parameters. Intervals: "
            "bootstrap over proteins."
        ),
        body="\n".join(parts),
    )


def locations(judged: Mapping[str, Any]) -> str:
    """The table of figures by location."""
    rows = [[name, *by_location(figures)] for name, figures in judged["locations"].items()]
    return table(["location", *COLUMNS.values()], rows)


def _against(against: Mapping[str, Any]) -> str:
    rows = [
        [
            label,
            shown(against[name]["champion"]),
            shown(against[name]["challenger"]),
            difference(against[name]),
        ]
        for name, label in LABELS.items()
    ]
    return table(["figure", f"champion {against['version']}", "this model", "difference (95 %)"], rows)


def mistakes(worst: Sequence[Mapping[str, Any]]) -> str:
    """The table of wrong answers, those of UniProt's proteins with a link to their entries."""
    rows = [
        [
            mistake["accession"],
            mistake["location"],
            mistake["named"],
            shown(mistake["confidence"]),
            shown(mistake["length"]),
        ]
        for mistake in worst
    ]
    return table(["accession", "true", "named", "confidence", "residues"], rows, link=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], link: bool = False) -> str:
    """A table of text, escaped; with `link` accessions in its first column lead to UniProt."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = []
    for row in rows:
        cells = [html.escape(value) for value in row]
        accession = ACCESSION.fullmatch(row[0]) if link else None
        if accession:
            cells[0] = f'<a href="https://www.uniprot.org/uniprotkb/{accession[1]}/entry">{cells[0]}</a>'
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"


def figure(name: str, picture: Figure) -> str:
    """A picture with its caption, inside the page."""
    content = io.BytesIO()
    with plots.styled():
        picture.savefig(content, format="svg", metadata={"Date": None})
    data = base64.b64encode(content.getvalue()).decode()
    caption = html.escape(CAPTIONS[name])
    return (
        f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
