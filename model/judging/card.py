"""The model card: an artifact's README.md in Hugging Face's format, written from its description.

    python -m model.judging.card ARTIFACT [--into docs/model.md]

writes it again, and with `--into` also the table of figures of a page that has a place for it. Reads the
descriptions of older artifacts, which have fewer figures, and writes those. Needs neither numpy nor torch,
and no YAML library: a string in JSON is one in YAML.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.judging.certainty import calibration_of, outside_of, precision_of
from model.judging.limits import WIDTH, limits_of
from model.judging.markdown import CAPTIONS, LABELS, figures_of, shown, table
from model.serving.artifact import Artifact, read_artifact

PICTURES = "images"  # the folder beside a page
OPENING, CLOSING = "<!-- figures: written by model.judging.card -->", "<!-- end of figures -->"

INDEX = """model-index:
- name: {version}
  results:
  - task:
      type: text-classification
      name: Subcellular localization
    dataset:
      name: {dataset} ({split})
      type: {kind}
      split: {split}
    metrics:
{metrics}
"""
CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-classification
tags:
- biology
- protein
- subcellular-localization
{index}---

# {version}

{summary}

## What it is for

A first guess for many proteins at once: annotating a proteome, choosing candidates for an experiment,
noticing a label that does not fit. Every answer comes with a calibrated probability for each place; {certain}

It is a research tool, not a diagnostic one.

## How good it is

{figures}{precision}

## How sure it is

{calibration}

## What is outside of its knowledge

{outside}

## What it reads

Upper-case sequences; U, Z, O, B and J are read as X. Up to {max_residues} residues whole; of a longer
sequence the first and last {half}, which the answer reports (`residues_read`, `truncated`).

## How it was made

Trained on {trained} proteins of DeepLoc 1.0 or of a file in its format{validation} (SHA-256 of what was
learned from: `{digest}`){epochs}, with:

```json
{training}
```

## Looks at the test proteins

{looks}

## What it is not

{limits}

Licence: Apache-2.0, as the project's.
"""


def write_card(artifact: Artifact) -> None:
    """Write README.md into the artifact's folder."""
    (artifact.folder / "README.md").write_text(card(artifact), encoding="utf-8")


def _design(artifact: Artifact) -> str:
    """Describe the kind and number of networks that answer."""
    network = f"a `transformers` BertModel under a {artifact.head['kind']} head"
    members = len(artifact.training.get("members", ())) or 1
    beside = len(artifact.training.get("compositions", ()))
    if beside:
        return (
            f"The mean of {members + beside} networks: {members} of the kind of {network},\n"
            f"and {beside} that see what the protein is made of (`model/serving/composition.py`)"
        )
    return f"A{network[1:]}" if members == 1 else f"The mean of {members} networks, each {network}"


def card(artifact: Artifact) -> str:
    """The text of the model card."""
    metrics, data, training = artifact.metrics, artifact.data, artifact.training
    best = training.get("best_epoch")
    count = len(artifact.locations)
    knows_membrane = artifact.calibration["membrane_temperature"] is not None
    recipe = {name: value for name, value in training.items() if name != "history"}
    below = artifact.calibration.get("uncertain_below")
    membrane = ", and whether it is bound to a membrane" if knows_membrane else ""
    cell = "" if artifact.labels else " of a eukaryotic cell"
    several = "" if artifact.thresholds is None else ", one or several,"
    summary = f"""Tells in which of {count} places{cell}{several} a protein belongs{membrane}, from its
        amino-acid sequence alone. {_design(artifact)}, {training["parameters"]:,} parameters in all; made
        {artifact.created} by `model/train.py`."""
    return CARD.format(
        version=artifact.version,
        summary=textwrap.fill(" ".join(summary.split()), WIDTH),
        index=_index(artifact),
        certain="read it."
        if below is None
        else f"below\n{below:.2f} an answer is called uncertain and should be read as a hint.",
        figures=figures_of(artifact.metrics) + ("" if artifact.thresholds is None else _several(artifact)),
        calibration=calibration_of(artifact),
        outside=outside_of(artifact.outside),
        precision=precision_of(artifact.precision, not data.get("validation_learned_from")),
        max_residues=f"{artifact.max_residues:,}",
        half=f"{artifact.max_residues // 2:,}",
        trained=f"{data['proteins']:,}",
        validation=f", settings chosen on {data['validation']:,} others" if "validation" in data else "",
        digest=data["sha256"],
        epochs=f"; the weights are those after epoch {best}" if best else "",
        training=json.dumps(recipe, indent=1),
        looks=_looks(metrics.get("looks"), metrics.get("split")),
        limits=limits_of(artifact),
    )


def _several(artifact: Artifact) -> str:
    """Say how figures are meant where a protein may have several places, and from where on each is named."""
    assert artifact.thresholds is not None
    named = zip(artifact.locations, artifact.thresholds, strict=True)
    overlap = artifact.metrics.get("jaccard")
    text = f"""A protein may be in several places. An answer is right if it names each and no other, so
        Q10 is the share of such answers and a confidence the probability of one; macro-F1 and the correlation
        are means over the places, each against the rest. The mean overlap of named and true places (Jaccard)
        is {shown(overlap)}. A place is named from this probability on, chosen on validation for the highest
        correlation: {", ".join(f"{name} {threshold:.2f}" for name, threshold in named)}."""
    return "\n\n" + textwrap.fill(" ".join(text.split()), WIDTH)


def _index(artifact: Artifact) -> str:
    """The figures as Hugging Face lists them; nothing where there are none."""
    metrics = artifact.metrics
    listed = [
        f"    - type: {name}\n      name: {json.dumps(label)}\n      value: {metrics[name]}"
        for name, label in LABELS.items()
        if metrics.get(name) is not None
    ]
    if not listed:
        return ""
    version = json.dumps(artifact.version)
    dataset, kind = ("labelled proteins", "proteins") if artifact.labels else ("DeepLoc 1.0", "deeploc")
    return INDEX.format(
        version=version, dataset=dataset, kind=kind, split=metrics["split"], metrics="\n".join(listed)
    )


def _looks(looks: Sequence[Mapping[str, Any]] | None, split: str | None) -> str:
    if looks is None:  # an artifact from before looks were listed
        return "Once, for the figures above." if split == "test" else "None."
    rows = [
        [look["date"] or "not recorded", look["version"], look["split"]]
        + [shown(look[name]) for name in ("proteins", "q10", "macro_f1")]
        for look in looks
    ]
    columns = ["date", "version", "split", "proteins", "Q10", "macro-F1"]
    return "Every one, those at earlier versions too:\n\n" + table(columns, rows) if rows else "None."


def place(text: str, artifact: Artifact, pictures: Sequence[str] = ()) -> str:
    """`text` with figures and pictures (by name) between the two marks; ValueError where it has no place."""
    before, opening, rest = text.partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not opening or not closing:
        raise ValueError(f"expected {OPENING!r} and {CLOSING!r} in the page, found no such place")
    text_of_figures = f"Model `{artifact.version}`, made {artifact.created}. {figures_of(artifact.metrics)}"
    images = [f"![{name}]({PICTURES}/{name}.png)\n\n{CAPTIONS[name]}" for name in pictures]
    between = "\n\n".join([text_of_figures, *images])
    return f"{before}{opening}\n{between}\n{closing}{after}"


def put_into(page: Path, artifact: Artifact) -> str:
    """The text of a page with the artifact's figures, and with those pictures that lie beside it."""
    there = [name for name in CAPTIONS if (page.parent / PICTURES / f"{name}.png").is_file()]
    return place(page.read_text(encoding="utf-8"), artifact, there)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the card again, and the figures into a page."""
    parser = argparse.ArgumentParser(description="Write an artifact's card from its description.")
    parser.add_argument("artifact", type=Path, help="an unpacked artifact")
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help="a page with a marked place for the figures"
    )
    options = parser.parse_args(arguments)
    artifact = read_artifact(options.artifact)
    write_card(artifact)
    if options.into is not None:
        options.into.write_text(put_into(options.into, artifact), encoding="utf-8")


if __name__ == "__main__":
    main()
