"""Several trained networks as one model, whose probabilities are averaged.

    python -m model.ensemble OUT MEMBER … --final MEMBER … --labelled DEEPLOC.fasta --validation LIST.txt

Networks that differ err differently, and their mean errs less than any of them: the cheapest accuracy there
is for networks this small. Members are artifacts of `train.py` with the same design, trained without a look
at the validation proteins. Beside them stand networks of another kind, which see the composition of a protein
instead of its sequence (`composition.py`); they learn here, from the members' training proteins, in a minute
or two each. The relatives of a protein among the training proteins vote beside them (`relatives.py`).

On the validation proteins the ensemble is judged and calibrated. With `--final` the artifact then has members
of the same recipes that learned from these proteins as well; figures and calibration are those of the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from model import detection
from model.learning import outcome
from model.learning.distribution import join
from model.learning.loss import class_weights, summed_loss
from model.learning.settings import FRAGMENT_WEIGHT
from model.learning.tokens import Tokens
from model.learning.validation import judge, of_known_membranes, predict
from model.proteins import labelled as data
from model.proteins import training_data
from model.proteins.fragments import crop
from model.serving.artifact import Artifact, read_artifact
from model.serving.bert import BertSettings
from model.serving.classifier import WEIGHTS, ProteinClassifier
from model.serving.composition import CompositionNetwork, CompositionSettings, number_table
from model.serving.heads import HeadSettings
from model.serving.tokens import SPECIAL_TOKENS, Ids, ResidueTokenizer, window

TOKEN_BUDGET = 8192  # padded tokens of one forward pass
# Pairs of residues recognise families, also distant ones; without them a network has less to overfit.
COMPOSITIONS = (
    CompositionSettings(seed=1),
    CompositionSettings(seed=2),
    CompositionSettings(pairs=True, hidden=256, seed=3),
    CompositionSettings(pairs=True, hidden=256, seed=4),
)
CLASS_BALANCE, LABEL_SMOOTHING = 0.5, 0.05  # of the networks that learn here; as train.py's
FRAGMENTS = 3  # of each protein, which the networks that learn here see by turns


def unite(
    members: Sequence[Artifact],
    compositions: Sequence[tuple[CompositionSettings, CompositionNetwork]] = (),
) -> ProteinClassifier:
    """The ensemble of `members` and `compositions`; raises ValueError where members are not of one design."""
    first = members[0]
    design = _design(first)
    config = BertSettings.read(first.folder)
    for member in members[1:]:
        if _design(member) != design:
            raise ValueError(f"expected members of one design, found {first.version} and {member.version}")
    if not getattr(config, "stem_kernel_size", 0) or getattr(config, "ensemble_size", 1) > 1:
        raise ValueError(f"expected single small networks as members, found another in {first.folder.name}")
    described = {"compositions": [settings.describe() for settings, _ in compositions]}
    many = BertSettings.from_dict(config.to_dict() | {"ensemble_size": len(members)} | described)
    ensemble = ProteinClassifier(many, len(first.locations), HeadSettings(**first.head))
    weights = load_file(members[0].folder / WEIGHTS)
    for index, member in enumerate(members[1:]):
        own = load_file(member.folder / WEIGHTS)
        weights |= {f"others.{index}.{name}": value for name, value in own.items()}
    for index, (_, network) in enumerate(compositions):
        weights |= {f"compositions.{index}.{name}": value for name, value in network.state_dict().items()}
    ensemble.load_state_dict(weights)
    return ensemble.eval()


def _design(member: Artifact) -> tuple[Any, ...]:
    """All in which members must agree; how much their heads drop out matters to learning only."""
    config = BertSettings.read(member.folder).to_dict()
    return config, member.locations, member.limits, {**member.head, "dropout": None}


def learn(
    numbers: Tensor,
    fragments: Sequence[Tensor],
    proteins: Sequence[data.LabelledProtein],
    settings: CompositionSettings,
) -> CompositionNetwork:
    """A network trained from nothing on the numbers of labelled proteins, and on those of their fragments.

    All numbers are (proteins, composition.SIZE); each epoch takes the next of `fragments`.
    """
    torch.manual_seed(settings.seed)
    network = CompositionNetwork(len(data.LOCATIONS), settings).train()
    network.standardise(numbers)
    truth = torch.tensor([protein.location for protein in proteins])
    membrane = torch.tensor([protein.membrane for protein in proteins])
    weights = torch.from_numpy(class_weights(proteins, CLASS_BALANCE))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    total = settings.epochs * -(-len(proteins) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    parts = {1 / (1 + FRAGMENT_WEIGHT): [numbers], FRAGMENT_WEIGHT / (1 + FRAGMENT_WEIGHT): fragments}
    for epoch in range(settings.epochs):
        for chosen in torch.split(torch.randperm(len(proteins)), settings.batch_size):
            loss = torch.zeros(())
            for weight, tables in parts.items():
                locations, bound = network(tables[epoch % len(tables)][chosen])
                truths = truth[chosen], membrane[chosen], weights, LABEL_SMOOTHING
                loss = loss + weight * summed_loss(locations, bound, *truths)
            optimizer.zero_grad()
            (loss / len(chosen)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the ensemble's artifact."""
    parser = argparse.ArgumentParser(description="Make one model of several.", allow_abbrev=False)
    parser.add_argument("out", type=Path, help="folder of the new artifact")
    parser.add_argument("members", type=Path, nargs="+", help="unpacked artifacts of train.py")
    parser.add_argument(
        "--final",
        type=Path,
        nargs="+",
        default=[],
        help="as many, trained with --everything: they answer, as the others were judged",
    )
    parser.add_argument(
        "--labelled", type=Path, required=True, help="the labelled file that the members were trained on"
    )
    parser.add_argument("--validation", type=Path, help="list of the validation split's accessions")
    parser.add_argument("--model-version", required=True)
    options = parser.parse_args(arguments)
    training, validation = training_data.split(data.read_channel(options.labelled), options.validation)
    everything = [*training, *validation]
    members = _members(options.members, training)
    finals = _members(options.final, everything)
    if len(finals) not in (0, len(members)):
        parser.error(f"expected as many --final as members, {len(members)}, found {len(finals)}")
    tokenizer, max_residues = ResidueTokenizer.read(members[0].folder), members[0].max_residues

    def tokens(proteins: Sequence[data.LabelledProtein]) -> list[Ids]:
        return [tokenizer.encode(window(protein.sequence, max_residues)) for protein in proteins]

    classifier = united(members, tokens(training), training)
    with join() as processes:
        classifier.to(processes.device)
        asked = Tokens(tokens(validation), tokenizer, max_residues + SPECIAL_TOKENS)
        answers = predict(processes, classifier, classifier, asked, TOKEN_BUDGET, "fp32")
        if not processes.first:
            return
        answers = of_known_membranes(answers, training)
        index = outcome.index_of(training, max_residues)
        judged = judge(answers, validation, data.LOCATIONS, index, max_residues)
        learned = everything if finals else training
        if finals:
            classifier = united(finals, tokens(everything), everything)
        metrics = outcome.write(
            options.out,
            classifier,
            tokenizer,
            version=options.model_version,
            max_residues=max_residues,
            judged=judged,
            proteins=learned,
            learned_from=dict((finals or members)[0].data) | {"validation_learned_from": bool(finals)},
            training={
                "members": [
                    {key: value for key, value in member.training.items() if key != "history"}
                    | {"q10": member.metrics["q10"], "macro_f1": member.metrics["macro_f1"]}
                    for member in members
                ],
                "compositions": [settings.describe() for settings in COMPOSITIONS],
                "history": members[0].training.get("history", []),
            },
            index=outcome.index_of(learned, max_residues),
        )
        detection.add_missing(options.out, everything)
        print(f"Validation Accuracy: {metrics['q10']:.4f}\nValidation Macro-F1: {metrics['macro_f1']:.4f}")


def _members(folders: Sequence[Path], proteins: Sequence[data.LabelledProtein]) -> list[Artifact]:
    """The artifacts in `folders`; ends the program where one learned from other than these proteins."""
    members, digest = [read_artifact(folder) for folder in folders], training_data.digest(proteins)
    for member in members:
        if member.data["sha256"] != digest:
            raise SystemExit(f"expected other training proteins of the member in {member.folder}")
    return members


def united(
    members: Sequence[Artifact], rows: Sequence[Ids], proteins: Sequence[data.LabelledProtein]
) -> ProteinClassifier:
    """The ensemble of `members` and of composition networks that learn here, from `proteins` as token ids."""
    numbers = number_table(rows)
    fragments = [
        number_table([crop(row, (copy, index)) for index, row in enumerate(rows)])
        for copy in range(FRAGMENTS)
    ]
    compositions = [(each, learn(numbers, fragments, proteins, each)) for each in COMPOSITIONS]
    classifier = unite(members, compositions)
    classifier.halve()
    return classifier


if __name__ == "__main__":
    main()
