"""Promotes a hosted version to answer new uploads, or rolls back to the one before.

One request and one conditional write, so it takes effect at once; uploads in work stay with the version they
began with. A version that is not hosted any more goes through the state machine again, without a judgement.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from protloc.errors import UsageProblem
from protloc.safe import safe
from protloc.stack.client import Client

HOSTED = ("standby", "in_service")
UNDER_WAY = ("training", "hosting", "retiring")

View = dict[str, Any]
Tell = Callable[[str], None]


def promote(client: Client, version: str, tell: Tell, *, wait: bool = True) -> View:
    """Make a version the active one; `active` and `previous` as they are then.

    With `wait` false, a version that has to be hosted first is not waited for.
    """
    now = client.models()
    view = find(now, version)
    if view["active"]:
        return now
    if view["state"] in HOSTED:
        return client.activate(version, now["revision"])
    if view["state"] in UNDER_WAY:
        raise UsageProblem(f"{version} is {view['state']} just now; look again with `protloc models`")
    if not view["artifact"]:
        raise UsageProblem(f"{version} {view['state']} before it was a model: there is nothing to host")
    from protloc.stack.versions import put_into_service

    tell(f"{version} is {view['state']}" + (f" ({safe(view['reason'])})" if view["reason"] else ""))
    kept = ("artifact", "metrics", "evaluation", "report", "snapshot", "created")
    request = {name: view[name] for name in kept if view[name]}
    if view.get("labels"):
        request["labels"] = json.dumps(view["labels"])
    put_into_service(client, version, request, tell, wait=wait)
    return client.models()


def rollback(client: Client) -> View:
    """Go back to the version that was active before; `active` and `previous` as they are then."""
    now = client.models()
    before = now["previous"]
    if not before:
        raise UsageProblem(f"there is no version before {now['active'] or 'the first'} to go back to")
    if find(now, before)["state"] not in HOSTED:
        raise UsageProblem(
            f"{before} is not hosted any more; `protloc models promote {before}` hosts it again, in minutes"
        )
    return client.activate(before, now["revision"])


def find(models: View, version: str) -> View:
    """The view of a version. Raises UsageProblem where there is none of this name."""
    for view in models["models"]:
        if view["version"] == version:
            version_view: View = view
            return version_view
    raise UsageProblem(f"there is no model version {safe(version, 60)}; `protloc models` lists them")
