"""The ten locations: DeepLoc's spelling on the wire, and what each is called elsewhere.

GO and UniProt terms from the Gene Ontology and UniProt's subcellular location vocabulary; DeepLoc's
"Lysosome/Vacuole" covers two terms in each.
"""

from typing import NamedTuple


class Location(NamedTuple):
    name: str  # DeepLoc's spelling, used on the wire and in every table
    display: str
    go: tuple[str, ...]
    uniprot: tuple[str, ...]


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
