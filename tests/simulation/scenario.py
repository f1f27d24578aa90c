"""What a seed stands for: files, what users and models do meanwhile, and how much goes wrong."""

from __future__ import annotations

import gzip
import math
import random
from dataclasses import dataclass, field, replace

from functions.batches import PackingSettings
from tests.simulation.model import Weather
from tests.simulation.scheduler import BEGINNING, Faults

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
HOUR = 3600


@dataclass(frozen=True)
class File:
    """One version of a user's file, and what becomes of it."""

    key: str
    body: bytes
    seconds: float  # after the beginning
    event: str = "sent"  # or "lost" or "repeated"
    deleted_after: float | None = None  # seconds after it came, for good
    gone_at_read: int | None = None  # which reading of it finds it deleted
    hidden_after: float | None = None  # seconds after it came, by a delete marker
    unwritable: bool = False  # whether its results are refused by S3, for good

    @property
    def deleted(self) -> bool:
        """Whether it goes away, sooner or later."""
        return self.deleted_after is not None or self.gone_at_read is not None


@dataclass(frozen=True)
class Scenario:
    """Everything that is decided before the first call."""

    files: list[File]
    packing: PackingSettings
    settings: dict[str, int]
    window_bytes: int
    part_bytes: int
    page_items: int
    sweep_seconds: int
    faults: Faults
    weather: Weather
    promotions: list[tuple[float, str]]  # seconds after the beginning, version
    expiring: float = 0.0
    """How likely it is that a message is gone when it is taken."""
    doomed: set[str] = field(default_factory=set)
    """Functions whose invocations are all killed halfway until the faults end."""
    retries: int = 0
    """How often a user has what failed of an upload tried again."""
    retried_within: float = 60.0
    """How soon after the end was told, at most: a program that listens asks at once."""

    @property
    def trouble_ends(self) -> float:
        """From when on nothing goes wrong but what is wrong with the files themselves."""
        spans = [
            *self.weather.outages,
            *self.weather.sick,
            *self.weather.deaf,
            *self.weather.loaded,
            (0.0, BEGINNING + self.promotions[0][0]),
        ]
        return max(self.faults.until, *(end for _, end in spans))


def scenario(seed: int) -> Scenario:
    chance = random.Random(f"scenario {seed}")
    rough = chance.choice((0.0, 0.0, 0.01, 0.03, 0.06, 0.12, 0.2))
    until = BEGINNING + chance.choice((600, 600, HOUR, 3 * HOUR))
    pool = [_sequence(chance) for _ in range(chance.randint(1, 20))]
    weather = Weather(
        poison=_poison(chance, pool),
        mended=BEGINNING + chance.choice((math.inf, chance.uniform(0, 60), chance.uniform(0, 600))),
        outages=_spans(chance, 0.3, (60, 900, 900, 2 * HOUR)),
        sick=_spans(chance, 0.15, (120, 900)),
        deaf=_spans(chance, 0.1, (HOUR,)),
        warm_seconds=chance.choice((0, 0, 240)),
        killed_seconds=chance.uniform(5, 120),
        answer_seconds=chance.choice((0.0, 0.0, 2.0, 20.0)),
        checksums=chance.random() < 0.8,
    )
    load = random.Random(f"load {seed}")
    weather = replace(
        weather,
        loaded=_spans(load, 0.25, (300, 1_800, HOUR)),
        loaded_seconds=load.choice((7.0, 25.0, 100.0)),
        refusing_seconds=load.choice((0.0, 0.0, 30.0, 58.0)),
    )
    if load.random() < 0.08:
        weather.poison[load.choice(pool)] = "hangs"
    batch_residues = chance.choice((60, 150, 400, 1_000))
    chosen = Scenario(
        files=_files(chance, pool),
        packing=PackingSettings(
            batch_residues=batch_residues,
            batch_proteins=chance.choice((1, 3, 5, 5, 8, 8, 16)),
            window_records=chance.choice((2, 5, 4_096)),
        ),
        settings={
            "shard_bytes": chance.choice((60, 150, 400, 400, 4_000)),
            "deadline_seconds": chance.choice((HOUR, 2 * HOUR, 8 * HOUR)),
            "overdue_seconds": chance.choice((600, 1_800)),
            "indexed_bytes": chance.choice((0, 10**6, 10**6)),
        },
        window_bytes=chance.choice((64, 300, 2**20, 2**20)),
        part_bytes=chance.choice((1_000, 2**20, 2**20)),
        page_items=chance.choice((2, 5, 1_000, 1_000)),
        sweep_seconds=chance.choice((60, 300)),
        faults=Faults(
            until=until,
            calls=rough,
            slow=chance.choice((0.0, 0.02, 0.1)),
            frozen=chance.choice((0.0, 0.0, 0.004, 0.02)),
            undone=chance.choice((0.0, 0.1, 0.5)),
            past=chance.choice((0.0, 0.3)),
            deliveries=chance.choice((0.0, 0.05, 0.2)),
            answers=chance.choice((0.0, 0.03, 0.15, 0.3)),
            reading=chance.choice((0.0, 0.0, 4.0)),
        ),
        weather=weather,
        promotions=_promotions(chance),
        expiring=chance.choice((0.0, 0.0, 0.03)),
        doomed={chance.choice(("receive", "split", "predict", "complete"))}
        if chance.random() < 0.12
        else set(),
        retries=chance.choice((0, 1, 1, 2, 3)),
        retried_within=chance.choice((0.0, 1.0, 60.0)),
    )
    return _going_away(chance, chosen) if chance.random() < 0.1 else chosen


def _going_away(chance: random.Random, chosen: Scenario) -> Scenario:
    """A file of many proteins is read a little at a time and predicted slowly, and goes away meanwhile."""
    body = _text(chance, [_sequence(chance) for _ in range(40)], records=20)
    return replace(
        chosen,
        files=[replace(chosen.files[0], body=body, gone_at_read=chance.randint(6, 25))],
        packing=replace(chosen.packing, batch_proteins=chance.choice((1, 3)), window_records=2),
        settings=chosen.settings | {"shard_bytes": chance.choice((150, 400))},
        window_bytes=64,
        faults=replace(chosen.faults, reading=4.0),
        weather=replace(chosen.weather, answer_seconds=20.0),
    )


def _poison(chance: random.Random, pool: list[str]) -> dict[str, str]:
    """A few sequences that the model cannot bear, or many; of those that kill it only a few.

    Each time it is minutes until it is back, and many such searches would outlast any deadline.
    """
    share, kinds = chance.choice(((0.06, ("refused", "kills", "told")), (0.3, ("refused", "told"))))
    return {sequence: chance.choice(kinds) for sequence in pool if chance.random() < share}


def _promotions(chance: random.Random) -> list[tuple[float, str]]:
    first = chance.choice((0.0, 0.0, 0.0, chance.uniform(1, 1_500)))
    promotions = [(first, "m-1")]
    while chance.random() < 0.3:
        promotions.append((promotions[-1][0] + chance.uniform(0, 120), f"m-{len(promotions) + 1}"))
    return promotions


def _spans(chance: random.Random, probability: float, lengths: tuple[int, ...]) -> list[tuple[float, float]]:
    if chance.random() >= probability:
        return []
    start = BEGINNING + chance.choice((0.0, chance.uniform(0, 10), chance.uniform(0, 600)))
    return [(start, start + chance.choice(lengths))]


def _files(chance: random.Random, pool: list[str]) -> list[File]:
    files: list[File] = []
    for number in range(chance.choice((1, 1, 1, 2, 2, 3))):
        key = files[-1].key if files and chance.random() < 0.3 else f"file {number}.fasta"
        gone = chance.choice((None,) * 10 + (chance.uniform(0, 30), chance.uniform(0, 3)))
        files.append(
            File(
                key=key,
                body=_body(chance, pool),
                seconds=chance.uniform(0, 5 if chance.random() < 0.7 else 900),
                event=chance.choice(("sent",) * 8 + ("lost", "repeated", "repeated")),
                deleted_after=gone if chance.random() < 0.6 else None,
                hidden_after=gone if chance.random() < 0.3 else None,
                gone_at_read=chance.randint(2, 9) if chance.random() < 0.05 else None,
                unwritable=chance.random() < 0.02,
            )
        )
    return files


def _body(chance: random.Random, pool: list[str]) -> bytes:
    if chance.random() < 0.04:
        return chance.choice((b"", b"no FASTA at all\n", b"\x89PNG\r\n", gzip.compress(b"", mtime=0)))
    body = _text(chance, pool, chance.choice((1, 2, 3, 5, 8, 12, 20)))
    if chance.random() < 0.7:
        return body
    cut = chance.randint(0, len(body))
    packed = gzip.compress(body[:cut], mtime=0) + gzip.compress(body[cut:], mtime=0)
    return packed[: -chance.randint(1, 40)] if chance.random() < 0.15 else packed


def _text(chance: random.Random, pool: list[str], records: int) -> bytes:
    end = chance.choice(("\n", "\n", "\r\n"))
    text = chance.choice(("", "", f"; a comment{end}{end}"))
    for number in range(records):
        text += f">P{number:03d} protein {number}{end}" + _letters(chance, pool, end)
    return text.encode()


def _letters(chance: random.Random, pool: list[str], end: str) -> str:
    sequence = chance.choice(pool)
    match chance.randint(0, 19):
        case 0:
            return ""
        case 1:
            sequence = sequence[:3] + "1" + sequence[3:]
        case 2:
            sequence = sequence[:3] + "*" + sequence[3:]
        case 3:
            sequence = sequence.lower() + "*"
        case 4:
            sequence = sequence[:4] + end + "; a comment" + end + sequence[4:]
    return sequence + end


def _sequence(chance: random.Random) -> str:
    """A few share a length, so that answers in the wrong order fit by it."""
    return "MKV" + "".join(chance.choices(RESIDUES, k=chance.choice((8, 8, 12, 20, 35))))
