"""Writes into a model card how far its answers can be trusted: by calibration, precision and detector."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from model.judging.limits import WIDTH
from model.judging.markdown import percent, shown, table
from model.serving.artifact import Artifact


def calibration_of(artifact: Artifact) -> str:
    """The method of calibration, its error, and the figures that an average hides."""
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


def precision_of(precision: Mapping[str, Any], fitted: bool) -> str:
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


def outside_of(detector: Mapping[str, Any]) -> str:
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
