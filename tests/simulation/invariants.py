"""Invariants that must hold at every moment of a schedule."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from typing import Any

from functions.domain.upload import FINAL_STATUSES, GONE_STATUSES, attempt_of, result_key
from functions.services.uploads_reader import shard_key
from tests.simulation.database import SETTLING_SECONDS, Item
from tests.simulation.messages import Message
from tests.simulation.objects import Version
from tests.simulation.progress import Progress, attempts
from tests.simulation.scheduler import Invocation
from tests.simulation.world import World

MIN_WAIT_SECONDS = 5
"""A batch that could not be ended comes again no sooner: a service that is out is not asked all the time."""


class Watch:
    """Sees every write as it is made."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.announced: dict[str, list[Item]] = defaultdict(list)
        self.known: dict[tuple[str, str], float] = {}  # digest and version: since when
        self.marked: dict[tuple[str, str], float] = {}
        self.progress = Progress(world, self.violate)
        self._batches: dict[tuple[str, int, int], str] = {}
        self._immutable: dict[str, bytes] = {}
        self.written: dict[str, float] = {}  # when a part was
        self.first_deadline: dict[str, int] = {}
        self.begun: dict[str, float] = {}  # when the last attempt began
        self.cancelled: dict[str, float] = {}  # when the present attempt was
        self.deleted: dict[str, float] = {}  # when an upload was
        self.writers: dict[str, Invocation | None] = {}  # of each multipart upload
        self._let_in: dict[str, float] = {}  # uploads in work, and when each was let in
        overdue = world.scenario.settings["overdue_seconds"]
        self.excused_until = world.scenario.trouble_ends + 2 * overdue + 1_800
        """An upload whose deadline is later than this has no excuse for being late."""
        world.s3.listeners.append(self._on_object)
        world.s3.begun.append(self._on_parts)
        world.bus.listeners.append(self._on_event)
        world.database.tables["UploadsTable"].listeners.append(self._on_upload)
        world.database.tables["AnswersTable"].listeners.append(self._on_answer)
        world.runtime.listeners.append(self._on_call)
        world.sqs.listeners.append(self._on_message)
        world.sqs.acknowledged.append(self._on_acknowledged)

    def violate(self, what: str) -> None:
        self.world.simulation.tell(f"VIOLATION: {what}")
        self.violations.append(what)

    # While it happens

    def _on_object(self, bucket: str, key: str, version: Version) -> None:
        if bucket != "results" or version.body is None:
            return
        self._require_there(key.split("/")[1], f"{key} is written")
        place = key[: key.rindex("/") + 1]
        is_announced = key.startswith("results/") and self.announced[place] and not key.endswith(".json")
        if key.startswith("parts/"):
            self.written.setdefault(key, self.world.simulation.now)
        if is_announced or key.startswith("parts/"):
            name = f"announced {key}" if is_announced else key
            if self._immutable.setdefault(name, version.body) != version.body:
                self.violate(f"{name} was overwritten")

    def _require_there(self, upload: str, act: str) -> None:
        """Record a violation if an invocation that began after an upload was deleted acts for it."""
        current = self.world.simulation.current
        if current is not None and self.deleted.get(upload, math.inf) < current.started:
            self.violate(f"{act} by {current.name}, which began after {upload} was deleted")

    def _on_parts(self, identity: str) -> None:
        self.writers[identity] = self.world.simulation.current

    def _on_event(self, detail: Item) -> None:
        upload, attempt = detail["upload"], detail["attempts"]
        self._require_there(upload, "it is announced")
        if upload in self.deleted:  # its results may be erased by now
            return
        for name in () if not detail["results"] else ("results.tsv", "results.jsonl"):
            key = result_key(upload, name, attempt)
            body = self.world.s3.latest("results", key)
            self._immutable[f"announced {key}"] = body or b""
            rows = -1 if body is None else body.count(b"\n") - (name == "results.tsv")
            if rows != detail["records"]:
                self.violate(f"{upload} was announced with {rows} rows of {detail['records']} in {name}")
        details = self.announced[result_key(upload, "", attempt)]
        if details and details[0] != detail:
            self.violate(f"{upload} was announced twice, and differently")
        details.append(detail)

    def _on_upload(self, old: Item | None, new: Item | None) -> None:
        now = self.world.simulation.now
        if new is None:
            assert old is not None
            if old["sk"] == "upload" or old["pk"] not in self.deleted:
                self.violate(f"{old['sk']} of {old['pk']} is gone from the uploads table")
            return
        if new["sk"] == "upload" and new["status"] in GONE_STATUSES:
            self.deleted.setdefault(new["pk"], now)
        elif new["sk"] == "upload" and new["pk"] in self.deleted:
            self.violate(f"{new['pk']} was deleted and is {new['status']} again")
        if new["sk"].startswith("batch#"):
            if old is not None:
                self.violate(f"the marker {new['sk']} changed")
            self.marked.setdefault((new["pk"], new["sk"]), now)
        elif new["sk"] == "upload":
            self._on_let_in(new)
        if new["sk"] == "upload" and old is None:
            self.first_deadline[new["pk"]] = int(new["deadline"])
            self.begun[new["pk"]] = now
        elif new["sk"] == "upload" and old is not None:
            if "cancelled" not in new:
                self.cancelled.pop(new["pk"], None)
            elif "cancelled" not in old:
                self.cancelled[new["pk"]] = now
                if old["status"] not in ("receiving", "running"):
                    self.violate(f"{new['pk']} is cancelled though it is {old['status']}")
            if old["model_version"] not in ("", new["model_version"]) and new["pk"] not in self.deleted:
                self.violate(f"{new['pk']} changed its model version")
            if old["status"] in FINAL_STATUSES and attempts(new) > attempts(old):
                self.begun[new["pk"]] = now
                if (
                    attempts(new) != attempts(old) + 1
                    or not old["failed"]
                    or new["status"] != "running"
                    or "cancelled" in new
                ):
                    self.violate(f"{new['pk']} is retried as {attempts(new)} after {attempts(old)}")
            elif old["status"] in FINAL_STATUSES and new["status"] not in GONE_STATUSES:
                changed = {n for n in {*old, *new} if old.get(n) != new.get(n)} - {
                    "announced",
                    "updated",
                    "open",
                }
                if changed:
                    self.violate(f"{new['pk']} changed after its end: {sorted(changed)}")

    def _on_let_in(self, new: Item) -> None:
        """No more uploads are in work than the stack takes, but for those let in while its index lags."""
        most = self.world.scenario.settings.get("max_open_uploads", 0)
        if not new["model_version"] or "open" not in new:
            self._let_in.pop(new["pk"], None)
        elif new["pk"] not in self._let_in:
            current, now = self.world.simulation.current, self.world.simulation.now
            looked = (current.started if current else now) - self.world.scenario.index_lag - 1
            inside = sum(since < looked for since in self._let_in.values())
            self._let_in[new["pk"]] = now
            if most and inside >= most and attempts(new) == 1:
                self.violate(f"{new['pk']} is let in beside {inside} others, at most {most} are taken")

    def _on_answer(self, old: Item | None, new: Item | None) -> None:
        if new is None:
            self.known.pop((old["pk"], old["sk"].split("#")[0]), None) if old else None
            return
        self.known.setdefault((new["pk"], new["sk"].split("#")[0]), self.world.simulation.now)

    def _on_call(self, sequences: list[str], version: str) -> None:
        invocation = self.world.simulation.current
        if invocation is None or not invocation.name.startswith("predict"):
            return
        done = [self.marked.get(subject, math.inf) for subject in invocation.subjects]
        if done and max(done) < invocation.started:
            self.violate(f"{sorted(invocation.subjects)} were done, and the model is asked again")
        began = [self.cancelled.get(upload, math.inf) for upload, _ in invocation.subjects]
        if began and max(began) < invocation.started:
            self.violate(f"{sorted(invocation.subjects)} were cancelled, and the model is asked")
        gone = [self.deleted.get(upload, math.inf) for upload, _ in invocation.subjects]
        if gone and max(gone) < invocation.started:
            self.violate(f"{sorted(invocation.subjects)} were deleted, and the model is asked")
        for sequence in sequences:
            since = self.known.get((digest(sequence), version))
            if since is not None and since < invocation.started - SETTLING_SECONDS:
                self.violate(f"{sequence} was asked about again, though its answer was known")
        if len(set(sequences)) < len(sequences):
            self.violate("a sequence was asked about twice in one call")

    def _on_message(self, queue: Any, moment: float) -> None:
        """The batches of a shard are the same whenever it is split, and none is asked about again at once."""
        if queue.name != "BatchesQueue":
            return
        current = self.world.simulation.current
        if current is not None and current.name.startswith("predict"):
            wait = moment - self.world.simulation.now
            if wait < MIN_WAIT_SECONDS:
                self.violate(f"{current.name} has a batch come again after {wait:.0f} s")
        for message in queue.messages[-1:]:
            batch = json.loads(message.body)
            key = (batch["upload"], batch["shard"], batch["batch"])
            if self._batches.setdefault(key, proteins := json.dumps(batch["proteins"])) != proteins:
                self.violate(f"batch {key} was cut differently")

    def _on_acknowledged(self, queue: Any, message: Message) -> None:
        """A message goes only when what it asks for is done, or asked for anew."""
        if queue.name not in ("BatchesQueue", "ShardsQueue") or self.world.scenario.expiring:
            return
        request = json.loads(message.body)
        if request.get("inflate"):
            return
        items = self.world.database.tables["UploadsTable"].items[request["upload"]]
        shard = items.get(shard_key(request["shard"]), {})
        if items["upload"]["status"] != "running" or "kept" in shard:
            return
        if attempt_of(request["shard"]) != attempts(items["upload"]):
            return
        if queue.name == "ShardsQueue":
            if "batches" not in shard and not self._asked_anew(queue, request):
                self.violate(f"shard {request['shard']} was acknowledged before it was split")
        elif request["batch"] not in shard.get("batches_done", ()) and not self._asked_anew(queue, request):
            self.violate(f"batch {request['batch']} was acknowledged before it was done")

    def _asked_anew(self, queue: Any, asked: Item) -> bool:
        """True if another message of this batch, or shard, is there, among the dead ones at worst."""
        begins = f'{{"upload":"{asked["upload"]}","shard":{asked["shard"]},'
        if "batch" in asked:
            begins += f'"batch":{asked["batch"]},'
        return any(m.body.startswith(begins) for each in (queue, queue.dead_letters) for m in each.messages)


def digest(sequence: str) -> str:
    return hashlib.sha256(sequence.encode()).hexdigest()[:32]


def item_of(world: World, upload: str) -> Item | None:
    return world.database.tables["UploadsTable"].items.get(upload, {}).get("upload")


def is_gone(item: Item | None) -> bool:
    """True if an upload was deleted, whatever of it is left."""
    return item is not None and item.get("status") in GONE_STATUSES


def ended_well(world: World, upload: str) -> bool:
    """True if an upload has ended and its end was announced, or it was erased for the last time."""
    item = item_of(world, upload)
    if item is None or is_gone(item):
        return item is not None and item["status"] == "deleted"
    return item.get("status") in FINAL_STATUSES and "announced" in item
