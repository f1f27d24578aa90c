"""Labelled proteins: reads and writes their files.

FASTA in DeepLoc's dialect, or a table. A FASTA header reads `>ACCESSION Location-M [test]`; the membrane
letter (M bound, S soluble, U unknown) follows the *last* hyphen, since two-compartment names such as
`Cytoplasm-Nucleus` hold one themselves. A table's first line names its columns, of which `accession`,
`sequence`, `location` and `membrane` (M, S, U or nothing) are read, and `split` (test or anything else) if
it is there. Labels are matched by name. Where several locations a protein are learned, they stand with `|`
between, `Nucleus|Cytoplasm`. Needs numpy only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

# DeepLoc's spelling, alphabetical: the order of every probability vector that this project trains.
LOCATIONS = (
    "Cell.membrane",
    "Cytoplasm",
    "Endoplasmic.reticulum",
    "Extracellular",
    "Golgi.apparatus",
    "Lysosome/Vacuole",
    "Mitochondrion",
    "Nucleus",
    "Peroxisome",
    "Plastid",
)
# DeepLoc 1.0 counts its 146 proteins of both under Cytoplasm; where several are learned, they are in both.
ALSO_KNOWN_AS = {"Cytoplasm-Nucleus": ("Cytoplasm", "Nucleus")}
MEMBRANE_UNKNOWN = -1.0
MEMBRANE_LETTERS = {"M": 1.0, "S": 0.0, "U": MEMBRANE_UNKNOWN}
FASTA_SUFFIXES = (".fasta", ".fa", ".faa")
LABELLED_SUFFIXES = (*FASTA_SUFFIXES, ".tsv")
COLUMNS = ("accession", "sequence", "location", "membrane")
UNREADABLE = "\ufffd"  # where a file is not UTF-8
MAX_SHOWN_CHARACTERS = 40  # characters of a file that an error shows
BETWEEN = "|"  # the locations of one protein


class LabelError(ValueError):
    """A labelled file says something that cannot be learned from.

    `where` names the file and line, where there is one; `problem` repeats at most
    `MAX_SHOWN_CHARACTERS` characters of it.
    """

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where, self.problem = where, problem


class UnknownLocation(LabelError):
    """A record names a place that is none of `LOCATIONS`."""


@dataclass(frozen=True)
class LabelledProtein:
    """A protein whose place is known; `membrane` is 1 bound, 0 soluble, -1 unknown (never "soluble")."""

    accession: str
    sequence: str
    location: int  # the first that its file names
    membrane: float
    test: bool
    others: tuple[int, ...] = ()  # in which it is as well, where several are learned

    @property
    def places(self) -> tuple[int, ...]:
        """All its locations."""
        return (self.location, *self.others)


def parse_header(
    header: str, where: str, locations: Sequence[str] = LOCATIONS, *, several: bool = False
) -> tuple[str, tuple[str, ...], float, bool]:
    """Accession, location names, membrane value and test mark of a header (without its `>`)."""
    words = header.split()
    if len(words) not in (2, 3) or (len(words) == 3 and words[2] != "test"):
        raise LabelError(f"expected '>ACCESSION Location-M [test]', found {len(words)} words", where)
    location, hyphen, letter = words[1].rpartition("-")
    if not hyphen or letter not in MEMBRANE_LETTERS:
        raise LabelError(f"expected a label ending in -M, -S or -U, found {_repeated(words[1])}", where)
    return (
        _accession(words[0], where),
        _known(location, where, locations, several),
        MEMBRANE_LETTERS[letter],
        len(words) == 3,
    )


def _known(text: str, where: str, locations: Sequence[str], several: bool) -> tuple[str, ...]:
    """The one location that stands there, or all of them where several are learned."""
    if text in locations:
        return (text,)
    if text in ALSO_KNOWN_AS and all(name in locations for name in ALSO_KNOWN_AS[text]):
        return ALSO_KNOWN_AS[text][: None if several else 1]
    names = tuple(name.strip() for name in text.split(BETWEEN))
    for name in names:
        if name not in locations:
            problem = f"unknown location {_repeated(name)}; expected one of {', '.join(locations)}"
            raise UnknownLocation(problem, where)
    if len(names) > 1 and not several:
        raise LabelError("expected one location, found several; a training with --several learns them", where)
    if len(set(names)) < len(names):
        raise LabelError(f"expected each location once, found {_repeated(text)}", where)
    return names


def _accession(text: str, where: str) -> str:
    if not text or text.split() != [text]:
        raise LabelError("expected an accession without spaces", where)
    if not text.isprintable() or UNREADABLE in text:
        raise LabelError("expected an accession of printable characters in UTF-8", where)
    return text


def _repeated(text: str) -> str:
    """A text of a file, shortened for an error: a sequence may stand in the wrong column."""
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…")


def read_labelled(
    path: Path, locations: Sequence[str] = LOCATIONS, *, several: bool = False
) -> list[LabelledProtein]:
    """The labelled proteins of a FASTA file or table, in file order; raises LabelError at the first fault."""
    proteins = list[LabelledProtein]()
    with path.open("rb") as file:
        for _, entry in entries(file, path.name, locations, several=several):
            if isinstance(entry, LabelError):
                raise entry
            proteins.append(entry)
    return proteins


def entries(
    file: BinaryIO, name: str, locations: Sequence[str] = LOCATIONS, *, several: bool = False
) -> Iterator[tuple[int, LabelledProtein | LabelError]]:
    """Every record of a labelled file: its first line's number, and its protein or its fault.

    `name` ends in the file's suffix and stands in the errors. A fault costs its own record and no other; the
    text before a FASTA file's first record is one entry, and a table without its columns is one. A protein of
    several locations is a fault unless `several` are learned.
    """
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace")
    suffix = Path(name).suffix.lower()
    if suffix not in LABELLED_SUFFIXES:
        yield 1, LabelError(f"expected a file ending in {', '.join(LABELLED_SUFFIXES)}", name)
        return
    for number, read in _rows(lines) if suffix == ".tsv" else _records(lines):
        try:
            yield number, read(f"{name} line {number}", locations, several)
        except LabelError as error:
            yield number, error
    lines.detach()  # the file is its owner's to close


# Of where it stands, the locations, and whether a protein may have several; raises LabelError.
Reading = Callable[[str, Sequence[str], bool], LabelledProtein]


def _records(lines: Iterable[str]) -> Iterator[tuple[int, Reading]]:
    """The number of each FASTA record's header line, and how to read it."""
    number, header, parts = 0, "", list[str]()
    before = False
    for current, line in enumerate(lines, start=1):
        if line.startswith(">"):
            if number:
                yield number, partial(_of_record, header, "".join(parts))
            number, header, parts = current, line[1:], []
        elif number:
            parts.append("".join(line.split()))
        elif line.strip() and not before:
            before = True
            yield current, _of_nothing
    if number:
        yield number, partial(_of_record, header, "".join(parts))


def _of_nothing(where: str, locations: Sequence[str], several: bool) -> LabelledProtein:
    raise LabelError("expected '>' to begin the first record", where)


def _of_record(
    header: str, text: str, where: str, locations: Sequence[str], several: bool
) -> LabelledProtein:
    accession, names, membrane, test = parse_header(header, where, locations, several=several)
    first, *others = map(locations.index, names)
    return LabelledProtein(accession, _residues(text, where), first, membrane, test, tuple(others))


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, Reading]]:
    """The number of each line of a table that holds something, and how to read it."""
    numbered = enumerate(lines, start=1)
    _, first = next(numbered, (1, ""))
    names = first.rstrip("\r\n").split("\t")
    if any(name not in names for name in COLUMNS):
        yield 1, partial(_of_other_columns, names)
        return
    for number, line in numbered:
        if line.strip():
            yield number, partial(_of_row, names, line.rstrip("\r\n").split("\t"))


def _of_other_columns(
    names: Sequence[str], where: str, locations: Sequence[str], several: bool
) -> LabelledProtein:
    missing = next(name for name in COLUMNS if name not in names)
    raise LabelError(f"expected columns {', '.join(COLUMNS)}; no {missing}", where)


def _of_row(
    names: Sequence[str], cells: Sequence[str], where: str, locations: Sequence[str], several: bool
) -> LabelledProtein:
    if len(cells) != len(names):
        raise LabelError(f"expected {len(names)} columns, found {len(cells)}", where)
    row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
    letter = row["membrane"] or "U"
    if letter not in MEMBRANE_LETTERS:
        raise LabelError(f"expected membrane M, S, U or nothing, found {_repeated(letter)}", where)
    accession, sequence = _accession(row["accession"], where), _residues(row["sequence"], where)
    first, *others = map(locations.index, _known(row["location"], where, locations, several))
    test = row.get("split") == "test"
    return LabelledProtein(accession, sequence, first, MEMBRANE_LETTERS[letter], test, tuple(others))


def _residues(text: str, where: str) -> str:
    """Upper case, without a terminal `*`."""
    sequence = text.upper().removesuffix("*")
    if not sequence.isascii() or not sequence.isalpha():
        raise LabelError(f"expected residues A-Z, found {'others' if sequence else 'none'}", where)
    return sequence


def table(proteins: Iterable[LabelledProtein], locations: Sequence[str] = LOCATIONS) -> bytes:
    """The proteins as a table that reads back as the same, but for the mark `test`."""
    letters = {value: letter for letter, value in MEMBRANE_LETTERS.items()}
    lines = ["\t".join(COLUMNS)] + [
        "\t".join((each.accession, each.sequence, places_of(each, locations), letters[each.membrane]))
        for each in proteins
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def places_of(protein: LabelledProtein, locations: Sequence[str]) -> str:
    """The names of a protein's locations, as a labelled file has them."""
    return BETWEEN.join(locations[place] for place in protein.places)


def read_channel(
    path: Path, locations: Sequence[str] = LOCATIONS, *, several: bool = False
) -> list[LabelledProtein]:
    """The labelled proteins of a file, or of every labelled file of a SageMaker channel's folder."""
    files = [path] if path.is_file() else files_of(path, LABELLED_SUFFIXES)
    if not files:
        raise LabelError(f"expected a labelled file ({', '.join(LABELLED_SUFFIXES)}) in {path}, found none")
    return [protein for file in files for protein in read_labelled(file, locations, several=several)]


def files_of(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in suffixes and file.is_file())
