"""The proteins a model was trained on, kept beside its weights, so that it is never judged on them.

The file `learned.safetensors` holds eight bytes of each sequence's SHA-256, as sorted numbers: 73 kB for
DeepLoc. A model that begins with another one keeps that one's as well. Two of a million proteins share a
number once in tens of millions of times. Needs numpy and safetensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from model.proteins.labelled import LabelledProtein

FILE = "learned.safetensors"
MIN_PROTEINS = 20  # proteins that a model has not learned from, below which they say nothing
Numbers = NDArray[np.uint64]


def numbers(proteins: Iterable[LabelledProtein]) -> Numbers:
    """A number for every sequence, in their order."""
    digests = b"".join(hashlib.sha256(each.sequence.encode()).digest()[:8] for each in proteins)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def read(folder: Path) -> Numbers | None:
    """The sorted numbers of an artifact's folder; None where it has no list of them."""
    path = folder / FILE
    if not path.is_file():
        return None
    kept: Numbers = load_file(path)["sequences"]
    return kept


def write(folder: Path, proteins: Iterable[LabelledProtein], earlier: Sequence[Path] = ()) -> None:
    """Keep the training proteins of an artifact, and of those in the folders `earlier`, its starts.

    Where one of these does not say, the whole is not known, and nothing is written.
    """
    before = [read(place) for place in earlier]
    known = [each for each in before if each is not None]
    if len(known) == len(before):
        every: Numbers = np.unique(np.concatenate([numbers(proteins), *known]))
        save_file({"sequences": every}, folder / FILE)


def learned(folder: Path, proteins: Sequence[LabelledProtein]) -> NDArray[np.bool_] | None:
    """True for each of `proteins` that an artifact has learned from; None where it does not say."""
    known = read(folder)
    return None if known is None else np.isin(numbers(proteins), known)


def unseen(folder: Path, proteins: Sequence[LabelledProtein]) -> list[LabelledProtein] | None:
    """Those of `proteins` that an artifact has not learned from; None where it does not say."""
    seen = learned(folder, proteins)
    if seen is None:
        return None
    return [protein for protein, was_seen in zip(proteins, seen, strict=True) if not was_seen]
