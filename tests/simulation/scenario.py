"""The scenario of a seed: files, users, models, and how much goes wrong."""

from __future__ import annotations

import gzip
import math
import random
from dataclasses import dataclass, field, replace

from functions.domain.packing import PackingSettings
from functions.sweep import LOST_AFTER_SECONDS, LOST_PAGES_A_RUN
from tests.simulation.database import ITEM_BYTES, PAGE_BYTES
from tests.simulation.model import Weather
from tests.simulation.scheduler import BEGINNING, Faults

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
HOUR = 3600
SETTLED_SECONDS = 12 * HOUR


@dataclass(frozen=True)
class File:
    """One version of a user's file, and its fate."""

    key: str
    body: bytes
    seconds: float  # after the beginning
    event: str = "sent"  # or "lost" or "repeated"
    deleted_after: float | None = None  # seconds after it came, for good
    gone_at_read: int | None = None  # which reading of it finds it deleted
    hidden_after: float | None = None  # seconds after it came, by a delete marker
    unwritable: bool = False  # whether its results are refused by S3, for good
    organism: str = ""  # as its sender names it
    cancelled_after: float | None = None  # seconds after it came, by a user who does not want it any more
    withdrawn_after: float | None = None  # seconds after it came, when a user deletes its upload for good
    withdrawn_again: float | None = None  # seconds after that, when the user does so once more

    @property
    def deleted(self) -> bool:
        """True if it goes away, sooner or later."""
        return self.deleted_after is not None or self.gone_at_read is not None


@dataclass(frozen=True)
class Scenario:
    """Everything that is decided before the first call."""

    files: list[File]
    packing: PackingSettings
    settings: dict[str, int]
    limits: dict[str, int]
    """Constants of the functions that are smaller than they are."""
    page_items: int
    sweep_seconds: int
    faults: Faults
    weather: Weather
    promotions: list[tuple[float, str]]  # seconds after the beginning, version
    calm: bool = False
    """True if nothing goes wrong at all."""
    expiring: float = 0.0
    """The probability that a message is gone when it is taken."""
    doomed: set[str] = field(default_factory=set)
    """Functions whose invocations are all killed halfway until the faults end."""
    doomed_calls: int = 8
    """After how many calls they are killed, at most."""
    retries: int = 0
    """The number of times that a user has the failed records of an upload tried again."""
    retried_within: float = 60.0
    """The most seconds from the announced end to that request; a program that listens asks at once."""
    batch_sizes: dict[str, int] = field(default_factory=dict)
    """Records of a delivery, at most, where they are not as many as the template says."""
    sweep_timeout: float = 0.0
    """Seconds after which `sweep` is ended, where these are fewer than the template says."""
    latency: float = 0.2
    """Seconds of a call on a good day, at most."""
    skew: float = 0.0
    """Seconds that a function's clock is off, at most."""
    index_lag: float = 2.0
    """Seconds that an index may lag behind its table."""
    item_bytes: int = ITEM_BYTES
    page_bytes: int = PAGE_BYTES
    older_until: float = 0.0
    """Seconds after the beginning until which functions of an earlier release are at work as well."""
    changed_after: float = math.inf
    """Seconds after the beginning from which functions work under `changed`, as somebody has deployed it."""
    changed: dict[str, int] = field(default_factory=dict)
    """Settings of packing, and of the cutting of texts."""

    @property
    def trouble_ends(self) -> float:
        """The moment after which the only faults are those of the files themselves."""
        spans = [
            *self.weather.outages,
            *self.weather.sick,
            *self.weather.deaf,
            *self.weather.loaded,
            self.faults.out[1:],
            (0.0, BEGINNING + self.promotions[0][0]),
        ]
        return max(self.faults.until, *(end for _, end in spans))

    @property
    def search_seconds(self) -> float:
        """The seconds after which the search of every hour has looked at each file at the latest.

        A page holds two, and the last one of a run is looked at once more.
        """
        rounds = math.ceil(len(self.files) / (2 * self.limits.get("LOST_PAGES_A_RUN", LOST_PAGES_A_RUN) - 1))
        return LOST_AFTER_SECONDS + HOUR * (1 + rounds)


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
        limits={
            "WINDOW_BYTES": chance.choice((64, 300, 2**20, 2**20)),
            "WRITE_PART_BYTES": chance.choice((1_000, 2**20, 2**20)),
        },
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
    if chance.random() < 0.16:
        chosen = _going_away(chance, chosen)
    chosen = _elsewhere(random.Random(f"elsewhere {seed}"), chosen)
    chosen = _large(random.Random(f"large {seed}"), chosen)
    chosen = _deployed_anew(random.Random(f"deployed {seed}"), chosen)
    chosen = _many_versions(random.Random(f"versions {seed}"), chosen)
    chosen = _cancelled(random.Random(f"cancelled {seed}"), chosen)
    chosen = _calm(random.Random(f"calm {seed}"), chosen)
    return _withdrawn(random.Random(f"withdrawn {seed}"), chosen)


_DEATH_SECONDS = {"receive": HOUR, "split": 9 * HOUR, "predict": 3 * HOUR, "complete": HOUR}
"""The time, with some to spare, after which a message is dead whose function is killed at every delivery."""


def _elsewhere(chance: random.Random, chosen: Scenario) -> Scenario:
    """Draw the settings that differ between stacks, releases and days."""
    begins = BEGINNING + chance.choice((0.0, 0.0, chance.uniform(0, 300)))
    service = chance.choice(("dynamodb", "s3", "sqs", "events"))
    out = (service, begins, begins + chance.choice((240, 600, 2_400)))
    settings = dict(chosen.settings)
    if chance.random() < 0.12:
        settings[chance.choice(("answer_days", "answer_days", "prediction_days"))] = 0
    if chance.random() < 0.04:
        settings["max_records"] = chance.choice((1, 5, 12))
    limits = dict(chosen.limits)
    if chance.random() < 0.15:
        limits["MAX_SHARDS"] = chance.choice((2, 3, 10))
    if chance.random() < 0.1:
        limits |= {"DEAD_LETTERS_A_RUN": chance.choice((1, 3)), "LOST_PAGES_A_RUN": 1}
    doomed = (
        chosen.doomed if chance.random() < 0.5 else set()
    )  # for so long that messages become dead letters
    if "split" in doomed:
        settings["deadline_seconds"] = 12 * HOUR
    several = chance.random() < 0.3
    small = chance.random() < 0.2
    differing = replace(
        chosen,
        settings=settings,
        limits=limits,
        faults=replace(
            chosen.faults,
            out=out if chance.random() < 0.1 else ("", 0.0, 0.0),
            until=max(
                chosen.faults.until, BEGINNING + max((_DEATH_SECONDS[name] for name in doomed), default=0)
            ),
            conflicts=chance.choice((0.0, 0.0, 0.1, 0.4)),
            past=chance.choice((0.0, 0.3, 0.9)),
        ),
        batch_sizes={name: chance.choice((2, 5, 10)) for name in ("receive", "split", "predict")}
        if several
        else {},
        doomed_calls=chance.choice((0, 2, 8)),
        skew=chance.choice((0.0, 0.0, 1.0, 20.0)),
        index_lag=chance.choice((2.0, 2.0, 60.0, 300.0)),
        item_bytes=4_096 if small else ITEM_BYTES,
        page_bytes=chance.choice((2_000, 10_000)) if small else PAGE_BYTES,
        older_until=chance.choice((0.0, 0.0, 0.0, 60.0, 1_200.0)),
    )
    return replace(
        differing,
        faults=replace(differing.faults, forbidden=chance.random() < 0.5),
        expiring=0.3 if chosen.expiring and chance.random() < 0.2 else chosen.expiring,
    )


def _large(chance: random.Random, chosen: Scenario) -> Scenario:
    """Seldom, because it takes long: a file of more shards than an attempt may have, or very many uploads."""
    if chance.random() >= 1 / 150:
        return chosen
    pool = [_sequence(chance) for _ in range(20)]
    quick = replace(
        chosen,
        latency=0.02,
        faults=replace(chosen.faults, calls=min(chosen.faults.calls, 0.01), slow=0.0, past=0.3),
        weather=replace(chosen.weather, poison={}, answer_seconds=0.0, loaded=[], refusing_seconds=0.0),
        packing=PackingSettings(batch_residues=400, batch_proteins=16),
        settings=chosen.settings | {"shard_bytes": 60},
        limits=chosen.limits | {"WINDOW_BYTES": 2**20, "WRITE_PART_BYTES": 2**20, "MAX_SHARDS": 350},
        page_items=1_000,
        item_bytes=ITEM_BYTES,
        page_bytes=PAGE_BYTES,
        doomed=set(),
        retries=min(chosen.retries, 1),
    )
    quick.settings.pop("max_records", None)
    first = chosen.files[0]
    if chance.random() < 0.5:
        body = _text(chance, pool, records=450)
        return replace(quick, files=[replace(first, body=body, gone_at_read=None)])
    many = [
        replace(first, key=f"file {n}.fasta", body=_text(chance, pool, 1), seconds=chance.uniform(0, 60))
        for n in range(chance.choice((100, 200)))
    ]
    # With a page a run, the search for lost events would come round to all of them in days.
    limits = {name: most for name, most in quick.limits.items() if name != "LOST_PAGES_A_RUN"}
    return replace(quick, files=many, limits=limits, latency=0.05, sweep_timeout=5.0)


def _deployed_anew(chance: random.Random, chosen: Scenario) -> Scenario:
    """Draw the organisms that senders name, how many uploads are let in, and a deployment with other settings."""
    organisms = ("", "", "Bacillus subtilis", "Saccharomyces cerevisiae", "nobody knows")
    files = [replace(file, organism=chance.choice(organisms)) for file in chosen.files]
    settings = dict(chosen.settings)
    if chance.random() < 0.15:
        settings["max_open_uploads"] = chance.choice((1, 1, 2))
    if chance.random() >= 0.15:
        return replace(chosen, files=files, settings=settings)
    changed = {
        "batch_proteins": chance.choice((1, 2, 4, 7)),
        "window_records": chance.choice((2, 3, 4_096)),
        "shard_bytes": chance.choice((100, 400)),
    }
    return replace(
        chosen, files=files, settings=settings, changed_after=chance.uniform(0, 300), changed=changed
    )


def _many_versions(chance: random.Random, chosen: Scenario) -> Scenario:
    """Seldom, a bucket of more versions than one search looks through, the last of which nobody was told of."""
    if chance.random() >= 1 / 40 or len(chosen.files) > 3:
        return chosen
    names = [f"file {number:02d}.fasta" for number in range(chance.choice((5, 8)))]
    others = [replace(chosen.files[0], key=name, gone_at_read=None, event="sent") for name in names]
    lost = replace(others[0], key="the last.fasta", event="lost", deleted_after=None, hidden_after=None)
    return replace(chosen, files=[*others, lost], limits=chosen.limits | {"LOST_PAGES_A_RUN": 1})


def _cancelled(chance: random.Random, chosen: Scenario) -> Scenario:
    """Now and then somebody cancels a file: before it is read, while it is in work, or too late."""
    if chance.random() >= 0.12:
        return chosen
    longest = chance.choice((5.0, 30.0, 300.0, 3_600.0))
    files = [
        replace(file, cancelled_after=chance.uniform(0, longest)) if chance.random() < 0.6 else file
        for file in chosen.files
    ]
    return replace(chosen, files=files)


def _withdrawn(chance: random.Random, chosen: Scenario) -> Scenario:
    """Now and then somebody deletes an upload: before it is read, in work, cancelled, ended or retried.

    Not on a calm day, since a file then goes away while it is read, which fails a delivery.
    """
    if chance.random() >= 0.1 or chosen.calm:
        return chosen
    longest = chance.choice((5.0, 30.0, 300.0, 3_600.0))
    files = [
        replace(
            file,
            withdrawn_after=chance.uniform(0, longest),
            withdrawn_again=chance.choice((None, 0.0, 60.0, 7_200.0)),
        )
        if chance.random() < 0.6
        else file
        for file in chosen.files
    ]
    # A sandbox may stand still for hours, and in life a day passes until all is erased a last time.
    return replace(
        chosen,
        files=files,
        sweep_seconds=300,
        limits=chosen.limits | {"SETTLED_SECONDS": SETTLED_SECONDS},
    )


def _calm(chance: random.Random, chosen: Scenario) -> Scenario:
    """A day on which nothing goes wrong, and so nothing may have to be put right; seldom."""
    if chance.random() >= 0.12:
        return chosen
    weather = chosen.weather
    poison = {s: kind for s, kind in weather.poison.items() if kind in ("refused", "told")}
    return replace(
        chosen,
        calm=True,
        files=[
            replace(
                f,
                event="sent",
                deleted_after=None,
                gone_at_read=None,
                hidden_after=None,
                unwritable=False,
            )
            for f in chosen.files
        ],
        faults=Faults(past=chosen.faults.past),
        weather=Weather(poison, answer_seconds=min(weather.answer_seconds, 2.0), checksums=weather.checksums),
        promotions=[(0.0, "m-1"), *chosen.promotions[1:]],
        expiring=0.0,
        doomed=set(),
        limits={
            n: v for n, v in chosen.limits.items() if n not in ("DEAD_LETTERS_A_RUN", "LOST_PAGES_A_RUN")
        },
    )


def _going_away(chance: random.Random, chosen: Scenario) -> Scenario:
    """A file of many proteins is read a little at a time and predicted slowly, and goes away meanwhile."""
    body = _text(chance, [_sequence(chance) for _ in range(40)], records=20)
    return replace(
        chosen,
        files=[replace(chosen.files[0], body=body, gone_at_read=chance.randint(6, 25))],
        packing=replace(chosen.packing, batch_proteins=chance.choice((1, 3)), window_records=2),
        settings=chosen.settings | {"shard_bytes": chance.choice((150, 400))},
        limits=chosen.limits | {"WINDOW_BYTES": 64},
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
