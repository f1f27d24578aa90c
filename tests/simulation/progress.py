"""Nothing stands still for longer than the mechanism takes that gets it on again: watched at every step.

While an upload is open, something is on its way for it: a message in a queue, dead letters included, or a
change in the stream. Where nothing is, the world must have lost it, and the mechanism that looks for such
uploads has a bound. A message that comes back by itself, since its function died, is waited for; from then
on, and from the end of all trouble, an upload has a bound to end in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf

from functions.domain.upload import FINAL_STATUSES, GONE_STATUSES, upload_id
from functions.receive import NO_MODEL, NOT_YET, TOO_MANY
from functions.sweep import AGAIN_SECONDS
from tests.simulation.database import Item
from tests.simulation.messages import Message, MessageQueue
from tests.simulation.scheduler import BEGINNING, Invocation
from tests.simulation.world import World

MAX_WAIT_SECONDS = 300
"""A message that is put back, or sent for later, comes after so long at most; an event that cannot make a row
comes after `AGAIN_SECONDS`."""

QUIET_SECONDS = 20.0
"""An upload of which nothing goes wrong ends so soon, besides what its calls take."""


def attempts(item: Item) -> int:
    """The number of attempts at an upload, by its row."""
    return int(item.get("attempts", 1))


def _waits(item: Item | None) -> bool:
    """True if an upload waits for a model version or for room."""
    return item is not None and item.get("status") == "receiving" and not item.get("model_version")


class Progress:
    """Watches that every upload gets on."""

    def __init__(self, world: World, violate: Callable[[str], None]) -> None:
        self._world, self._violate = world, violate
        self._begun: dict[str, float] = {}
        self._recorded: dict[str, float] = {}
        """When an upload got its row, or its attempt began, and with it a deadline."""
        self._released: dict[str, float] = {}
        """When something of an upload came back last that had been held up."""
        self._gaps: dict[str, tuple[float, float, str]] = {}
        """Since when nothing is on its way for an upload, for how long that may last, and why."""
        self._lost: dict[str, str] = {}
        """The way in which a message or event of an upload was lost, where no function is to blame."""
        self._waited: dict[str, float] = {}
        """When an upload had no model version last: it waits for one, or for room."""
        self._senders: dict[str, Invocation] = {}
        """The retry or sweep that sends the shards of an upload again: where it dies, nobody is told of the rest."""
        self._about: dict[str, str] = {}
        self.durations: dict[str, tuple[float, float]] = {}
        world.sqs.added.append(self._on_added)
        world.sqs.listeners.append(self._on_shown)
        world.sqs.lost.append(self._on_lost)
        world.sqs.acknowledged.append(self._on_acknowledged)
        world.lambdas.redelivered.append(self._on_redelivered)
        world.lambdas.stream_ended.append(self._on_stream_ended)
        world.database.tables["UploadsTable"].listeners.append(self._on_upload)
        world.uploaded.append(self._on_uploaded)

    @property
    def _calm(self) -> bool:
        return self._world.scenario.calm

    @property
    def _now(self) -> float:
        return self._world.simulation.now

    # Messages

    def _upload_of(self, message: Message) -> str:
        """The upload that a message is about."""
        upload = self._about.get(message.identity)
        if upload is None:
            try:
                upload = _upload_in(json.loads(message.body))
            except (KeyError, TypeError, ValueError):
                self._violate(f"a message that says nothing: {message.body[:80]}")
                upload = ""
            self._about[message.identity] = upload
        return upload

    def _on_added(self, queue: MessageQueue, message: Message) -> None:
        upload = self._upload_of(message)
        if queue.name.endswith("DeadLetters"):
            self._lost.setdefault(upload, "a message of it was a dead letter")
        sender = self._world.simulation.current
        if queue.name in ("ShardsQueue", "BatchesQueue") and message.group != upload:
            self._violate(
                f"{upload}: a message of it is in the group {message.group}, and waits behind others"
            )
        if self._calm and sender is not None and sender.name.startswith("sweep"):
            # The sweep sends again uploads without a model version, by an index that may be older than the
            # row.
            seen_from = sender.started - self._world.scenario.index_lag
            if not _waits(self._item(upload)) and self._waited.get(upload, -inf) < seen_from:
                self._violate(f"{upload}: the sweep sends it again though nothing went wrong")
        if queue.name == "ShardsQueue" and sender is not None:
            if sender.name.startswith(("retry", "sweep")):
                self._senders[upload] = sender
            else:
                self._senders.pop(upload, None)
        if sender is not None and (sender.disturbed or sender.slowed):
            self._release(upload)  # a held-up sender hands it on
        self._close(upload)

    def _on_shown(self, queue: MessageQueue, moment: float) -> None:
        if self._world.simulation.current is not None and not queue.name.endswith("DeadLetters"):
            wait = moment - self._now
            if wait > (AGAIN_SECONDS if queue.name == "UploadsQueue" else MAX_WAIT_SECONDS):
                self._violate(f"a message of {queue.name} is put off for {wait:.0f} s")

    def _on_lost(self, _queue: MessageQueue, message: Message) -> None:
        upload = self._upload_of(message)
        self._lost[upload] = "a message of it expired"
        self._check(upload)

    def _on_acknowledged(self, _queue: MessageQueue, message: Message) -> None:
        self._check(self._upload_of(message))

    def _on_redelivered(self, queue: MessageQueue, message: Message) -> None:
        """A message comes again at once, or soon; only one whose function died waits for its queue's time."""
        self._release(self._upload_of(message))
        if self._calm:
            self._violate(f"a message of {queue.name} comes again though nothing went wrong")
        holders = self._world.lambdas.holders.get(message.identity, [])
        if message.waited_out and holders and not any(each.disturbed or each.overran for each in holders):
            names = ", ".join(each.name for each in holders)
            self._violate(f"a message of {queue.name} was left hidden by {names}")

    def _on_stream_ended(self, upload: str) -> None:
        self._check(upload)

    # Uploads

    def _on_uploaded(self, key: str, version: str, event: str) -> None:
        upload = upload_id("uploads", key, version)
        self._begun[upload] = self._now
        if event == "lost":
            self._lost[upload] = "its event was lost"
            self._open(upload, self._search_seconds(), "its event was lost")

    def _on_upload(self, old: Item | None, new: Item | None) -> None:
        if new is None:
            return
        upload, current = new["pk"], self._world.simulation.current
        if current is not None and (current.disturbed or current.slowed):
            self._release(upload)  # a held-up function goes on
            if upload in self._gaps and not current.name.startswith("sweep"):
                _, seconds, why = self._gaps[upload]  # an upload that somebody moves does not stand still
                self._gaps[upload] = (self._now, seconds, why)
        if new["sk"] != "upload":
            return
        if new["status"] in GONE_STATUSES:  # nothing has to get on any more
            self._gaps.pop(upload, None)
            return
        if _waits(new) or _waits(old):
            self._waited[upload] = self._now
        if new.get("reason") == TOO_MANY:
            self._release(upload)  # it waits for others to end
        self._begun.setdefault(upload, self._now)
        self._recorded.setdefault(upload, self._now)
        if old is not None and attempts(new) > attempts(old):
            later = self._now - self._recorded[upload] > 60 + 2 * self._world.scenario.skew
            if later and new["deadline"] == old["deadline"]:
                self._violate(f"{upload}: attempt {attempts(new)} has the deadline of the one before it")
            self._begun[upload] = self._recorded[upload] = self._now
            self._lost.pop(upload, None)
            assert current is not None, "the call that begins it again"
            self._senders[upload] = current
            self._open(upload, self._overdue_seconds(), "it is retried")
        elif "announced" in new and (old is None or "announced" not in old):
            self._gaps.pop(upload, None)
            self._ended(upload)
        elif self._is_under_way(upload):
            self._close(upload)

    def _is_under_way(self, upload: str) -> bool:
        world = self._world
        return bool(world.lambdas.streams.get(("complete", upload))) or any(
            self._upload_of(message) == upload
            for queue in world.queues.values()
            for message in queue.messages
        )

    def _is_received(self, upload: str) -> bool:
        """True if a delivery of its event is in work, maybe one of two of which the other has ended."""
        holders = self._world.lambdas.holders
        return any(
            each.running and each.name.startswith("receive")
            for identity, about in self._about.items()
            if about == upload
            for each in holders.get(identity, ())
        )

    def _check(self, upload: str) -> None:
        """Something of an upload is done, or gone: is there anything left that gets it on?"""
        if upload in self._gaps or self._is_under_way(upload):
            return
        item = self._item(upload)
        if item is None or "status" not in item:  # expired, maybe under a write that made some of it again
            self._check_unknown(upload)
        elif item["status"] in GONE_STATUSES or (item["status"] in FINAL_STATUSES and "announced" in item):
            return
        elif item["status"] == "receiving" and not item["model_version"]:
            self._open(upload, self._sweep_seconds(), NO_MODEL)
        elif item["status"] == "receiving" and self._is_received(upload):
            self._open(upload, self._overdue_seconds(), "the delivery that goes on is not the one that ended")
        elif item.get("reason") == NOT_YET:
            self._open(upload, self._overdue_seconds(), NOT_YET)
        elif upload in self._world.lambdas.unheard:
            self._open(upload, self._overdue_seconds(), "a change of it was given up")
        elif upload in self._senders and not self._senders[upload].ended_well:
            self._open(upload, self._overdue_seconds(), "not all of its shards were sent again")
        elif upload in self._lost:
            self._open(upload, self._overdue_seconds(), self._lost[upload])
        else:
            self._violate(f"{upload}: {item['status']}, and nothing is on its way for it")

    def _check_unknown(self, upload: str) -> None:
        """An upload that nobody recorded: its file is gone, or its event was lost by nobody's fault."""
        if not self._holds(upload):
            return
        why = self._lost.get(upload, "")
        if why and "dead letter" not in why:
            self._open(upload, self._search_seconds(), why)
        else:
            self._violate(f"{upload}: its event was thrown away, and nobody knows of it")

    def _item(self, upload: str) -> Item | None:
        return self._world.database.tables["UploadsTable"].items.get(upload, {}).get("upload")

    # Bounds

    def _slack(self) -> float:
        chosen = self._world.scenario
        runs = 20 if chosen.sweep_timeout else 0  # until one has come to it that gets to a few only
        return 120 + 2 * chosen.skew + chosen.index_lag + runs * chosen.sweep_seconds

    def _sweep_seconds(self) -> float:
        """The sweep of every minute finds it."""
        return self._world.scenario.sweep_seconds + self._slack()

    def _overdue_seconds(self) -> float:
        return self._world.scenario.settings["overdue_seconds"] + self._sweep_seconds()

    def _search_seconds(self) -> float:
        """The search of every hour finds it, from page to page of the bucket's versions."""
        return self._world.scenario.search_seconds + self._slack()

    def _open(self, upload: str, seconds: float, why: str) -> None:
        self._gaps.setdefault(upload, (self._now, seconds, why))

    def _close(self, upload: str) -> None:
        if upload in self._gaps:
            self._judge_gap(upload)
            del self._gaps[upload]
            self._release(upload)

    def _judge_gap(self, upload: str) -> None:
        since, seconds, why = self._gaps[upload]
        trouble = self._world.scenario.trouble_ends
        late = self._now - max(since, trouble) - seconds
        if late > 0:
            self._violate(f"{upload}: nothing was on its way for {seconds + late:.0f} s ({why})")

    def _release(self, upload: str) -> None:
        self._released[upload] = self._now

    def _ended(self, upload: str) -> None:
        chosen = self._world.scenario
        since = max(self._begun.get(upload, BEGINNING), self._released.get(upload, 0.0))
        seconds, bound = self._now - max(since, chosen.trouble_ends), self._work_seconds()
        if not chosen.calm:
            bound += 2 * MAX_WAIT_SECONDS + 2 * chosen.weather.warm_seconds + self._slack()
            invocations = self._world.simulation.invocations
            if upload in self._lost or any(each.disturbed or each.slowed for each in invocations):
                bound += (
                    self._overdue_seconds()
                )  # messages that its function held may be sent anew before they come back
        self.durations[upload] = (self._now - since, seconds)
        if seconds > bound and not self._waits_for_the_model(upload):
            self._violate(f"{upload}: ended {seconds:.0f} s after it could, at most {bound:.0f}")

    def _work_seconds(self) -> float:
        """The seconds of work that an upload takes, however many others are in work beside it."""
        items = self._world.database.tables["UploadsTable"].items
        pieces = sum(len(upload) for upload in items.values())
        return QUIET_SECONDS + pieces * (
            5 * self._world.scenario.latency + self._world.scenario.weather.answer_seconds
        )

    def _waits_for_the_model(self, upload: str) -> bool:
        """True if a protein takes the model down or keeps it busy again and again, or nothing can be written."""
        weather = self._world.scenario.weather
        unwritable = any(f"results/{upload}/".startswith(prefix) for prefix in self._world.s3.refused)
        return unwritable or weather.hangs or "kills" in weather.poison.values()

    def judge(self) -> None:
        for upload in self._gaps:
            if self._item(upload) is not None or self._holds(upload):
                self._judge_gap(upload)

    def _holds(self, upload: str) -> bool:
        """True if the file of an upload is there."""
        versions = (each for each in self._world.files if upload_id("uploads", *each) == upload)
        return any(self._world.s3.holds("uploads", *each) for each in versions)


def _upload_in(body: Item) -> str:
    """The upload that a message, or the event of a file, is about."""
    if "upload" in body:
        return str(body["upload"])
    thing = body["detail"]["object"]
    return upload_id(body["detail"]["bucket"]["name"], thing["key"], thing["version-id"])
