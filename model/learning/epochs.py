"""The optimizer steps of an epoch: which proteins each of them sees, in packs of similar length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model.serving.tokens import TOKEN_MULTIPLE, Ids, pack_by_length


@dataclass(frozen=True)
class Step:
    """One optimizer step: `proteins` in all, and this process's packs of indices."""

    proteins: int
    packs: list[list[int]]


def plan_epoch(
    lengths: Ids, *, batch_size: int, token_budget: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[Step]:
    """Plan the optimizer steps of an epoch: at least `batch_size` proteins each, in packs of similar length.

    The plan depends on seed and epoch only, and every number of processes sees the same proteins in the
    same step: processes share a step's packs, in equal number as gradient averaging needs. Where a step
    has too few packs, the largest are halved, and at the very last a process gets an empty one.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    pool = max(16 * batch_size, 512)  # large enough for packs of like length, small enough to stay random
    packs: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        by_length = part[np.argsort(lengths[part], kind="stable")].tolist()
        packs.extend(pack_by_length(lengths, by_length, token_budget))
    packs = [packs[index] for index in random.permutation(len(packs))]
    steps: list[Step] = []
    group: list[list[int]] = []
    for index, pack in enumerate(packs):
        group.append(pack)
        proteins = sum(len(members) for members in group)
        if proteins >= batch_size or index == len(packs) - 1:
            steps.append(Step(proteins, _share(group, rank, world)))
            group = []
    return steps


def padding_share(steps: Iterable[Step], tokens: Ids) -> float:
    """The share of padding among all tokens of a process's packs (sequences of `tokens` each)."""
    real = padded = 0
    for pack in (pack for step in steps for pack in step.packs if pack):
        longest = int(tokens[pack].max())
        real += int(tokens[pack].sum())
        padded += len(pack) * -(-longest // TOKEN_MULTIPLE) * TOKEN_MULTIPLE
    return round(1 - real / padded, 4) if padded else 0.0


def _share(packs: list[list[int]], rank: int, world: int) -> list[list[int]]:
    """The packs of one process out of `world`, as many for each."""
    shared = list(packs)
    while len(shared) % world:
        largest = max(range(len(shared)), key=lambda index: len(shared[index]))
        members = shared[largest]
        half = len(members) // 2
        shared[largest : largest + 1] = [members[half:], members[:half]]
    return shared[rank::world]
