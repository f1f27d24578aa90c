"""The locations that a model tells apart: DeepLoc's ten, unless its artifact brings labels of its own.

DeepLoc's spelling stands on the wire and in every table. GO and UniProt terms are from the Gene Ontology and
UniProt's subcellular location vocabulary; DeepLoc's "Lysosome/Vacuole" covers two terms in each. Labels of a
model's own stand beside it in the models table, and beside each upload that it answers, as JSON text:

    [{"name": "Nucleus", "display": "Cell nucleus", "go": ["GO:0005634"], "threshold": 0.41}, …]

A threshold is there where a protein may have several locations: from that probability on it is named.
"""

import json
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple


class Location(NamedTuple):
    name: str  # DeepLoc's spelling or the label's own, used on the wire and in every table
    display: str
    go: tuple[str, ...]
    uniprot: tuple[str, ...] = ()
    threshold: float | None = None  # of a model that names several locations a protein


LOCATIONS: tuple[Location, ...] = (
    Location("Cell.membrane", "Cell membrane", ("GO:0005886",), ("SL-0039",)),
    Location("Cytoplasm", "Cytoplasm", ("GO:0005737",), ("SL-0086",)),
    Location("Endoplasmic.reticulum", "Endoplasmic reticulum", ("GO:0005783",), ("SL-0095",)),
    Location("Extracellular", "Extracellular", ("GO:0005576",), ("SL-0243",)),
    Location("Golgi.apparatus", "Golgi apparatus", ("GO:0005794",), ("SL-0132",)),
    Location("Lysosome/Vacuole", "Lysosome/Vacuole", ("GO:0005764", "GO:0005773"), ("SL-0158", "SL-0272")),
    Location("Mitochondrion", "Mitochondrion", ("GO:0005739",), ("SL-0173",)),
    Location("Nucleus", "Nucleus", ("GO:0005634",), ("SL-0191",)),
    Location("Peroxisome", "Peroxisome", ("GO:0005777",), ("SL-0204",)),
    Location("Plastid", "Plastid", ("GO:0009536",), ("SL-0209",)),
)

LOCATION_NAMES: tuple[str, ...] = tuple(location.name for location in LOCATIONS)
BY_NAME: dict[str, Location] = {location.name: location for location in LOCATIONS}

BETWEEN = "|"
"""Stands between the locations of a protein that has several."""


@dataclass(frozen=True, eq=False)  # one object for each text (`read_labels`), looked up for every row
class LabelSet:
    """The locations that a model tells apart, in the order of its probabilities."""

    locations: tuple[Location, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(location.name for location in self.locations)

    @cached_property
    def by_name(self) -> dict[str, Location]:
        return {location.name: location for location in self.locations}

    @property
    def several(self) -> bool:
        """True if a protein may have several of them."""
        return self.locations[0].threshold is not None

    @property
    def own(self) -> list[dict[str, Any]]:
        """The labels as JSON values; none for DeepLoc's ten, of which a protein has one."""
        if self is TEN:
            return []
        return [
            {"name": each.name, "display": each.display, "go": list(each.go)}
            | ({} if each.threshold is None else {"threshold": each.threshold})
            for each in self.locations
        ]

    @property
    def text(self) -> str:
        """The labels as `read_labels` reads them; empty for DeepLoc's ten."""
        return json.dumps(self.own, separators=(",", ":")) if self.own else ""

    def go_of(self, names: tuple[str, ...]) -> str:
        """The GO terms of some of the locations, each once, with commas between."""
        return ",".join(dict.fromkeys(term for name in names for term in self.by_name[name].go))


TEN = LabelSet(LOCATIONS)


@cache
def read_labels(text: str) -> LabelSet:
    """The labels of a text that the models table or an upload holds; DeepLoc's ten where it is empty.

    >>> read_labels("") is TEN, read_labels('[{"name": "A", "display": "a", "go": []}]').names
    (True, ('A',))
    """
    return labels_of(json.loads(text)) if text else TEN


def labels_of(described: list[dict[str, Any]] | None) -> LabelSet:
    """The labels of JSON values, as the API shows them; DeepLoc's ten where there are none."""
    if not described:
        return TEN
    return LabelSet(
        tuple(
            Location(each["name"], each["display"], tuple(each["go"]), (), each.get("threshold"))
            for each in described
        )
    )
