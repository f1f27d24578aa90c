"""The Evaluate job of a retraining: challenger and champion answer the same proteins, held out from both.

    python -m model.evaluate --challenger s3://MODELS/…/model.tar.gz --challenger-version V \
        --champion s3://MODELS/…/model.tar.gz --champion-version C \
        --snapshot s3://MODELS/snapshots/ID --output s3://MODELS/evaluations/V

Both are asked through the very code that serves them. Writes `evaluation.json`, by which the state machine
judges, and `report.html` for people. It decides nothing, and no artifact is changed: that the holdout was
looked at stands in `evaluation.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if not __package__:  # run as a file, as SageMaker's toolkit does: the package is beside this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from model import storage
from model.failure import failures_reported
from model.judging import bootstrap, figures
from model.judging.answered import Answered
from model.judging.figures import HEADLINE, rounded
from model.judging.judgement import Contestant, EvaluationError, contestant
from model.proteins.divided import HOLDOUT
from model.proteins.labelled import LabelledProtein
from model.proteins.labels import LabelSet, own_labels
from model.proteins.training_data import digest
from model.serving.artifact import Artifact, read_artifact, unpack
from model.snapshot import read_split

if TYPE_CHECKING:
    from model.serving.loading import Model

SCHEMA = 1
GOLDEN = 8  # proteins whose answers a deployment must repeat
GOLDEN_RESIDUES = 1000  # the longest of them, so that they are answered within seconds anywhere


def golden_proteins(proteins: Sequence[LabelledProtein]) -> list[LabelledProtein]:
    """The first of each location in turn, the largest locations first: `GOLDEN`, or all there are."""
    of = defaultdict[int, list[LabelledProtein]](list)
    for protein in proteins:
        if len(protein.sequence) <= GOLDEN_RESIDUES:
            of[protein.location].append(protein)
    largest = sorted(of, key=lambda location: (-len(of[location]), location))
    longest = max(map(len, of.values()), default=0)
    turns = [
        of[location][turn] for turn in range(longest) for location in largest if turn < len(of[location])
    ]
    return turns[:GOLDEN]


def golden_answers(
    model: Model, proteins: Sequence[LabelledProtein]
) -> tuple[list[dict[str, Any]], float | None]:
    """The model's answers to them in one call, and the seconds of such a call once it is warm."""
    from model.serving.inference import predict_fn

    sequences = [protein.sequence for protein in golden_proteins(proteins)]
    if not sequences:
        return [], None
    predictions = predict_fn(sequences, model)["predictions"]
    started = time.perf_counter()
    predict_fn(sequences, model)
    seconds = round(time.perf_counter() - started, 4)
    return [
        {"sequence": sequence, "probabilities": answer["probabilities"], "membrane": answer["membrane"]}
        for sequence, answer in zip(sequences, predictions, strict=True)
    ], seconds


def apart(
    challenger: Contestant, champion: Contestant | None, proteins: Sequence[LabelledProtein]
) -> tuple[Contestant, Contestant | None, dict[str, Any] | None]:
    """Both models as judged by the proteins that neither has learned from, and the figures of the others.

    A model names the proteins it has learned from: figures with such proteins in them would flatter it.
    Raises EvaluationError where there are no others.
    """
    masks = [each.learned for each in (challenger, champion) if each is not None and each.learned is not None]
    known = np.any(masks, axis=0) if masks else np.zeros(len(proteins), dtype=bool)
    if not known.any():
        return challenger, champion, None
    if known.all():
        raise EvaluationError(
            "expected proteins in the holdout that neither model has learned from, "
            f"found none of {len(proteins)}"
        )
    figures_of_known: dict[str, Any] = {"proteins": int(known.sum())}
    for side, each in (("challenger", challenger), ("champion", champion)):
        figures_of_known[side] = each and headline(each.answered.only(known)) | {"learned": each.known}
    on = [each and each.on(~known, proteins) for each in (challenger, champion)]
    assert on[0] is not None
    return on[0], on[1], figures_of_known


def headline(answered: Answered) -> dict[str, Any]:
    """The headline figures of some answers, with their intervals."""
    estimates, intervals = figures.point(answered), bootstrap.intervals(answered)
    return {name: rounded(estimates[name]) for name in HEADLINE} | {
        "intervals": {name: intervals[name] for name in HEADLINE}
    }


def compared(
    challenger: Contestant,
    champion: Contestant | None,
    proteins: Sequence[LabelledProtein],
    snapshot: str,
    learned: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of `evaluation.json`, but for the golden answers; `learned` as `apart` has it.

    `labels` are the challenger's as a stack keeps them, with thresholds that its training chose.
    """
    contestants = [challenger] + ([champion] if champion else [])
    return {
        "schema": SCHEMA,
        "snapshot": snapshot,
        "holdout": {
            "sha256": digest(proteins),
            "proteins": len(proteins),
            "looked_at_by": [each.artifact.version for each in contestants],
        },
        "challenger": challenger.described(),
        "champion": champion.described() if champion else None,
        "against": bootstrap.compare(champion.answered, challenger.answered) if champion else None,
        "learned": learned,
        "labels": own_labels(challenger.artifact),
    }


def opened(place: str, version: str, folder: Path) -> Artifact:
    """The artifact at `place`, a `model.tar.gz` or a folder; EvaluationError where it is another version."""
    if not storage.in_s3(place) and Path(place).is_dir():
        artifact = read_artifact(Path(place))
    else:
        folder.mkdir()
        artifact = unpack(storage.fetch(place, folder / "model.tar.gz"), folder / "model")
    if artifact.version != version:
        raise EvaluationError(f"expected version {version} in {place}, found {artifact.version}")
    return artifact


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Let a new model and the one in service answer the same proteins.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--challenger", required=True, help="model.tar.gz of the new model, its address in S3, or its folder")
    add("--challenger-version", required=True)
    add("--champion", default="", help="the same of the model in service; without it there is none")
    add("--champion-version", default="")
    add("--snapshot", required=True, help="folder or S3 prefix of the snapshot that the challenger is of")
    add("--output", required=True, help="folder or S3 prefix for evaluation.json and report.html")
    options = parser.parse_args(arguments)
    if bool(options.champion) != bool(options.champion_version):
        parser.error("expected --champion and --champion-version, or neither")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask both models, write the evaluation, and print the figures."""
    with (
        failures_reported(),
        tempfile.TemporaryDirectory() as temporary,
    ):
        options = parse(arguments)
        from model.judging import comparison_page as comparison  # here only, as torch: what is

        # missing is told as a failure
        from model.serving.inference import model_fn

        manifest = _manifest(options.snapshot)
        labels = LabelSet.read(manifest)
        proteins = read_split(options.snapshot, HOLDOUT, labels)
        if not proteins:
            raise EvaluationError(f"expected proteins in the holdout of {options.snapshot}, found none")
        folder = Path(temporary)
        artifact = opened(options.challenger, options.challenger_version, folder / "challenger")
        model = model_fn(str(artifact.folder))
        challenger = contestant(model, proteins, labels.names, several=labels.several)
        golden, seconds = golden_answers(model, proteins)
        del model  # one large model in memory at a time
        champion = None
        if options.champion:
            before = opened(options.champion, options.champion_version, folder / "champion")
            champion = contestant(
                model_fn(str(before.folder)), proteins, labels.names, several=labels.several
            )
        challenger, champion, learned = apart(challenger, champion, proteins)
        evaluation = compared(challenger, champion, proteins, manifest["snapshot"], learned)
        evaluation |= {"golden": golden, "batch_seconds": seconds}
        text = json.dumps(evaluation, indent=1, allow_nan=False) + "\n"
        storage.write(storage.inside(options.output, "evaluation.json"), text.encode(), storage.JSON)
        page = comparison.page(challenger, champion, evaluation, manifest)
        storage.write(storage.inside(options.output, "report.html"), page.encode(), storage.HTML)
    print(json.dumps(_headline(evaluation)), flush=True)


def _manifest(snapshot: str) -> dict[str, Any]:
    place = storage.inside(snapshot, "manifest.json")
    try:
        manifest: dict[str, Any] = json.loads(storage.read(place))
    except json.JSONDecodeError as error:
        raise EvaluationError(f"expected a manifest at {place}, found no JSON: {error}") from error
    return manifest


def _headline(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    names = ("version", "q10", "macro_f1", "membrane_q2", "ece")
    return {
        side: {name: evaluation[side][name] for name in names}
        for side in ("challenger", "champion")
        if evaluation[side] is not None
    }


if __name__ == "__main__":
    main()
