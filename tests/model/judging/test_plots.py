"""Pictures show the figures they are given, also strange ones, and the same figures give the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.judging import judgement as evaluate
from model.judging import plots
from model.judging.answered import Answered
from model.proteins.labelled import LOCATIONS
from tests.model.answered import random_answers

HISTORY = [
    {"epoch": epoch, "training_loss": 2.0 / epoch, "validation_loss": 2.2 / epoch, "q10": 0.1 * epoch}
    | {"macro_f1": 0.05 * epoch, "membrane_q2": None}
    for epoch in (1, 2, 3)
]


def judged(answered: Answered) -> dict[str, Any]:
    return evaluate.judge(answered, LOCATIONS, uncertain_below=0.5, resamples=20) | {"split": "validation"}


@pytest.fixture(scope="module")
def pictures() -> dict[str, plots.Figure]:
    return plots.draw(judged(random_answers(300)), HISTORY)


def test_there_is_a_picture_of_everything_and_of_training_where_its_history_is_known(
    pictures: dict[str, plots.Figure],
) -> None:
    assert list(pictures) == ["training", "locations", "confusion", "reliability", "abstention", "lengths"]
    assert "training" not in plots.draw(judged(random_answers(50)))


def test_the_confusion_matrix_shows_each_count_in_its_cell(pictures: dict[str, plots.Figure]) -> None:
    judgement = judged(random_answers(300))
    numbers = {
        (int(text.get_position()[1]), int(text.get_position()[0])): int(text.get_text())
        for text in pictures["confusion"].axes[0].texts
        if text.get_text().isdigit()
    }
    counts = np.array(judgement["confusion"])
    assert numbers == {cell: counts[cell] for cell in zip(*map(list, np.nonzero(counts)), strict=True)}
    image = pictures["confusion"].axes[0].images[0].get_array()
    assert np.asarray(image).sum(axis=1) == pytest.approx(1.0)


def test_the_curves_go_through_the_figures(pictures: dict[str, plots.Figure]) -> None:
    judgement = judged(random_answers(300))
    line = pictures["abstention"].axes[0].lines[0]
    assert list(line.get_ydata()) == [point["accuracy"] for point in judgement["abstention"]["points"]]
    losses, rates = pictures["training"].axes
    assert [list(line.get_ydata()) for line in losses.lines] == [[2.0, 1.0, 2 / 3], [2.2, 1.1, 2.2 / 3]]
    assert [line.get_label() for line in rates.lines] == ["Q10", "macro-F1"]  # the membrane's was never told


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        plots.save(plots.draw(judged(random_answers(60)), HISTORY), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("proteins", [1, 3])
def test_a_handful_of_proteins_can_be_drawn(proteins: int, tmp_path: Path) -> None:
    assert len(plots.save(plots.draw(judged(random_answers(proteins))), tmp_path)) == 5


def test_wilsons_interval_is_what_tables_say() -> None:
    # Newcombe, Stat. Med. 17 (1998) 857, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    for hits, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (29, 29, 0.8830, 1),
    ):
        interval = plots._wilson(hits / total, total)
        assert interval == pytest.approx((low, high), abs=2e-4)


def test_judging_and_the_card_need_no_matplotlib() -> None:
    program = "import sys; sys.modules['matplotlib'] = None; import model.judging.judgement, model.judging.card, model.snapshot"
    subprocess.run([sys.executable, "-c", program], check=True)
