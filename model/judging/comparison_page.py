"""The report of a retraining: one HTML page that opens without a network.

It shows where the new model is better and worse than the one in service, its own figures, its training data,
and its worst mistakes. Everything that comes from a labelled file is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model.judging import paired, plots
from model.judging.markdown import LABELS, MIN_PROTEINS_PER_LOCATION, difference, shown
from model.judging.report import PAGE, figure, locations, mistakes, table
from model.proteins.divided import SPLITS

if TYPE_CHECKING:
    from model.judging.judgement import Contestant

Figures = Mapping[str, Any]
EXAMPLES = 10  # problems of each kind that the page shows
PROBLEMS = {
    "malformed": "Not readable, left out",
    "unknown_locations": "An unknown location, left out",
    "conflicts": "In contradiction to another record",
    "duplicates": "The same protein again, counted once",
    "leaks": "Related to a protein of the holdout, so not learned from",
}
VERDICT = "<!-- verdict --><!-- /verdict -->"  # where `functions/judge.py` writes its verdict
LESS_IS_BETTER = ("ece", "membrane_ece", "log_loss")


def page(challenger: Contestant, champion: Contestant | None, evaluation: Figures, manifest: Figures) -> str:
    """The HTML of a report; `evaluation` and `manifest` are as their JSON files have them."""
    version = challenger.artifact.version
    title = f"{version} against {champion.artifact.version}" if champion else f"{version}, the first version"
    learned = evaluation.get("learned")
    proteins = evaluation["holdout"]["proteins"] - (learned["proteins"] if learned else 0)
    note = (
        f"Both models answered the same {proteins:,}" if champion else f"The model answered the {proteins:,}"
    )
    note += (
        f" proteins of the holdout of snapshot {evaluation['snapshot']}, from which "
        f"{'neither' if learned else version} {'learned' if learned else 'did not learn'}. Intervals are the "
        "middle 95 % of 1,000 resamples of the proteins (bootstrap). A dash stands for what too few proteins "
        "tell."
    )
    parts = [VERDICT]
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in _summary(challenger, champion, evaluation)]
    parts += list(_figures(challenger, champion, evaluation))
    if learned:
        parts += list(_learned(challenger, champion, learned))
    judged = challenger.judged | {"split": "holdout"}
    parts += ["<h2>The new model by itself</h2>", locations(judged)]
    history = challenger.artifact.training.get("history", ())
    parts += [figure(name, picture) for name, picture in plots.draw(judged, history).items()]
    parts += list(_data(manifest))
    if judged["mistakes"]:
        parts += ["<h2>The most confident mistakes of the new model</h2>", mistakes(judged["mistakes"])]
    return PAGE.format(title=html.escape(title), note=html.escape(note), body="\n".join(parts))


def _learned(challenger: Contestant, champion: Contestant | None, learned: Figures) -> Iterator[str]:
    """The figures of proteins that a model has learned from, which flatter it and count for nothing."""
    sides = [("champion", champion)] * (champion is not None) + [("challenger", challenger)]
    yield f"<h2>{learned['proteins']:,} proteins that count apart</h2>"
    notes = [
        f"{each.artifact.version} has learned from {each.known:,} of them"
        for _, each in sides
        if each is not None and each.known
    ]
    yield (
        f"<p>{html.escape(', '.join(notes))}, itself or through the version it began with: on these it looks "
        "better than on others, so nothing above counts them.</p>"
    )
    rows = [
        [label, *(shown(learned[side][name], learned[side]["intervals"][name]) for side, _ in sides)]
        for name, label in LABELS.items()
        if name in ("q10", "macro_f1")
    ]
    yield table(["figure", *(each.artifact.version for _, each in sides if each is not None)], rows)


def _summary(challenger: Contestant, champion: Contestant | None, evaluation: Figures) -> Iterator[str]:
    """Summarise the comparison in sentences."""
    judged = challenger.judged
    sentence = f"{challenger.artifact.version} names {_percent(judged['q10'])} of the locations right "
    sentence += f"(n = {judged['proteins']:,})"
    if champion is None:
        yield f"{sentence}; its macro-F1 is {shown(judged['macro_f1'])}."
        return
    of_q10 = evaluation["against"]["q10"]
    yield (
        f"{sentence}, {champion.artifact.version} {_percent(champion.judged['q10'])}: "
        f"{_points(of_q10['difference'])} points, between {_points(of_q10['interval'][0])} and "
        f"{_points(of_q10['interval'][1])} with 95 % confidence."
    )
    better, worse = (
        [
            name
            for name, each in zip(judged["locations"], evaluation["against"]["recall"], strict=True)
            if judged["locations"][name]["proteins"] >= MIN_PROTEINS_PER_LOCATION
            and each["interval"][0] is not None
            and sign * each["interval"][0 if sign > 0 else 1] > 0
        ]
        for sign in (1, -1)
    )
    for names, what in ((better, "more"), (worse, "fewer")):
        if names:
            yield f"It clearly finds {what} proteins of: {', '.join(names)}."


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:+.1f}".replace("-", "−")


def _figures(challenger: Contestant, champion: Contestant | None, evaluation: Figures) -> Iterator[str]:
    """The headline figures, beside the champion's where there is one."""
    judged = challenger.judged
    if champion is None:
        yield "<h2>Figures</h2>"
        rows = [[label, shown(judged[name], judged["intervals"][name])] for name, label in LABELS.items()]
        yield table(["figure", "value (95 % interval)"], rows)
        return
    yield "<h2>Champion against challenger</h2>"
    rows = []
    for name, label in LABELS.items():
        if name in LESS_IS_BETTER:
            label += " ↓"
        rows.append(
            [
                label,
                shown(champion.judged[name], champion.judged["intervals"][name]),
                shown(judged[name], judged["intervals"][name]),
                difference(evaluation["against"][name]),
            ]
        )
    columns = [
        "figure (↓ less is better)",
        champion.artifact.version,
        challenger.artifact.version,
        "difference (95 %)",
    ]
    yield table(columns, rows)
    yield figure("differences", paired.differences(evaluation["against"], judged["locations"]))


def _data(manifest: Figures) -> Iterator[str]:
    """Describe the snapshot: its sources, the changes since the last one, and the records left out."""
    yield "<h2>Data</h2>"
    changes = manifest["changes"]
    if changes["since"] is None:
        yield "<p>The first snapshot: there is none to compare it with.</p>"
    else:
        yield (
            f"<p>Since snapshot {html.escape(changes['since'])}: {changes['added']:,} proteins added, "
            f"{changes['removed']:,} removed, {changes['relabelled']:,} labelled otherwise.</p>"
        )
    splits = manifest["splits"]
    rows = [
        [name, *(shown(splits[split]["locations"][name]) for split in SPLITS)]
        for name in splits["holdout"]["locations"]
    ]
    yield table(
        ["proteins", *SPLITS], [*rows, ["all", *(shown(splits[split]["proteins"]) for split in SPLITS)]]
    )
    files = [
        [
            _name(each["uri"]),
            each["kind"],
            *(shown(each[name]) for name in ("proteins", "duplicates", "left_out")),
        ]
        for each in manifest["sources"]
    ]
    yield "<h2>Files</h2>"
    yield table(["file", "kind", "proteins", "duplicates", "left out"], files)
    for kind, what in PROBLEMS.items():
        problem = manifest["problems"][kind]
        if problem["total"]:
            yield _problems(problem["total"], what, problem["first"])


def _name(uri: str) -> str:
    return uri.removeprefix("s3://").partition("/")[2] if uri.startswith("s3://") else uri


def _problems(total: int, what: str, first: Sequence[Figures]) -> str:
    rows = [[each["where"], each["problem"]] for each in first[:EXAMPLES]]
    shown_of = f", the first {len(rows)}" if total > len(rows) else ""
    summary = html.escape(f"{what}: {total:,}{shown_of}")
    return f'<details class="problems"><summary>{summary}</summary>{table(["where", "what"], rows)}</details>'
