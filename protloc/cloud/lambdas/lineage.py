"""Counts how often an event has invoked each function, as Lambda does to stop runaway loops.

An invocation is given a trace header whose `Lineage` holds a count for each function its event went through.
botocore sends the header with every request (`add_recursion_detection_header`), SQS keeps it with a message
as `AWSTraceHeader`, and its delivery brings it to the next invocation. Lambda refuses a function's 17th, and
all after it, unless its `RecursiveLoop` is `Allow`:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from contextvars import ContextVar
from typing import Any

of_request: ContextVar[str] = ContextVar("of_request", default="")
"""The trace header of the request that is being served."""

_COUNT = re.compile(r"\b([0-9a-f]{8}):(\d+)")


def arriving(event: Any) -> list[str]:
    """The trace headers an invocation comes with: of each message of a queue, else of the request."""
    records = event.get("Records") if isinstance(event, dict) else None
    if isinstance(records, list) and records and records[0].get("eventSource"):
        traces = [record.get("attributes", {}).get("AWSTraceHeader", "") for record in records]
    else:
        traces = [of_request.get()]
    return [trace for trace in traces if trace]


def invocation(function_arn: str, traces: list[str]) -> int:
    """The number of this invocation in the longest of the function's chains of requests, from 1 on."""
    name = _name(function_arn)
    return 1 + max((_counts(trace).get(name, 0) for trace in traces), default=0)


def handed_on(function_arn: str, traces: list[str]) -> str:
    """The trace header of an invocation: of the longest chain, one count on, or of a new chain."""
    name = _name(function_arn)
    longest = max(traces, key=lambda trace: _counts(trace).get(name, 0), default="")
    counts = {**_counts(longest), name: invocation(function_arn, traces)}
    root = re.search(r"Root=[^;]+", longest)
    first = root[0] if root else f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    lineage = "|".join(f"{each}:{count - 1}" for each, count in counts.items())
    return f"{first};Parent={secrets.token_hex(8)};Sampled=0;Lineage=1:{lineage}"


def _counts(trace: str) -> dict[str, int]:
    """Invocations by function. A header names how often the event came *back*: 0 after the first."""
    _, _, lineage = trace.partition("Lineage=")
    return {name: int(count) + 1 for name, count in _COUNT.findall(lineage.partition(";")[0])}


def _name(function_arn: str) -> str:
    """The name of a function in a lineage: eight hexadecimal digits."""
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]
