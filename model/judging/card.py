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

from model.judging.limits import WIDTH, limits_of
from model.judging.markdown import CAPTIONS, LABELS, figures_of, percent, shown, table
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
        calibration=_calibration(artifact),
        outside=_outside(artifact.outside),
        precision=_precision(artifact.precision, not data.get("validation_learned_from")),
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


def _calibration(artifact: Artifact) -> str:
    calibration: Mapping[str, Any] = artifact.calibration
    metrics = artifact.metrics
    method = "one temperature for all places"
    if calibration.get("temperature_by_relative"):
        method = "a temperature for proteins with a near relative, with a distant one and with none"
    if calibration.get("method") == "vector":
        method = "a scale and a shift for each place (vector scaling)"
    if calibration.get("method") == "labels":
        method = "a temperature for each place"
    also = "" if calibration["membrane_temperature"] is None else " and by a temperature for the membrane"
    paragraphs = [
        f"""Probabilities are calibrated on the validation split, by {method}{also}:
        of answers with confidence 0.8, about eight in ten should be right."""
    ]
    if "ece_by_chance" in metrics:
        chance = metrics["ece_by_chance"]
        paragraphs[0] += f""" The calibration error (ECE, 15 bins) is {shown(metrics["ece"])} on
        {metrics["split"]}; a model that is right exactly as often as it says would show
        {shown(chance["mean"])} on as many proteins, and up to {shown(chance["at_most"])} by chance."""
    if "uncertain" in metrics:
        uncertain = metrics["uncertain"]
        paragraphs.append(
            f"""Answers below confidence {uncertain["below"]:.2f} are called uncertain: the lowest threshold
            from which on {percent(calibration["certain_accuracy"])} of the validation proteins are answered
            right. On {metrics["split"]} that leaves {percent(uncertain["certain_share"])} of the proteins
            certain, of which {percent(uncertain["certain_accuracy"])} are right; of the uncertain ones
            {percent(uncertain["uncertain_accuracy"])} are."""
        )
    if artifact.relatives:
        paragraphs.append(
            f"""Beside the networks the relatives of a protein vote (`model/serving/relatives.py`), found
            among the {artifact.relatives["proteins"]:,} labelled ones by the words they share. An answer says
            whether it had a near one, a distant one or none (`relative`). It also names the smallest set of
            places that is to hold the true one {percent(calibration["set_share"])} of the time
            (`locations_90`); the table says where that falls short."""
        )
        paragraphs.append(
            """The index of words was made from the sequences of the training proteins, which are UniProt's
            (CC BY 4.0); it holds half of their words, in an alphabet of 14 classes of residues. With labels
            of one's own, `--relatives own` or `none` leaves others', or all, out of it."""
        )
    if artifact.data.get("validation_learned_from"):
        paragraphs.append(
            """These figures of the validation split, and the calibration, are those of the same recipe
            without the validation proteins: half of these are whole families, without a relative in training,
            the rest drawn one by one. What answers now has learned from them as well."""
        )
    written = [textwrap.fill(" ".join(text.split()), WIDTH) for text in paragraphs]
    return "\n\n".join([*written, *_groups(metrics.get("groups"))])


def _groups(groups: Mapping[str, Any] | None) -> list[str]:
    """The accuracy and confidence on proteins that the figures above hide."""
    if groups is None:
        return []
    text = f"""That is said of the {groups["split"]} split as a whole. Proteins without a relative among
        those it learned from, and fragments, fare otherwise (`model/judging/groups.py`):"""
    columns = ["proteins of the split", "number", "Q10", "macro-F1", "mean confidence", "ECE"]
    columns += ["confidence ≥ 0.8", "of which right"]
    numbers, shares = (
        ("proteins", "q10", "macro_f1", "confidence", "ece"),
        ("confident_share", "confident_accuracy"),
    )
    of_sets = "set_holds" in groups["figures"]["all"]
    if of_sets:
        columns += ["set holds the truth", "places in it"]
    rows = [
        [name, *(shown(row[each]) for each in numbers), *(percent(row[each]) for each in shares)]
        + ([percent(row["set_holds"]), shown(row["set_size"])] if of_sets else [])
        for name, row in groups["figures"].items()
    ]
    return [textwrap.fill(" ".join(text.split()), WIDTH), table(columns, rows)]


def _precision(precision: Mapping[str, Any], fitted: bool) -> str:
    """In which precision it answers, and how much that changes.

    `fitted` is whether it was judged and calibrated in that precision: on proteins it has not learned from.
    """
    if not precision:
        return ""
    text = f"""It answers in {precision["head"]}: its head's convolutions are computed so where the processor
        has it, and in fp32 elsewhere. Of {precision["proteins"]:,} validation proteins
        {percent(precision["same_location"])} get the same location as from the same weights in fp32
        (`{precision["of"]}`), and no probability differs by more than {precision["largest_difference"]}."""
    if fitted:
        text += f""" Q10 is {precision["q10"]} where it is {precision["q10_fp32"]}. It is calibrated in
        {precision["head"]}; figures of the test proteins are those in fp32."""
    return "\n\n" + textwrap.fill(" ".join(text.split()), WIDTH)


def _outside(detector: Mapping[str, Any]) -> str:
    """Describe the detector of proteins that the model could not know, and how often it errs."""
    if not detector:
        return "It does not tell: for whatever is spelled like a protein it names a place."
    kinds = "prokaryotic proteins and from sequences that no cell makes"
    if "prokaryotic" not in detector["kinds"]:
        kinds = "sequences that no cell makes"
    learned = (
        f" Of prokaryotes it has learned from {_listed(detector['prokaryotes'])}."
        if detector.get("prokaryotes")
        else ""
    )
    text = f"""A detector beside the networks (`model/serving/outside.py`) tells eukaryotic proteins from
        {kinds}. Each answer says which share of eukaryotic proteins, in families that the detector has not
        learned from, are less unlike the known ones than this one (`outside`); beyond
        {percent(detector["above"])} a remark says what it is more like. Confidence is not scaled by
        it.{learned} How often it calls sequences outside, none of which it has learned from, and how many
        answers are given with confidence 0.8 or more, at all and without such a remark:"""
    rows = [
        [name, shown(row["sequences"])]
        + [percent(row[figure]) for figure in ("outside", "confident", "confident_inside")]
        for name, row in detector.get("figures", {}).items()
    ]
    columns = ["sequences", "number", "called outside", "confidence ≥ 0.8", "confidence ≥ 0.8, no remark"]
    return "\n\n".join([textwrap.fill(" ".join(text.split()), WIDTH), table(columns, rows)])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


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
