"""Fits the detector of proteins outside of a model's knowledge, and measures it through the serving code.

    python -m model.detection ARTIFACT --labelled DEEPLOC.fasta \\
        --prokaryotes "E. coli=ecoli.fasta" --prokaryotes bsubtilis.faa.gz --measured yeast.fasta

Eukaryotic proteins are the labelled ones, test proteins left out, and fragments of them; sequences that no
cell makes are drawn from these (`artificial.py`); prokaryotic proteins are those of the files, if any. The
bound is set on families that were held out. Every figure is of sequences that the measured detector did not
learn from: those of a prokaryotic file are measured with a detector that is fitted without that file, so they
say how a prokaryote fares that nobody has seen. The network does not change, nor does any of its answers.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from model.judging import looks as record
from model.proteins import labelled as data
from model.proteins import related as homology
from model.proteins.artificial import KINDS, artificial
from model.proteins.labelled import LabelledProtein
from model.serving import composition
from model.serving.artifact import Artifact, read_artifact, write_description
from model.serving.inference import model_fn, predict_fn
from model.serving.loading import Model
from model.serving.outside import FILE, MAX_SCORE, Detector, Floats
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer, window

FALSE_ALARMS = 0.05  # of eukaryotic proteins in families held out
HELD_OUT = 0.25  # of each location's proteins, for the bound
MIN_PROTEINS = 1000  # labelled proteins; from fewer no bound can be set
EVERY = 3  # of how many proteins one lends itself to each kind of artificial sequence
FRAGMENT_RESIDUES = (25, 400)  # residues
HIDDEN, EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 64, 12, 64, 1e-3, 0.3, (0.3, 0.5)
SCORES = 201  # as many of the held-out scores are kept
MAX_MEASURED = 1000  # sequences of each kind, at most
MIN_CONFIDENCE = 0.8
PROKARYOTIC, ARTIFICIAL = "prokaryotic", "artificial"
Sets = Mapping[str, Sequence[str]]


def read_fasta(path: Path) -> list[str]:
    """The sequences of a FASTA file, plain or gzip, but for those that hold other characters than letters."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    records = f"\n{content.decode('utf-8', 'replace')}".split("\n>")[1:]
    sequences = ("".join(record.splitlines()[1:]).upper().strip("*-. ") for record in records)
    return [sequence for sequence in sequences if sequence.isascii() and sequence.isalpha()]


def named(text: str) -> tuple[str, Path]:
    """A file and the name of its sequences: NAME=FILE, or the beginning of the file's name.

    >>> named("E. coli=data/ecoli.fasta")[0], named("data/yeast.faa.gz")[0]
    ('E. coli', 'yeast')
    """
    name, _, path = text.rpartition("=")
    return name or Path(path).name.split(".")[0], Path(path)


def fragments(sequences: Sequence[str], seed: int = 0) -> list[str]:
    """A stretch of each sequence, without its beginning."""
    random = np.random.default_rng(seed)
    cut = []
    for sequence in sequences:
        length = min(int(random.integers(*FRAGMENT_RESIDUES)), max(1, len(sequence) - 1))
        start = int(random.integers(min(1, len(sequence) - length), len(sequence) - length + 1))
        cut.append(sequence[start : start + length])
    return cut


class Numbers:
    """A protein's numbers as serving computes them."""

    def __init__(self, tokenizer: ResidueTokenizer, max_residues: int) -> None:
        self.tokenizer, self.max_residues = tokenizer, max_residues

    def of(self, sequences: Sequence[str]) -> Floats:
        """Numbers (sequences, composition.SIZE)."""
        rows = [self.tokenizer.encode(window(sequence, self.max_residues)) for sequence in sequences]
        table: Floats = composition.number_table(rows).numpy()
        return table


def fit(eukaryotic: Floats, held_out: Floats, others: Mapping[str, Floats], seed: int = 1) -> Detector:
    """A detector of `others`, by kind, among `eukaryotic` proteins, with its bound set on `held_out` ones."""
    torch.manual_seed(seed)
    kinds = [kind for kind, numbers in others.items() if len(numbers)]
    tables = [eukaryotic, *(others[kind] for kind in kinds)]
    numbers = torch.from_numpy(np.concatenate(tables))
    truth = torch.repeat_interleave(torch.arange(len(tables)), torch.tensor([len(each) for each in tables]))
    center, scale = numbers.mean(dim=0), numbers.std(dim=0) + 1e-3
    numbers = ((numbers - center) / scale).clamp(-MAX_SCORE, MAX_SCORE)
    hidden, answer = nn.Linear(composition.SIZE, HIDDEN), nn.Linear(HIDDEN, len(tables))
    network = nn.Sequential(nn.Dropout(DROPOUT[0]), hidden, nn.ReLU(), nn.Dropout(DROPOUT[1]), answer)
    weights = (len(truth) / len(tables) / torch.bincount(truth)).sqrt()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(truth) // BATCH))
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(truth)), BATCH):
            loss = nn.functional.cross_entropy(network(numbers[chosen]), truth[chosen], weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    learned = {"center": center, "scale": scale, "hidden": hidden.weight, "hidden_bias": hidden.bias}
    learned |= {"answer": answer.weight, "answer_bias": answer.bias}
    # As they are kept, so that the bound is that of the weights served.
    kept = {
        name: value.detach().numpy().astype(np.float16).astype(np.float32) for name, value in learned.items()
    }
    plain = Detector(kept, [0.0], kinds, 1 - FALSE_ALARMS)
    scores = np.quantile(plain.score(held_out), np.linspace(0, 1, SCORES))
    return Detector(kept, scores.tolist(), kinds, 1 - FALSE_ALARMS)


def divide(proteins: Sequence[LabelledProtein]) -> tuple[list[str], list[str]]:
    """Sequences to learn from, and those of families that are held out."""
    held = set(
        homology.hold_out(
            [protein.sequence for protein in proteins],
            [protein.location for protein in proteins],
            [protein.accession for protein in proteins],
            HELD_OUT,
        )
    )
    both: tuple[list[str], list[str]] = ([], [])
    for index, protein in enumerate(proteins):
        both[index in held].append(protein.sequence)
    return both


def drawn(sequences: Sequence[str]) -> dict[str, list[str]]:
    """Artificial sequences of every kind, each from other proteins than the next one's."""
    return {
        kind: [made for made in artificial(sequences[place % EVERY :: EVERY], kind) if made]
        for place, kind in enumerate(KINDS)
    }


def add(folder: Path, proteins: Sequence[LabelledProtein], prokaryotes: Sets, measured: Sets) -> None:
    """Fit a detector for the artifact in `folder`, and write it there with its figures; the card, too.

    Where there are too few proteins to learn from, or all are of one family, nothing is written.
    """
    proteins = [protein for protein in proteins if not protein.test]
    if len(proteins) < MIN_PROTEINS:
        return
    artifact = read_artifact(folder)
    numbers = Numbers(ResidueTokenizer(PROTEIN_VOCABULARY), artifact.max_residues)
    learned, held_out = divide(proteins)
    if not held_out:
        return
    known = numbers.of([*learned, *fragments(learned[::EVERY])])
    bound = numbers.of(held_out)
    made = np.concatenate([numbers.of(each) for each in drawn(learned).values()])
    foreign = {name: numbers.of(sequences) for name, sequences in prokaryotes.items()}

    def without(left_out: str = "") -> Detector:
        tables = [table for name, table in foreign.items() if name != left_out]
        together = np.concatenate(tables) if tables else made[:0]
        return fit(known, bound, {PROKARYOTIC: together, ARTIFICIAL: made})

    detector = without()
    model = model_fn(str(replace_detector(folder, detector, {})))
    figures = {
        "eukaryotic, families held out": measure(model, held_out),
        "fragments of these": measure(model, fragments(held_out)),
        **{name: measure(model, sequences) for name, sequences in measured.items()},
        **{kind: measure(model, sequences) for kind, sequences in drawn(held_out).items()},
        **{
            f"{name}, not learned from": measure(replace(model, detector=without(name)), sequences)
            for name, sequences in prokaryotes.items()
        },
    }
    replace_detector(folder, detector, {"prokaryotes": sorted(prokaryotes), "figures": figures})


def add_missing(folder: Path, proteins: Sequence[LabelledProtein]) -> None:
    """Fit a detector from labelled proteins alone, for an artifact that has none."""
    if not read_artifact(folder).outside:
        add(folder, proteins, {}, {})


def inherited(artifact: Artifact, earlier: Sequence[Artifact]) -> Artifact:
    """The artifact with the detector of the one that it began with: it knows more of the same."""
    for each in earlier:
        if each.outside:
            shutil.copyfile(each.folder / FILE, artifact.folder / FILE)
            return replace(artifact, outside=each.outside)
    return artifact


def replace_detector(folder: Path, detector: Detector, more: Mapping[str, Any]) -> Path:
    """Write a detector into an artifact's folder, and `more` of it into the description."""
    record.write(replace(read_artifact(folder), outside={**detector.save(folder), **more}))
    return folder


def measure(model: Model, sequences: Sequence[str]) -> dict[str, Any]:
    """Measure the model's confidence in some sequences, and how many it calls outside of its knowledge."""
    assert model.detector is not None
    step = max(1, len(sequences) // MAX_MEASURED)
    chosen = list(sequences[::step][:MAX_MEASURED])
    answers = []
    for start in range(0, len(chosen), model.artifact.max_sequences):
        part = chosen[start : start + model.artifact.max_sequences]
        answers += predict_fn(part, model)["predictions"]
    sure = np.array([max(answer["probabilities"]) >= MIN_CONFIDENCE for answer in answers])
    outside = np.array([answer["outside"] > model.detector.above for answer in answers])
    return {
        "sequences": len(chosen),
        "outside": round(float(outside.mean()), 4),
        "confident": round(float(sure.mean()), 4),
        "confident_inside": round(float((sure & ~outside).mean()), 4),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, measure and write."""
    parser = argparse.ArgumentParser(
        description="Fit the detector of proteins outside of a model's knowledge.", allow_abbrev=False
    )
    add_argument = parser.add_argument
    add_argument("artifact", type=Path, help="an unpacked artifact, which is written into")
    add_argument(
        "--labelled", type=Path, required=True, help="eukaryotic proteins: those the model learned from"
    )
    add_argument(
        "--prokaryotes",
        type=named,
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="a FASTA file to learn from",
    )
    add_argument("--model-version", help="a name of its own for the artifact that then has a detector")
    add_argument(
        "--measured",
        type=named,
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="a FASTA file that is measured only",
    )
    options = parser.parse_args(arguments)
    files = {name: getattr(options, name) for name in ("prokaryotes", "measured")}
    sets = {kind: {name: read_fasta(path) for name, path in files[kind]} for kind in files}
    if options.model_version:
        write_description(replace(read_artifact(options.artifact), version=options.model_version))
    artifact = read_artifact(options.artifact)
    several = artifact.thresholds is not None
    labelled = data.read_channel(options.labelled, artifact.locations, several=several)
    add(options.artifact, labelled, **sets)
    for name, figure in read_artifact(options.artifact).outside.get("figures", {}).items():
        print(f"{name:40} {figure}")


if __name__ == "__main__":
    main()
