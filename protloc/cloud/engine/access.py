"""Asks IAM for more than the permission of a call (`demands`), and a record of all that it was asked.

The record is JSON lines: role, action, resource, allowed. It is off unless PROTLOC_ACCESS_LOG names a file.
With it a test can compare the permissions of roles with those needed. Shares the engine's private names with
`engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protloc.cloud.contracts.demands import Permission, call_of, component_of, demanded, error_of
from protloc.cloud.engine.names import ACCOUNT, REGION, Headers, Response, module

VARIABLE = "PROTLOC_ACCESS_LOG"


@dataclass(frozen=True)
class Refusal:
    """A permission that a role lacks, and the session that asked for it."""

    permission: Permission
    who: str

    def __str__(self) -> str:
        return self.permission.refused(self.who)


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

    def lacking(self, role: str, session: str, permissions: Iterable[Permission]) -> Refusal | None:
        """The first of the permissions that the role lacks, in a session of this name."""
        evaluator = module("ministack.core.iam_evaluator")
        name = role.rsplit("/", 1)[-1]
        who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"
        policies = evaluator._gather_role_policies(name, ACCOUNT)
        for each in permissions:
            evaluation = evaluator.EvalContext(
                principal_arn=who,
                principal_type="AssumedRole",
                principal_account=ACCOUNT,
                region=REGION,
                action=each.action,
                resource_arn=each.resource,
                service_context={key.lower(): value for key, value in each.context.items()},
            )
            allowed = evaluator.evaluate(evaluation, policies).decision == "Allow"
            self.note(who, each.action, each.resource, allowed)
            if not allowed:
                return Refusal(each, who)
        return None


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


def refusals(
    hosted: Callable[[str | None], Mapping[str, str]],
) -> Callable[[str, str, Headers, bytes, Any], Response | None]:
    """Gives the function that answers a request to a service of our own whose caller lacks what AWS asks for
    besides. `hosted` gives the endpoint of an inference component, and its configuration.

    A call of a state machine comes as the account's root: its role was asked before (`repairs`).
    """
    evaluator = module("ministack.core.iam_evaluator")
    caller = module("ministack.core.router").extract_access_key_id

    def refusal(service: str, path: str, headers: Headers, body: bytes, query: Any) -> Response | None:
        key = caller(headers, query)
        if evaluator.is_root_access_key(key):
            return None
        call, arguments = call_of(service, path, headers, body)
        for each in demanded(call, arguments, REGION, ACCOUNT, hosted(component_of(arguments))):
            if evaluator.enforce(key, each.action, service, REGION, each.resource, dict(each.context)):
                who = (evaluator.resolve_caller_identity(key) or {}).get("userArn", "")
                error, message = error_of(call, each), each.refused(who)
                answer = {"__type": error, "message": message, "Message": message}
                kind = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error}
                return 400, kind, json.dumps(answer).encode()
        return None

    return refusal
