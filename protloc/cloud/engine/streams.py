"""Streams of tables, read for the functions that are subscribed to them, as AWS's own poller reads them.

Shares the engine's private names with `engine` and `delivery`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from protloc.cloud.engine.functions import endings
from protloc.cloud.engine.names import module

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
IDLE_SECONDS = 0.25

log = logging.getLogger("protloc.cloud")


class Streams:
    """Event source mappings of DynamoDB streams, a thread each: in order, at least once, with AWS's ways out.

    A failed batch is tried again from its first failed record; after `MaximumRetryAttempts`, or when the
    record is older than `MaximumRecordAgeInSeconds`, the rest of the batch goes to the failure destination.
    """

    def __init__(
        self, serving: threading.Event, delivers: Callable[[], bool], changed: Callable[[], None]
    ) -> None:
        self._serving, self._delivers, self._changed = serving, delivers, changed
        self._lambda = module("ministack.services.lambda_svc")
        self._tables = module("ministack.services.dynamodb")
        self._lambda._poll_dynamodb_streams = lambda: False
        self._busy: set[str] = set()
        self._tries: dict[str, int] = {}
        self._ends: dict[str, int] = {}  # where the batch that is tried again ends
        threading.Thread(target=self._watch, daemon=True, name="streams").start()

    def _watch(self) -> None:
        """Give every mapping that has something to read a thread."""
        self._serving.wait()
        while True:
            for _, _, mapping in self._lambda._iter_all_esms() if self._delivers() else ():
                identity = mapping["UUID"]
                table = self._table(mapping)
                if (
                    identity not in self._busy
                    and table
                    and mapping.get("Enabled", True)
                    and self._read(mapping, table)[1]
                ):
                    self._busy.add(identity)
                    threading.Thread(
                        target=self._run, args=(mapping, table), daemon=True, name="stream"
                    ).start()
            self._lambda._esm_wake.wait(IDLE_SECONDS)
            time.sleep(IDLE_SECONDS / 5)

    def _run(self, mapping: dict[str, Any], table: str) -> None:
        try:
            while self._lambda._esms.get(mapping["UUID"]) is mapping and mapping.get("Enabled", True):
                position, records = self._read(mapping, table)
                if not records or not self._delivers():
                    return
                self._step(mapping, position, records)
        except Exception:
            log.exception("reading the stream of %s failed; trying again", table)
        finally:
            self._busy.discard(mapping["UUID"])

    def _step(self, mapping: dict[str, Any], position: int, records: list[dict[str, Any]]) -> None:
        identity = mapping["UUID"]
        function, _ = self._lambda._get_func_record_for_qualifier(
            mapping["FunctionName"], mapping.get("Qualifier")
        )
        matching = self._lambda._apply_filter_criteria(records, mapping)
        if function is None:
            time.sleep(IDLE_SECONDS)
            return
        first = 0
        if matching:
            ended: list[str] = []
            token = endings.set(ended)
            try:
                result = self._lambda._execute_function(function, {"Records": matching})
            finally:
                endings.reset(token)
            failed = first_failed(mapping, result, matching)
            if failed is not None and ("killed" in ended or not self._delivers()):
                time.sleep(IDLE_SECONDS)  # no try of the function's own
                return
            if failed is not None:
                first = next(i for i, record in enumerate(records) if _number(record) == failed)
                if not self._gives_up(mapping, identity, records[first]):
                    self._ends[identity] = position + len(records)
                    self._advance(identity, position + first)
                    time.sleep(BACKOFF_SECONDS[min(self._tries[identity], len(BACKOFF_SECONDS)) - 1])
                    return
                rest = [record for record in matching if record in records[first:]]
                log.warning(
                    "%s failed for the last time; %d records given up", mapping["FunctionName"], len(rest)
                )
                condition = "RetryAttemptsExhausted"
                source = mapping["EventSourceArn"]
                self._lambda._send_ddb_stream_failure_record(
                    mapping, function, rest, source, result, condition
                )
        self._tries.pop(identity, None)
        self._ends.pop(identity, None)
        self._advance(identity, position + len(records))

    def _gives_up(self, mapping: dict[str, Any], identity: str, record: dict[str, Any]) -> bool:
        self._tries[identity] = self._tries.get(identity, 0) + 1
        retries, age = mapping.get("MaximumRetryAttempts", -1), mapping.get("MaximumRecordAgeInSeconds", -1)
        created = float(record["dynamodb"].get("ApproximateCreationDateTime", time.time()))
        too_old = age is not None and int(age) > 0 and time.time() - created > int(age)
        return too_old or (retries is not None and 0 <= int(retries) < self._tries[identity])

    def _table(self, mapping: dict[str, Any]) -> str | None:
        """The table whose present stream the mapping reads."""
        source = mapping.get("EventSourceArn", "")
        if ":dynamodb:" not in source or "/stream/" not in source:
            return None
        name = str(source.split("/stream/")[0].rsplit("/", 1)[-1])
        table = self._tables._tables.get(name) or {}
        return name if table.get("LatestStreamArn") == source else None

    def _read(self, mapping: dict[str, Any], table: str) -> tuple[int, list[dict[str, Any]]]:
        start = self._tables.stream_start_position(table)
        with self._lambda._dynamodb_stream_positions_lock:
            positions = self._lambda._dynamodb_stream_positions
            if mapping["UUID"] not in positions:
                horizon = mapping.get("StartingPosition") == "TRIM_HORIZON"
                positions[mapping["UUID"]] = start if horizon else self._tables.stream_end_position(table)
            position = max(start, positions[mapping["UUID"]])
        size = min(
            int(mapping.get("BatchSize", 100)), self._ends.get(mapping["UUID"], position + 10_000) - position
        )
        return position, self._tables.stream_records_since(table, position, size)

    def _advance(self, identity: str, position: int) -> None:
        with self._lambda._dynamodb_stream_positions_lock:
            self._lambda._dynamodb_stream_positions[identity] = position
        self._changed()


def first_failed(mapping: dict[str, Any], result: dict[str, Any], wanted: list[dict[str, Any]]) -> str | None:
    """The sequence number from which a batch must be tried again, None when all of it was handled."""
    if result.get("error") or result.get("throttle"):
        return _number(wanted[0])
    if "ReportBatchItemFailures" not in (mapping.get("FunctionResponseTypes") or []):
        return None
    body = result.get("body")
    reported = {str(item.get("itemIdentifier")) for item in (body or {}).get("batchItemFailures") or []}
    if not reported:
        return None
    return next((_number(record) for record in wanted if _number(record) in reported), _number(wanted[0]))


def _number(record: dict[str, Any]) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
