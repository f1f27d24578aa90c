"""The kingdom of an organism, as far as its name or its header says so beyond doubt.

A header names its organism as UniProt's do (`OS=`, `OX=`), UniRef's (`Tax=`, `TaxID=`) or NCBI's (`[Genus
species]` at the end). The kingdom of a genus stands in `genera.txt`, which `locks/genera.py` writes from
NCBI's taxonomy: all genera of bacteria and archaea, and those of eukaryotes with a reference genome. Viruses
are told by their names, as they end by the rules of their nomenclature (https://ictv.global/about/code): of
the taxonomy's names, 98.4 % of the viruses' end so and one of 2.2 million others. All else is unknown.
"""

import re
from functools import cache
from pathlib import Path

from functions.domain.errors import InputError

ORGANISM = "organism"
"""The name, in an object's own metadata, of the organism that its proteins are of."""

VIRUSES = "viruses"
NO_EUKARYOTES = ("bacteria", "archaea", "bacteria or archaea", VIRUSES)
KINGDOMS = ("bacteria", "archaea", VIRUSES, "animals", "fungi", "plants", "eukaryotes")

_NAMED = re.compile(r"\b(?:OS|Tax)=(.+?)(?=\s[A-Za-z]{1,5}=|$)")
_NUMBERED = re.compile(r"\b(?:OX|TaxID)=(\d+)")
# With brackets inside, since NCBI writes [[Candida] auris] where a genus is in doubt.
_BRACKETED = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\s*$")
_VIRUS = re.compile(r"(?:virus|phage|viroid|viridae)\b|^[HS]IV-", re.IGNORECASE)
_DOUBTED = re.compile(r"[\[\]'\"]|^(?:uncultured|unclassified|unidentified) ")
_PROKARYOTE = re.compile(r"bacterium\b|\barchaeon\b|^Candidatus ")
_KIND = {"bacterium": "bacteria", "archaeon": "archaea", "Candidatus ": "bacteria or archaea"}


def kingdom_of_header(header: str) -> str:
    """The kingdom of the organism that a header names; empty where it names none, or an unknown one.

    >>> kingdom_of_header("sp|P0A6Y8|DNAK_ECOLI Chaperone OS=Escherichia coli (strain K12) OX=83333 GN=dnaK")
    'bacteria'
    >>> kingdom_of_header("NP_000537.3 cellular tumor antigen p53 [Homo sapiens]")
    'animals'
    >>> kingdom_of_header("sp|P00441|SODC_HUMAN Superoxide dismutase [Cu-Zn]")
    ''
    """
    if match := _NAMED.search(header) or _BRACKETED.search(header):
        kingdom = kingdom_of(match[1].removeprefix("organism="))
        if kingdom:
            return kingdom
    number = _NUMBERED.search(header)
    return _known().get(number[1], "") if number else ""


def kingdom_of(organism: str) -> str:
    """The kingdom of an organism by its name, its number in NCBI's taxonomy, or its kingdom's own name.

    >>> kingdom_of("Bacillus subtilis subsp. subtilis str. 168"), kingdom_of("Bacillus rossius")
    ('bacteria', 'animals')
    >>> kingdom_of("Enterobacteria phage T4"), kingdom_of("[Candida] auris"), kingdom_of("Somebody unknown")
    ('viruses', 'fungi', '')
    """
    name = _DOUBTED.sub("", organism.partition(" (")[0].strip())
    if _VIRUS.search(name):
        return VIRUSES
    if name.lower() in KINGDOMS:
        return name.lower()
    words = name.split()
    for count in (2, 1):  # a species may be of another kingdom than the rest of its genus's name
        if kingdom := _known().get(" ".join(words[:count])):
            return kingdom
    match = _PROKARYOTE.search(name)
    return _KIND[match[0]] if match else ""


def require_organism(organism: str) -> None:
    """Raise InputError where this names no organism that is known; the empty name stands for none."""
    if organism and (not organism.isascii() or not organism.isprintable() or not kingdom_of(organism)):
        raise InputError(
            repr(organism)[:60], expected="an organism of a known genus, in ASCII", where="organism"
        )


@cache
def _known() -> dict[str, str]:
    """The kingdom of each genus, of some species and of some numbers of NCBI's taxonomy."""
    known = dict[str, str]()
    text = (Path(__file__).parent / "genera.txt").read_text(encoding="ascii")
    for line in text.replace("\n  ", " ").splitlines():
        kingdom, _, names = line.partition(": ")
        known.update(dict.fromkeys(names.split(", "), kingdom))
    return known
