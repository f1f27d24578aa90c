"""The proteins a model was trained on are kept beside it, those of the model it began with included."""

from pathlib import Path

from model.proteins import seen
from model.proteins.labelled import LabelledProtein
from tests.model.tiny import random_sequences

PROTEINS = [
    LabelledProtein(f"P{i}", s, i % 10, 1.0, False) for i, s in enumerate(random_sequences([40] * 30))
]


def test_learned_proteins_are_told_apart_from_the_rest(tmp_path: Path) -> None:
    seen.write(tmp_path, PROTEINS[:20])
    assert seen.unseen(tmp_path, PROTEINS) == PROTEINS[20:]
    assert (tmp_path / seen.FILE).stat().st_size < 20 * 8 + 100
    renamed = LabelledProtein("other", PROTEINS[0].sequence, 3, -1.0, False)
    assert seen.unseen(tmp_path, [renamed]) == []  # a protein is its sequence


def test_what_it_began_with_counts_too(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    seen.write(first, PROTEINS[:10])
    seen.write(second, PROTEINS[8:20], [first])
    assert seen.unseen(second, PROTEINS) == PROTEINS[20:]
    seen.write(third, PROTEINS[:5], [second, tmp_path])  # of which one does not say
    assert seen.unseen(third, PROTEINS) is None


def test_the_default_model_says_what_it_learned_from() -> None:
    default = Path(__file__).parents[3] / "model" / "default"
    sequences = seen.read(default)
    assert sequences is not None and 10_000 < len(sequences) <= 10_847
    assert seen.unseen(default, PROTEINS) == PROTEINS
