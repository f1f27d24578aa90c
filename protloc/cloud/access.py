"""A record of what IAM was asked and what it answered, as JSON lines: role, action, resource, allowed.

Off unless PROTLOC_ACCESS_LOG names a file. With it a test can compare what roles allow with what was needed.
Shares the engine's private names with `engine`; each is listed in `engine.TOUCHED`.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from protloc.cloud.engine import module

VARIABLE = "PROTLOC_ACCESS_LOG"


class AccessLog:
    """The record of this process; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._noted: set[tuple[str, str, str, bool]] = set()
        self._lock = threading.Lock()

    def note(self, principal: str, action: str, resource: str, allowed: bool) -> None:
        """Note one decision about a role; `principal` is the ARN of its session."""
        if self._path is None or ":assumed-role/" not in principal:
            return
        entry = (principal.split("/")[1], action, resource, allowed)
        with self._lock:
            if entry in self._noted:
                return
            self._noted.add(entry)
            line = dict(zip(("role", "action", "resource", "allowed"), entry, strict=True))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def access_log() -> AccessLog:
    """The record the environment asks for, noting every request to the engine from here on."""
    path = os.environ.get(VARIABLE)
    log = AccessLog(Path(path) if path else None)
    if not path:
        return log
    evaluator = module("ministack.core.iam_evaluator")
    enforce = evaluator.enforce

    def enforce_and_note(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        refusal = enforce(access_key_id, iam_action, service, region, resource_arn, service_context)
        caller = evaluator.resolve_caller_identity(access_key_id) or {}
        log.note(caller.get("userArn", ""), iam_action, resource_arn, refusal is None)
        return refusal

    evaluator.enforce = enforce_and_note
    return log
