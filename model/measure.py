"""Measures an artifact on labelled proteins, through the very code that serves it.

    python -m model.measure ARTIFACT DEEPLOC.fasta --validation ACCESSIONS.txt --report FOLDER
    python -m model.measure ARTIFACT HOLDOUT.fasta --split all --against CHAMPION --json FILE

Prints the figures as JSON: those that the artifact keeps with `--write` (`kept`). `--json` has all of it:
confusion matrix, reliability, abstention curve, the worst mistakes; `--report` draws that as one HTML file or
as a folder of pictures. The test split chooses nothing: `--calibrate` fits on validation only, and every look
at test proteins is written into the artifact's description and card, asked to or not.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from model.judging import bootstrap
from model.judging import looks as record
from model.judging.judgement import answered_by, judge_artifact, kept, recalibrated
from model.proteins.labelled import LabelledProtein, read_channel
from model.proteins.training_data import split
from model.serving.artifact import Artifact, read_artifact, write_description


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Judge an artifact on labelled proteins.", allow_abbrev=False
    )
    add = parser.add_argument
    add("artifact", type=Path, help="an unpacked artifact")
    add("labelled", type=Path, help="labelled proteins, a file or a folder")
    add("--split", choices=("validation", "test", "all"), default="validation")
    add("--validation", type=Path, help="list of the validation split's accessions, or its own file")
    add("--against", type=Path, metavar="CHAMPION", help="an artifact to compare with on the same proteins")
    add("--calibrate", action="store_true", help="fit the calibration anew, on validation; implies --write")
    add(
        "--earlier", type=Path, action="append", default=[], help="an artifact whose looks at test count here"
    )
    add("--json", type=Path, metavar="FILE", help="write everything that was found")
    add("--report", type=Path, metavar="FILE.html|FOLDER", help="draw it: one HTML file, or pictures")
    add("--write", action="store_true", help="keep the figures in the artifact and its card")
    options = parser.parse_args(arguments)
    if options.calibrate and options.split != "validation":
        parser.error("expected --calibrate with --split validation: nothing is fitted on other proteins")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge, print, and write the outputs asked for."""
    options = parse(arguments)
    folders = [options.artifact] + ([options.against] if options.against else [])
    artifacts = [read_artifact(folder) for folder in folders]
    tasks = [(each.locations, each.thresholds is not None) for each in artifacts]
    if tasks[-1] != tasks[0]:
        raise SystemExit(
            f"expected {options.against} to tell apart what {options.artifact} does, found others"
        )
    proteins = _chosen(options, artifacts[0])
    looking = any(protein.test for protein in proteins)
    if looking:
        _expect_writable(folders)
    if options.report is not None:
        from model.judging import report  # here only: the figures themselves need no matplotlib
    if options.earlier:
        earlier = [read_artifact(folder) for folder in options.earlier]
        artifacts[0] = record.with_looks_of(artifacts[0], earlier)
    if options.calibrate:
        artifacts[0] = recalibrated(artifacts[0], proteins)
        write_description(artifacts[0])
    answered = [answered_by(artifact, proteins) for artifact in artifacts]
    judgements = [
        {"version": artifact.version, "split": options.split, **judge_artifact(artifact, each, proteins)}
        for artifact, each in zip(artifacts, answered, strict=True)
    ]
    if looking:
        artifacts = [record.with_look(*pair) for pair in zip(artifacts, judgements, strict=True)]
    if options.write or options.calibrate:
        artifacts[0] = record.with_figures(artifacts[0], kept(judgements[0]))
    for artifact in artifacts:
        if artifact.metrics != read_artifact(artifact.folder).metrics:
            record.write(artifact)
    judged = judgements[0]
    if options.against:
        judged["against"] = {"version": artifacts[1].version} | bootstrap.compare(answered[1], answered[0])
    print(json.dumps(kept(judged) | {"looks": record.looks(artifacts[0])}, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(judged, indent=1) + "\n", encoding="utf-8")
    if options.report is not None:
        report.write(options.report, judged, artifacts[0])


def _chosen(options: argparse.Namespace, artifact: Artifact) -> list[LabelledProtein]:
    locations, several = artifact.locations, artifact.thresholds is not None
    proteins = read_channel(options.labelled, locations, several=several)
    if options.split == "validation":
        proteins = split(proteins, options.validation, locations, several=several)[1]
    elif options.split == "test":
        proteins = [protein for protein in proteins if protein.test]
    if not proteins:
        raise SystemExit(f"expected proteins of the {options.split} split in {options.labelled}, found none")
    return proteins


def _expect_writable(folders: Sequence[Path]) -> None:
    """A look at test proteins must be listed in the artifact: without that it isn't taken."""
    for folder in folders:
        if not os.access(folder / "artifact.json", os.W_OK):
            raise SystemExit(f"expected to list the look at test proteins in {folder}, found it read-only")


if __name__ == "__main__":
    main()
