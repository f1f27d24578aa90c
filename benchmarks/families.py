"""Measures how far the labels of a family reach: its members that were not labelled, and everybody else.

    python -m benchmarks.families model/default DEEPLOC.fasta --validation ACCESSIONS.txt --work FOLDER

Of each family of relatives among the proteins that are marked `test`, which the model has not learned from,
half is labelled, and a run from the model learns these labels (and, with `--base`, DeepLoc's own again). One
JSON object for the other members and one for the proteins without a family: Q10 before and after, and the
difference with its 95 % interval (paired bootstrap).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model import train
from model.judging import bootstrap
from model.judging.judgement import answered_by
from model.proteins import labelled, related
from model.proteins.labelled import LabelledProtein
from model.serving.artifact import read_artifact


def halves(
    proteins: Sequence[LabelledProtein],
) -> tuple[list[LabelledProtein], list[LabelledProtein], list[LabelledProtein]]:
    """Divide proteins into those to label, the other members of their families, and those without a family.

    Half of each family is labelled, rounded down, by the hash of the accession.
    """
    families = defaultdict[int, list[LabelledProtein]](list)
    for family, protein in zip(related.families([each.sequence for each in proteins]), proteins, strict=True):
        families[int(family)].append(protein)
    chosen, others, alone = list[LabelledProtein](), list[LabelledProtein](), list[LabelledProtein]()
    for members in families.values():
        if len(members) == 1:
            alone += members
            continue
        in_order = sorted(members, key=lambda each: hashlib.sha256(each.accession.encode()).digest())
        chosen += in_order[: len(members) // 2]
        others += in_order[len(members) // 2 :]
    return chosen, others, alone


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn the labels, and print how both groups are answered before and after."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("deeploc", type=Path)
    parser.add_argument("--validation", type=Path, required=True, help="accessions to choose the epoch by")
    parser.add_argument("--work", type=Path, required=True, help="folder for the new model")
    parser.add_argument("--base", action="store_true", help="learn DeepLoc's own labels again as well")
    options = parser.parse_args(arguments)
    proteins = labelled.read_labelled(options.deeploc)
    chosen, others, alone = halves([protein for protein in proteins if protein.test])
    validation = set(options.validation.read_text(encoding="utf-8").split())
    base = [each for each in proteins if not each.test]
    if not options.base:
        base = [each for each in base if each.accession in validation]
    learned = options.work / "labels.tsv"
    options.work.mkdir(parents=True, exist_ok=True)
    learned.write_bytes(labelled.table([*base, *(replace(each, test=False) for each in chosen)]))
    train.main(
        [
            *("--start", str(options.artifact), "--training", str(learned)),
            *("--validation", str(options.validation), "--distillation", "0.5"),
            *("--model-dir", str(options.work / "model"), "--model-version", "families"),
        ]
    )
    before, after = read_artifact(options.artifact), read_artifact(options.work / "model")
    for name, group in (("other members of their families", others), ("proteins without a family", alone)):
        difference = bootstrap.compare(answered_by(before, group), answered_by(after, group))["q10"]
        row = {"labelled": len(chosen), "group": name, "proteins": len(group), **difference}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
