"""A report of a judgement: pictures in a folder, or one HTML file that opens without a network.

Drawn from what `evaluate.judge` found. Everything that comes from a labelled file is escaped.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from model import plots
from model.artifact import Artifact
from model.plots import Figure
from model.tables import CAPTIONS, COLUMNS, LABELS, shown

UNIPROT = "https://www.uniprot.org/uniprotkb?query="
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
        _table(
            ["figure", "value (95 % interval)"],
            [[label, shown(judged[name], between[name])] for name, label in LABELS.items()],
        )
    ]
    if "against" in judged:
        parts += ["<h2>Against the champion</h2>", _against(judged["against"])]
    parts += [_picture(name, picture) for name, picture in pictures.items()]
    parts += ["<h2>By location</h2>", _table(["location", *COLUMNS.values()], _locations(judged))]
    if judged.get("mistakes"):
        parts += ["<h2>The most confident mistakes</h2>", _mistakes(judged["mistakes"])]
    return PAGE.format(
        title=html.escape(f"{artifact.version} on {judged['proteins']:,} proteins ({judged['split']})"),
        note=html.escape(
            f"Model made {artifact.created}, {artifact.training['parameters']:,} parameters. Intervals: "
            "bootstrap over proteins."
        ),
        body="\n".join(parts),
    )


def _locations(judged: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, *(shown(found[key], found.get(f"{key}_interval")) for key in COLUMNS)]
        for name, found in judged["locations"].items()
    ]


def _against(against: Mapping[str, Any]) -> str:
    rows = [
        [
            label,
            shown(against[name]["champion"]),
            shown(against[name]["challenger"]),
            shown(against[name]["difference"], against[name]["interval"]),
        ]
        for name, label in LABELS.items()
    ]
    return _table(["figure", f"champion {against['version']}", "this model", "difference (95 %)"], rows)


def _mistakes(mistakes: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            found["accession"],
            found["location"],
            found["named"],
            shown(found["confidence"]),
            shown(found["length"]),
        ]
        for found in mistakes
    ]
    return _table(["accession", "true", "named", "confidence", "residues"], rows, link=True)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], link: bool = False) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = []
    for row in rows:
        cells = [html.escape(value) for value in row]
        if link:
            cells[0] = f'<a href="{UNIPROT}{quote(row[0], safe="")}">{cells[0]}</a>'
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"


def _picture(name: str, picture: Figure) -> str:
    content = io.BytesIO()
    with plots.styled():
        picture.savefig(content, format="svg", metadata={"Date": None})
    data = base64.b64encode(content.getvalue()).decode()
    caption = html.escape(CAPTIONS[name])
    return (
        f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
