"""The figures in an artifact's description, and the record of every evaluation on test proteins.

`metrics` in artifact.json holds one split's figures at its top, those of test as soon as there are any, the
other splits' under their names, and `looks`: one entry each time test proteins were measured, on the way to
this artifact or on itself. Looks are added, never taken away. Needs neither numpy nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from model.judging.card import write_card
from model.serving.artifact import Artifact, now, write_description

SPLITS = ("validation", "test", "all")


def looks(artifact: Artifact) -> list[dict[str, Any]]:
    """Every look at test proteins, oldest first."""
    metrics = artifact.metrics
    if "looks" not in metrics and metrics.get("split") == "test":  # from before looks were listed
        return [_look(artifact, metrics) | {"date": None}]
    return [dict(look) for look in metrics.get("looks", [])]


def _look(artifact: Artifact, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {"date": now(), "version": artifact.version} | {
        name: figures.get(name) for name in ("split", "proteins", "q10", "macro_f1")
    }


def with_look(artifact: Artifact, figures: Mapping[str, Any]) -> Artifact:
    """The artifact with one look more, whose figures are `figures`."""
    return _with_looks(artifact, [*looks(artifact), _look(artifact, figures)])


def with_looks_of(artifact: Artifact, earlier: Iterable[Artifact]) -> Artifact:
    """The artifact with the looks of those that came before it."""
    all_looks: list[dict[str, Any]] = []
    for each in (*earlier, artifact):
        all_looks += [look for look in looks(each) if look not in all_looks]
    return _with_looks(artifact, all_looks)


def _with_looks(artifact: Artifact, all_looks: list[dict[str, Any]]) -> Artifact:
    return artifact.with_metrics({**artifact.metrics, "looks": all_looks}) if all_looks else artifact


def with_figures(artifact: Artifact, figures: Mapping[str, Any]) -> Artifact:
    """The artifact with `figures`, which name their split, in place of those it had of that split."""
    all_looks, by_split = looks(artifact), {}
    before = {name: value for name, value in artifact.metrics.items() if name not in ("looks", *SPLITS)}
    if "split" in before:
        by_split[before["split"]] = before
    by_split |= {name: artifact.metrics[name] for name in SPLITS if name in artifact.metrics}
    by_split[figures["split"]] = dict(figures)
    first = by_split.pop("test" if "test" in by_split else figures["split"])
    return _with_looks(artifact.with_metrics({**first, **by_split}), all_looks)


def without_figures(artifact: Artifact) -> Artifact:
    """The artifact before it is measured, its looks kept: an artifact that was changed answers otherwise."""
    return _with_looks(artifact.with_metrics({}), looks(artifact))


def write(artifact: Artifact) -> None:
    """Write the description and the card."""
    write_description(artifact)
    write_card(artifact)
