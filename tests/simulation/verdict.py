"""Everything that must hold when a schedule has come to rest, against the reference's reading of each file."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from functions.domain.locations import LOCATION_NAMES
from functions.domain.organisms import NO_EUKARYOTES, kingdom_of
from functions.domain.remarks import FOREIGN
from functions.domain.rows import COLUMNS
from functions.domain.upload import CANCELLED, Counts, attempt_of, part_key, result_key, upload_id
from functions.services.dynamodb import from_item, iso
from functions.services.uploads_reader import batch_key, shard_key
from functions.sweep import DEAD_BATCH, DEAD_SHARD, TOO_LATE, UNWRITTEN
from tests.simulation.database import Item
from tests.simulation.invariants import Watch, digest, ended_well, is_gone, item_of
from tests.simulation.model import true_answer
from tests.simulation.progress import attempts
from tests.simulation.reference import Expected, Reading, read
from tests.simulation.scenario import File

Row = dict[str, Any]
_ENDS_BY_ITSELF = "the protein is beyond this model"
_REFUSED = "the model failed with status 500"


class Verdict:
    """Judges the end of a schedule; adds each violation to those of its watch."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.world = watch, watch.world

    def judge(self, ended: bool) -> list[str]:
        """Everything that does not hold."""
        world = self.world
        self.watch.violations += [
            f"a handler failed unexpectedly: {error}" for error in world.lambdas.unexpected
        ]
        if world.scenario.calm and world.lambdas.failed:
            self.watch.violate("a function failed though nothing went wrong")
        if not ended:
            unread = {n: len(q.messages) for n, q in world.queues.items() if q.messages}
            self.watch.violate(f"nothing ends: {unread or self._unfinished()}")
            return self.watch.violations
        for (key, version), file in world.files.items():
            upload = upload_id("uploads", key, version)
            if is_gone(item_of(world, upload)):
                self._judge_deleted(upload, key, version)
            elif item_of(world, upload) is not None:
                try:
                    self._judge_upload(upload, file)
                except (KeyError, ValueError, TypeError, IndexError) as error:
                    self.watch.violate(f"{upload} cannot even be judged: {type(error).__name__}: {error}")
            elif world.s3.holds("uploads", key, version):
                self.watch.violate(f"{upload}: never received")
        self.watch.progress.judge()
        self._judge_calls()
        self._judge_dead_letters()
        self._judge_unfinished()
        return self.watch.violations

    def _unfinished(self) -> list[str]:
        world = self.world
        identities = [upload_id("uploads", *each) for each in world.files]
        return [i for i in identities if not ended_well(world, i)]

    def _judge_deleted(self, upload: str, key: str, version: str) -> None:
        """Nothing is left of a deleted upload but the row that keeps its event from making it anew."""
        tables = self.world.database.tables
        left = [
            *(name for name, kept in self.world.s3.buckets["results"].items() if kept and upload in name),
            *(sk for sk in tables["UploadsTable"].items[upload] if sk != "upload"),
            *(
                f"{pk} {sk}"
                for pk, rows in tables["PredictionsTable"].items.items()
                if pk[:26] == upload
                for sk in rows
            ),
        ]
        if self.world.s3.holds("uploads", key, version):
            left.append(key)
        if left:
            self.watch.violate(f"{upload} was deleted, and there still is {sorted(left)}")
        row = from_item(item_of(self.world, upload))
        if any(row["source"].values()) or {"listing", "open", "results", "reason"} & row.keys():
            self.watch.violate(f"{upload} was deleted, and its row says {row}")

    def _judge_upload(self, upload: str, file: File) -> None:
        item = from_item(item_of(self.world, upload))
        unwritten = not item["results"]
        if item["reason"].startswith("expected at most"):
            return self._judge_too_many(upload, item, file)
        rows = self._rows_in_parts(upload, item) if unwritten else self._rows(upload, attempts(item))
        reading = read(file.body)
        if rows is None:
            return
        counts = Counter(row["status"] for row in rows)
        counted = (len(rows), counts["predicted"], counts["rejected"], counts["failed"])
        recorded = tuple(item[name] for name in ("records", "predicted", "rejected", "failed"))
        if counted != recorded:
            self.watch.violate(f"{upload}: counts {recorded} of rows {counted}")
        if any(row["model_version"] not in (None, item["model_version"]) for row in rows):
            self.watch.violate(f"{upload}: rows of several model versions")
        if unwritten:
            self._judge_unwritten(upload, item, file)
        self._judge_announcements(upload, item)
        self._judge_end(upload, item, rows, reading, file)
        shards = self.world.database.tables["UploadsTable"].items[upload].values()
        self._judge_stores(upload, item, rows, cut_short=any("kept" in shard for shard in shards))

    def _rows(self, upload: str, attempt: int) -> list[Row] | None:
        bodies = {}
        for name in ("results.tsv", "results.jsonl", "manifest.json"):
            body = self.world.s3.latest("results", result_key(upload, name, attempt))
            if body is None:
                self.watch.violate(f"{upload}: no {name}")
                return None
            bodies[name] = body
        rows: list[Row] = [json.loads(line) for line in bodies["results.jsonl"].splitlines()]
        table = bodies["results.tsv"].decode().splitlines()[1:]
        offset = COLUMNS.index("offset")
        if [int(line.split("\t")[offset]) for line in table] != [row["offset"] for row in rows]:
            self.watch.violate(f"{upload}: results.tsv and results.jsonl differ")
        if json.loads(bodies["manifest.json"])["records"] != len(rows):
            self.watch.violate(f"{upload}: the manifest counts otherwise")
        return rows

    def _rows_in_parts(self, upload: str, item: Item) -> list[Row]:
        """The rows that the results would have held: of every record the newest."""
        shards = {
            int(sk.split("#")[1]): shard
            for sk, shard in self.world.database.tables["UploadsTable"].items[upload].items()
            if sk.startswith("shard#")
        }
        newest: dict[int, Row] = {}
        for pk, sk in sorted(self.watch.marked):
            shard, batch = map(int, sk.split("#")[1:])
            if pk == upload and batch in shards[shard].get("kept", (batch,)):
                body = self.world.s3.latest("results", part_key(upload, shard, batch)) or b""
                newest |= {row["offset"]: row for row in map(json.loads, body.splitlines())}
        return [newest[offset] for offset in sorted(newest)]

    def _judge_unwritten(self, upload: str, item: Item, file: File) -> None:
        """Only results that nobody could write until the deadline are given up."""
        if item["status"] != ("cancelled" if item.get("cancelled") else "failed"):
            self.watch.violate(f"{upload}: {item['status']} without results")
        if not file.unwritable and item["deadline"] >= self.watch.excused_until:
            self.watch.violate(f"{upload}: its results were given up though nothing stood in their way")
        if item["finished"] < iso(item["deadline"]):
            self.watch.violate(f"{upload}: its results were given up before its deadline")

    def _judge_too_many(self, upload: str, item: Item, file: File) -> None:
        """An upload of too many records fails as a whole."""
        most = self.world.services["complete"].settings.max_records
        records = read(file.body).records
        ended = item["status"] == ("cancelled" if item.get("cancelled") else "failed")
        if not ended or item["results"] or records is None or len(records) <= most:
            self.watch.violate(f"{upload}: {item['status']}, {item['reason']}")
        self._judge_announcements(upload, item)

    def _judge_announcements(self, upload: str, item: Item) -> None:
        details = self.watch.announced[result_key(upload, "", attempts(item))]
        completions = [i for i in self.world.simulation.invocations if i.name.startswith("complete")]
        disturbed = sum(completion.disturbed for completion in completions)
        if not 1 <= len(details) <= 1 + disturbed:
            self.watch.violate(
                f"{upload}: announced {len(details)} times, completions disturbed {disturbed} times"
            )
        if details and any(
            details[0][name] != item[name]
            for name in ("status", "reason", "attempts", "warnings", "model_version", *Counts._fields)
            if name in item
        ):
            self.watch.violate(f"{upload}: announced as something else than it is")
        results = {name: f"s3://results/{key}" for name, key in item["results"].items()}
        if details and details[0]["results"] != results:
            self.watch.violate(f"{upload}: announced with results that are not its own")

    def _judge_end(self, upload: str, item: Item, rows: list[Row], reading: Reading, file: File) -> None:
        offsets = [row["offset"] for row in rows]
        expected = reading.records
        deadline = self.watch.first_deadline[upload]  # a row that was late at first may stay through a retry
        earliest = int(deadline - 2 * self.world.scenario.skew)  # by the slowest of clocks
        late = self.world.simulation.now >= earliest and item["finished"] >= iso(earliest)
        given_up = late and item["reason"].startswith((DEAD_SHARD, TOO_LATE))
        unread = file.deleted or given_up or item["reason"].startswith(UNWRITTEN)
        if expected is None or item.get("shards", 0) == 0:
            cancelled = item.get("cancelled", False)
            if rows or item["status"] != ("cancelled" if cancelled else "failed") or not item["reason"]:
                self.watch.violate(
                    f"{upload}: {item['status']} with {len(rows)} rows of a file that was not read"
                )
            if expected is not None and not (file.deleted or late or cancelled):
                self.watch.violate(f"{upload}: refused though it holds records: {item['reason']}")
            return
        if [record.offset for record in expected] != offsets:
            lost = {record.offset for record in expected} - set(offsets)
            if len(set(offsets)) != len(offsets) or not lost or offsets != sorted(offsets) or not unread:
                self.watch.violate(f"{upload}: records at {[r.offset for r in expected]}, rows at {offsets}")
        by_offset = {record.offset: record for record in expected}
        if item.get("organism", "") != kingdom_of(file.organism):
            self.watch.violate(f"{upload}: of {item.get('organism')}, its sender says {file.organism}")
        for row in rows:
            if row["offset"] in by_offset:  # another one was told of above
                self._judge_row(upload, item, row, by_offset[row["offset"]], late, file)
                if item["results"]:
                    self._judge_text(upload, row, by_offset[row["offset"]], kingdom_of(file.organism))
        if [record.offset for record in expected] == offsets and not unread:
            self._judge_progress(upload, item, expected)
        if (item["status"] == "cancelled") != item.get("cancelled", False):
            self.watch.violate(f"{upload}: {item['status']}, though cancelled is {item.get('cancelled')}")
        whole = not reading.damaged and not item["reason"] and not item["failed"]
        if item["status"] == "complete" and not whole:
            self.watch.violate(
                f"{upload}: complete, with {item['failed']} failed and reason {item['reason']!r}"
            )
        if item["status"] != "complete" and whole:
            self.watch.violate(f"{upload}: {item['status']} without a reason")

    def _judge_row(self, upload: str, item: Item, row: Row, record: Expected, late: bool, file: File) -> None:
        where = f"{upload} at {record.offset}"
        if record.sequence is None:
            if row["status"] != "rejected":
                self.watch.violate(f"{where}: {row['status']} though it can't be read")
            return
        if row["status"] == "predicted":
            answer = true_answer(record.sequence, item["model_version"])
            probabilities = [row[f"p:{name}"] for name in LOCATION_NAMES]
            if probabilities != answer["probabilities"] or row["membrane"] != answer["membrane"]:
                self.watch.violate(f"{where}: another protein's answer, or another model's")
            return
        reason = (row["reason"] or "").split(": ", 1)[-1]
        poison = self.world.scenario.weather.poison.get(record.sequence)
        shards = self.world.database.tables["UploadsTable"].items[upload].values()
        abandoned = any("kept" in shard for shard in shards)
        if self.watch.begun[upload] >= self.world.scenario.weather.mended and not abandoned:
            poison = None  # the last attempt asked about every record that had failed, and a well model
        # One that the model hangs on keeps its batch from ending, but no answer from those beside it.
        waits_for_ever = poison and self.world.scenario.weather.hangs
        allowed = {
            _ENDS_BY_ITSELF: poison == "told",
            CANCELLED: file.cancelled_after is not None,
            _REFUSED: poison in ("refused", "kills"),
            TOO_LATE: late
            and (waits_for_ever or self.watch.first_deadline[upload] < self.watch.excused_until),
            DEAD_BATCH: any(q == "BatchesDeadLetters" and upload in body for q, body in self.world.buried),
            DEAD_SHARD: any(q == "ShardsDeadLetters" and upload in body for q, body in self.world.buried),
        }
        if row["status"] != "failed" or not allowed.get(reason, False):
            self.watch.violate(f"{where}: {row['status']}: {reason}")
        self._judge_given_up(upload, item, row, record.sequence, where)

    def _judge_text(self, upload: str, row: Row, record: Expected, kingdom: str) -> None:
        """A row names its protein, the place of its record, and each doubt."""
        where = f"{upload} at {record.offset}"
        if (row["header"], row["accession"]) != (record.header, record.header.split(" ")[0]):
            self.watch.violate(f"{where}: named {row['accession']}, {row['header']}")
        if record.sequence is not None and row["length"] != len(record.sequence):
            self.watch.violate(f"{where}: {row['length']} residues of {len(record.sequence)}")
        if row["status"] != "predicted":
            named = re.match(r"line (\d+): ", row["reason"])
            shards = self.world.database.tables["UploadsTable"].items[upload].values()
            if named is None and any("kept" in shard for shard in shards):
                return  # lines that were not read are not counted
            allowed = record.lines if row["status"] == "rejected" else record.lines[:1]
            if named is None or int(named[1]) not in allowed:
                self.watch.violate(f"{where}: at line {record.lines[0]}: {row['reason']}")
            return
        foreign = [FOREIGN.format(kingdom)] if kingdom in NO_EUKARYOTES else []
        if [remark for remark in row["remarks"] if remark.startswith("of ")] != foreign:
            self.watch.violate(f"{where}: {row['remarks']} of a file of {kingdom or 'nobody knows what'}")

    def _judge_progress(self, upload: str, item: Item, expected: list[Expected]) -> None:
        """All records were read and are done, even if parts were begun twice."""
        progress = item["progress"]
        shards = self.world.database.tables["UploadsTable"].items[upload].values()
        if any("kept" in shard for shard in shards):
            return
        residues = sum(len(record.sequence) for record in expected if record.sequence)
        progress_found = (progress["records_found"], progress["residues_found"])
        if progress_found != (len(expected), residues):
            self.watch.violate(f"{upload}: found {progress_found} of {(len(expected), residues)}")
        if progress["batches_done"] != progress["batches"] or progress["shards_split"] != progress["shards"]:
            self.watch.violate(f"{upload}: ended, and its progress says {progress}")

    def _judge_given_up(self, upload: str, item: Item, row: Row, sequence: str, where: str) -> None:
        """A function that gives a batch up keeps the answers that are known of it."""
        since = self.watch.known.get((digest(sequence), item["model_version"]), math.inf)
        for shard, batch, offsets in self._ended(upload):
            ended = self.watch.written[part_key(upload, shard, batch)]
            if row["offset"] in offsets and since < ended - 600:
                self.watch.violate(f"{where}: failed, though its answer was known for {ended - since:.0f} s")

    def _ended(self, upload: str) -> Iterator[tuple[int, int, set[int]]]:
        """(shard, batch, offsets) of every batch of an upload that has its marker."""
        for pk, sk in self.watch.marked:
            if pk == upload:
                shard, batch = map(int, sk.split("#")[1:])
                body = self.world.s3.latest("results", part_key(upload, shard, batch)) or b""
                failed = [r for r in map(json.loads, body.splitlines()) if r["status"] == "failed"]
                yield shard, batch, {r["offset"] for r in failed}

    def _judge_stores(self, upload: str, item: Item, rows: list[Row], *, cut_short: bool) -> None:
        """Parts, markers and the predictions table say the same."""
        keys = {key for key in self.world.s3.buckets["results"] if key.startswith(f"parts/{upload}/")}
        marked = {
            part_key(upload, *map(int, sk.split("#")[1:])) for pk, sk in self.watch.marked if pk == upload
        }
        statuses = {row["offset"]: row["status"] for row in rows}
        stored: dict[int, str] = {}  # of a record that was retried the newest
        parts: set[tuple[int, int]] = set()
        shards = self.world.database.tables["UploadsTable"].items[upload]
        for key in sorted(marked):
            body = self.world.s3.latest("results", key)
            if body is None:
                self.watch.violate(f"{key} is marked and not there")
                continue
            shard, batch = map(int, key.removesuffix(".jsonl").split("/")[2:])
            if attempt_of(shard) > 1 and batch not in shards[shard_key(shard)].get("kept", (batch,)):
                continue
            for line in body.splitlines():
                row = json.loads(line)
                if (attempt_of(shard), row["offset"]) in parts:
                    self.watch.violate(f"{upload}: two rows at {row['offset']}")
                parts.add((attempt_of(shard), row["offset"]))
                stored[row["offset"]] = row["status"]
        if not statuses.items() <= stored.items():
            self.watch.violate(f"{upload}: results differ from the parts")
        if keys != marked and not cut_short:
            self.watch.violate(f"{upload}: parts without a marker: {sorted(keys - marked)}")
        if statuses != stored and not cut_short:
            self.watch.violate(f"{upload}: {len(stored)} rows in parts, {len(statuses)} in results")
        table = self.world.database.tables["PredictionsTable"].items
        if not item["indexed"] or cut_short:
            return
        listed = [p[sk] for pk, p in sorted(table.items()) if pk[:26] == upload for sk in sorted(p)]
        places = [int(row["offset"]) for row in listed]
        if any(row >= following for row, following in pairwise(places)):
            self.watch.violate(f"{upload}: the predictions table lists its rows as {places}")
        indexed = {int(i["offset"]): i["status"] for i in listed}
        expired = self.world.services["predict"].settings.prediction_days == 0
        if not (indexed.items() <= stored.items() if expired else indexed == stored):
            self.watch.violate(f"{upload}: the predictions table holds {len(indexed)} rows of {len(stored)}")

    def _judge_unfinished(self) -> None:
        """Parts are left by a function that died, or could not tell S3 that they are of no use any more."""
        for identity in self.world.s3.unfinished:
            writer = self.watch.writers.get(identity)
            if writer and not writer.killed and writer.disturbed <= 1:
                self.watch.violate(f"{writer.name} left the parts of {identity}")

    def _judge_dead_letters(self) -> None:
        """No batch dies of waiting: each delivery of a dead one was disturbed by something else.

        Where a delivery comes twice, one that goes well may acknowledge a message that its twin has sent back
        already.
        """
        needed = (
            1 if self.world.scenario.faults.deliveries else self.world.queues["BatchesQueue"].max_receives
        )
        disturbed = Counter(s for i in self.world.simulation.invocations if i.disturbed for s in i.subjects)
        for queue, body in self.world.buried:
            if queue == "BatchesDeadLetters":
                batch = json.loads(body)
                subject = (batch["upload"], batch_key(batch["shard"], batch["batch"]))
                if disturbed[subject] < needed:
                    self.watch.violate(
                        f"{subject} is a dead letter after {disturbed[subject]} disturbed deliveries"
                    )

    def _judge_calls(self) -> None:
        """Judge the cost of a poisonous protein, and that a batch which is done asks nothing."""
        for invocation in self.world.simulation.invocations:
            if invocation.overran and not (
                self.world.scenario.sweep_timeout and invocation.name.startswith("sweep")
            ):
                self.watch.violate(f"{invocation.name} was ended by its timeout")
            if not invocation.model_calls or invocation.resumes:
                continue
            outcomes = [outcome for _, outcome in invocation.model_calls]
            sequences_asked = {sequence for sequences, _ in invocation.model_calls for sequence in sequences}
            poison = self.world.scenario.weather.poison
            poisonous = sum(poison.get(sequence) in ("refused", "kills") for sequence in sequences_asked)
            if "timed out" in outcomes:
                continue  # then the model is asked for less of the rest at a time
            levels = (len(sequences_asked) - 1).bit_length()
            sick = self.world.scenario.weather.sick
            if not sick and len(outcomes) > invocation.records * (1 + poisonous * max(3, 2 * levels)):
                self.watch.violate(
                    f"{invocation.name}: {len(outcomes)} calls for {len(sequences_asked)} sequences, {poisonous} bad"
                )
