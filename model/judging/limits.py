"""Writes the limits of a model into its card: of its labels, of its data and of its answers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from model.serving.artifact import Artifact

WIDTH = 110
LOCATIONS_TOLD = 20  # of those without a protein to learn from

MEMBRANES = """**Nothing about membranes.** Of no protein that it learned from it was known whether it
    is bound to one, so `membrane` is null in every answer."""
UNLEARNED = """**Nothing about {names}.** There was no protein of {them} to learn from, so hardly any is
    answered with {them}."""
KINGDOMS = """**Not for bacteria, archaea or viruses.** It knows proteins of eukaryotes; of others it
    names the most similar of its {count} places, with a confidence that means nothing. Where a header
    names such an organism a remark says so; where none does, the detector above tells a part of them."""
ONE_PLACE = """**One place only.** Many proteins live in two or more; it names one, and the second most
    probable place is then worth a look."""
BOTH = "Proteins of both cytoplasm and nucleus count as cytoplasm here."
RARE = """**Rare places are its weakest.** Few proteins of {rare} were there to learn from; the table
    shows how often each is found, and for few proteins how far to trust that."""
DEEPLOC = "DeepLoc keeps test proteins apart from the others by clusters of 30 % identity."
HOMOLOGY = """Relatives of training proteins fare better than the test figures say, families unlike any
    of them worse."""
KINDS = """**Plants, fungi and single cells** are fewer than animals in the data. A plastid is named
    from the sequence alone: the model is not told which organism a protein is from, and may name one
    for an animal's."""
MUTANTS = """**Isoforms and mutants**: it was not trained to tell the effect of single substitutions."""


def limits_of(artifact: Artifact) -> str:
    """The points of the section, in Markdown. Facts about DeepLoc's ten are left out for other labels."""
    points = [KINGDOMS.format(count=len(artifact.locations)), KINDS] if not artifact.labels else []
    if artifact.calibration["membrane_temperature"] is None:
        points.insert(0, MEMBRANES)
    if unlearned := unlearned_of(artifact):
        names = unlearned[:LOCATIONS_TOLD]
        more = f" and {len(unlearned) - len(names)} more" if len(unlearned) > len(names) else ""
        them = "it" if len(unlearned) == 1 else "them"
        points.insert(0, UNLEARNED.format(names=", ".join(names) + more, them=them))
    if artifact.thresholds is None:
        points.append(ONE_PLACE + ("" if artifact.labels else f" {BOTH}"))
    points.append(RARE.format(rare=_rare(artifact.metrics)))
    points.append(f"**Homology.** {HOMOLOGY}" if artifact.labels else f"**Homology.** {DEEPLOC} {HOMOLOGY}")
    points.append(MUTANTS)
    return "\n".join(
        textwrap.fill(" ".join(point.split()), WIDTH, initial_indent="- ", subsequent_indent="  ")
        for point in points
    )


def unlearned_of(artifact: Artifact) -> list[str]:
    """The locations without a protein to learn from, neither for the model nor for those it began with."""
    return [str(name) for name in artifact.data.get("unlearned", ())]


def _rare(metrics: Mapping[str, Any]) -> str:
    """The locations of the fewest proteins that it was judged by."""
    counted = {name: of["proteins"] for name, of in metrics.get("locations", {}).items()}
    fewest = sorted(counted, key=counted.__getitem__)[:4]
    return ", ".join(fewest) if fewest else "some places"
