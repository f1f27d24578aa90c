"""Finds the residues that an answer depends on, by hiding them from the model and asking again.

The answer for the whole protein is compared with those for copies of it in which a stretch is covered by X:
the loss of the named location's odds without a stretch is that stretch's importance. So the whole model is
looked at as it answers, networks, compositions and relatives alike, and no gradient is needed, which an
encoder packed for serving does not have. It says where the answer comes from, not why. Measured against
gradients in `docs/model.md`.

Each explanation is put to the test where it is made. The residues marked most strongly are replaced by
residues drawn at random, which is another way to remove them than the one that found them, and so are as many
others in stretches of the same lengths: the probabilities that are left say whether the marks are to be
believed. Nothing depends on chance: draws follow from the sequence. numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Ask = Callable[[Sequence[str]], Floats]
"""Returns the probabilities (sequences, locations) of some sequences."""

HIDDEN = "X"  # an unknown residue, to every tokenizer and every number of a composition
MIN_WIDTH, STEP = 5, 2  # residues hidden at once, and from one stretch to the next, at least
MAX_STRETCHES, MIN_STRETCHES = 256, 8
MARKED_SHARE = 0.1  # the share of residues that is put to the test
MIN_MARKED = 5
DRAWS = 4  # replacements that are averaged
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
# How often each stands in proteins, in that order: UniProtKB/Swiss-Prot's statistics, in per cent.
# https://web.expasy.org/docs/relnotes/relstat.html
FREQUENCIES = (
    *(8.25, 1.38, 5.46, 6.71, 3.86, 7.07, 2.27, 5.91, 5.80, 9.64),
    *(2.41, 4.06, 4.74, 3.93, 5.52, 6.65, 5.36, 6.85, 1.10, 2.92),
)
_SMALLEST = 1e-6  # a probability's distance from 0 and 1, beyond which odds say nothing


def explain(ask: Ask, sequence: str, token_budget: int) -> dict[str, Any] | None:
    """Explain a model's most probable location for a sequence, asking about at most `token_budget` tokens.

    `importance` has a number for each residue: the average loss of the natural logarithm of the location's
    odds when a stretch of `window` residues around it is hidden; below 0 where hiding raises them. None where
    an answer is no finite number.
    """
    (whole,) = ask([sequence])
    location = int(whole.argmax())
    starts, width = stretches(len(sequence), token_budget)
    hidden = ask([covered(sequence, start, start + width) for start in starts])[:, location]
    losses = log_odds(whole[location]) - log_odds(hidden)
    importance = spread(losses, starts, width, len(sequence))
    test = tested(ask, sequence, importance, location)
    if not np.isfinite([*importance, test["without_marked"], test["without_others"]]).all():
        return None
    return {
        "location": location,
        "probability": float(whole[location]),
        "window": min(width, len(sequence)),
        "importance": importance.round(4).tolist(),
        "test": test,
    }


def stretches(length: int, token_budget: int) -> tuple[list[int], int]:
    """The stretches that are hidden in turn, by their starts, and how many residues each has.

    They overlap, and the first and last reach over the ends, so that every residue is in as many.

    >>> stretches(6, 1_000_000)
    ([-3, -1, 1, 3, 5], 5)
    """
    affordable = token_budget // (length + 2) - 2 * DRAWS
    most = min(max(affordable, MIN_STRETCHES), MAX_STRETCHES)
    step = max(STEP, -(-length // most))
    width = max(MIN_WIDTH, 2 * step + 1)
    return list(range(step - width, length, step)), width


def covered(sequence: str, start: int, end: int) -> str:
    """The sequence with the residues from `start` up to `end` hidden, as far as there are any.

    >>> covered("MKVLA", -1, 2), covered("MKVLA", 3, 8)
    ('XXVLA', 'MKVXX')
    """
    start, end = max(start, 0), min(end, len(sequence))
    return sequence[:start] + HIDDEN * (end - start) + sequence[end:]


def spread(losses: Floats, starts: Sequence[int], width: int, length: int) -> Floats:
    """The mean loss (length) of the stretches that each residue is in.

    >>> spread(np.array([0.0, 3.0]), [-1, 1], 3, 4)
    array([0. , 1.5, 3. , 3. ])
    """
    total, count = np.zeros(length), np.zeros(length)
    for start, loss in zip(starts, losses, strict=True):
        total[max(start, 0) : start + width] += loss
        count[max(start, 0) : start + width] += 1
    mean: Floats = total / np.maximum(count, 1)
    return mean


def log_odds(probability: Any) -> Any:
    """The natural logarithm of probabilities' odds, bounded where they are all but certain."""
    bounded = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    return np.log(bounded / (1 - bounded))


def tested(ask: Ask, sequence: str, importance: Floats, location: int) -> dict[str, Any]:
    """Measure the location's probability without the marked residues, and without as many others.

    `marked` are their places, counted from 0.
    """
    random = np.random.default_rng(crc32(sequence.encode("ascii")))
    count = min(len(sequence), max(MIN_MARKED, round(MARKED_SHARE * len(sequence))))
    marked = np.sort(np.argsort(-importance, kind="stable")[:count])
    without = [replaced(sequence, marked, random) for _ in range(DRAWS)]
    others = [replaced(sequence, elsewhere(marked, len(sequence), random), random) for _ in range(DRAWS)]
    remaining = ask([*without, *others])[:, location]
    return {
        "marked": marked.tolist(),
        "without_marked": float(remaining[:DRAWS].mean()),
        "without_others": float(remaining[DRAWS:].mean()),
    }


def replaced(sequence: str, places: Places, random: np.random.Generator) -> str:
    """The sequence with other residues in these places, drawn as often as they stand in proteins."""
    letters = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8).copy()
    shares = np.array(FREQUENCIES) / sum(FREQUENCIES)
    letters[places] = random.choice(np.frombuffer(RESIDUES.encode(), dtype=np.uint8), len(places), p=shares)
    return letters.tobytes().decode("ascii")


def elsewhere(places: Places, length: int, random: np.random.Generator) -> Places:
    """As many places at random, in runs as long as those of `places`, which are in order."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    sizes = random.permutation([len(run) for run in runs])
    before = np.sort(random.integers(0, length - sizes.sum() + 1, len(sizes)))
    starts = before + np.cumsum(sizes) - sizes
    return np.concatenate([np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)])
