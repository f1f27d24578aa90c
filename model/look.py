"""A look at labelled proteins before anything is learned from them: how many of which location, and how long.

    python -m model.look mine.fasta --plot lengths.png

The lengths show the cost of `--max-residues`: a protein beyond it is read at both ends (`tokens.window`).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.proteins.labelled import MEMBRANE_LETTERS, LabelError, LabelledProtein, read_channel
from model.proteins.labels import TEN, LabelsError, names_of, read_labels
from model.proteins.training_data import describe, missing_locations

READ = (
    510,
    1022,
    1534,
    2046,
)  # residues; with two special tokens 512, 1,024, …; the article weighs 512 and 1,536
BAR_CHARACTERS = 40  # characters of the longest


def text(proteins: Sequence[LabelledProtein], locations: Sequence[str] = names_of(TEN)) -> str:
    """Counts by location and membrane, a histogram of lengths, and the residues that each limit would cut."""
    lengths = np.array([len(protein.sequence) for protein in proteins])
    test = sum(protein.test for protein in proteins)
    repeated = len(proteins) - len({protein.sequence for protein in proteins})
    letters = Counter(protein.membrane for protein in proteins)
    bound = ", ".join(f"{letters[value]:,} {letter}" for letter, value in MEMBRANE_LETTERS.items())
    lines = [
        f"{len(proteins):,} proteins, {lengths.sum():,} residues; {test:,} marked test, "
        f"{repeated:,} with the sequence of another; membrane: {bound}",
        "",
    ]
    counts = Counter(locations[place] for protein in proteins for place in protein.places)
    if many := sum(bool(protein.others) for protein in proteins):
        lines.append(f"  {many:,} are in several locations and counted in each")
    lines += [f"  {name:<22}{count:>8,}" for name, count in counts.most_common()]
    if missing := missing_locations(proteins, locations):
        lines.append(f"  none of {', '.join(missing)}: hardly ever answered by what learns from these alone")
    lines += ["", "residues up to"]
    table = describe(proteins, locations)["lengths"]
    most = max(table.values())
    for bound, count in table.items():
        lines.append(f"  {bound:>6}{count:>8,} {'█' * round(BAR_CHARACTERS * count / most)}")
    middle, high = np.percentile(lengths, (50, 95)).round().astype(int)
    lines += ["", f"half have up to {middle:,} residues, 95 % up to {high:,}, the longest {lengths.max():,}"]
    for limit in READ:
        cut = (lengths > limit).mean()
        share = np.minimum(lengths, limit).sum() / lengths.sum()
        lines.append(
            f"  --max-residues {limit:>5}: {cut:6.1%} are read at their ends only; {share:6.1%} of the work"
        )
    return "\n".join(lines)


def plot(proteins: Sequence[LabelledProtein], path: Path) -> None:
    """Write a histogram of the lengths as a picture; lengths beyond the last limit are its last bar."""
    from model.judging.plots import BLUE, MUTED, sheet, styled

    lengths = np.array([len(protein.sequence) for protein in proteins])
    with styled():
        figure, axes = sheet(7, 3.6)
        axes.hist(
            np.minimum(lengths, READ[-1] + 66), bins=np.arange(0, READ[-1] + 132, 66).tolist(), color=BLUE
        )
        for limit in READ:
            axes.axvline(limit, color=MUTED, linewidth=1, linestyle="--")
        axes.set(title=f"Lengths of {len(proteins):,} proteins", xlabel="residues", ylabel="proteins")
        axes.set_xticks([0, *READ], ["0", *map(str, READ[:-1]), f"{READ[-1]}\nand more"])
        figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the look, and draw it where `--plot` says so."""
    parser = argparse.ArgumentParser(description="Look at labelled proteins before training.")
    parser.add_argument("labelled", type=Path, help="a labelled file, or a folder of them")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="write a histogram of the lengths")
    parser.add_argument("--labels", type=Path, help="a file that names other locations than the ten")
    parser.add_argument("--several", action="store_true", help="a protein may have several locations, as A|B")
    options = parser.parse_args(arguments)
    try:
        locations = names_of(TEN if options.labels is None else read_labels(options.labels))
        proteins = read_channel(options.labelled, locations, several=options.several)
    except (LabelError, LabelsError, OSError) as problem:
        raise SystemExit(str(problem)) from problem
    if not proteins:
        raise SystemExit(f"expected proteins in {options.labelled}, found none")
    print(text(proteins, locations))
    if options.plot is not None:
        plot(proteins, options.plot)


if __name__ == "__main__":
    main()
