"""All that the engine and the services beside it hold in memory: captured, and taken back."""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protloc.cloud.engine.messages import give_back
from protloc.cloud.engine.names import VERSION, module
from protloc.cloud.engine.rows import Rows
from protloc.cloud.engine.tables import TableRows

if TYPE_CHECKING:
    from protloc.cloud.engine import Engine

log = logging.getLogger("protloc.cloud")


def capture(engine: Engine, rows: Rows) -> dict[str, Any]:
    """All state. Only for a process that ends afterwards: it shares, and stops copying, live objects."""
    copy.deepcopy = _shared  # type: ignore[assignment]
    module("ministack.services.lambda_svc")._prune_orphan_code_blobs = lambda referenced: None
    logs = module("ministack.services.cloudwatch_logs")
    for group in logs._log_groups._data.values():
        group["streams"] = {}  # the lines are in <home>/logs
    state = {
        key: get()
        for key, get in module("ministack.app")._build_persistence_save_dict().items()
        if key not in engine.services
    }
    tables = module("ministack.services.dynamodb")
    streams = {
        "records": tables._stream_records,
        "trimmed": tables._stream_trimmed,
        "sequence": tables._stream_seq_counter,
    }
    for table in state["dynamodb"]["tables"].all_values():
        if isinstance(table["items"], TableRows):
            table["items"] = {}
    own = {name: service.state() for name, service in engine.services.items()}
    return {
        "engine": VERSION,
        "taken": time.time(),
        "services": state,
        "streams": streams,
        "own": own,
        "rows": rows.captured(),
    }


def restore(engine: Engine, state: dict[str, Any]) -> None:
    """Take back captured state: nothing that was running when it was captured is running now."""
    if state["engine"] != VERSION:
        log.warning("the saved state is of engine %s, this is %s", state["engine"], VERSION)
    tables = module("ministack.services.dynamodb")
    for key, saved in state["services"].items():
        if saved:
            name = "lambda_svc" if key == "lambda" else key
            module("ministack.app")._get_module(name).load_persisted_state(saved)
    sessions = module("ministack.services.sts")._sessions
    for key in [key for key, session in sessions.items() if "Expiration" not in session]:
        del sessions[key]  # of processes that are gone
    tables._stream_records.update(state["streams"]["records"])
    tables._stream_trimmed.update(state["streams"]["trimmed"])
    tables._stream_seq_counter = state["streams"]["sequence"]
    now, taken = time.time(), float(state["taken"])
    queues = module("ministack.services.sqs")
    for scoped, queue in list(queues._queues._data.items()):
        # The engine finds a queue by its address, which holds the port; it may be another one now.
        del queues._queues._data[scoped]
        account, region, _ = scoped
        queue["url"] = f"{engine.endpoint_url}/{account}/{queue['name']}"
        queues._queues._data[account, region, queue["url"]] = queue
        queues._queue_name_to_url._data[account, region, queue["name"]] = queue["url"]
        for message in queue["messages"]:
            if message["receipt_handle"] is not None and message["visible_at"] > taken:
                give_back(message, forgiven=True)
            message["visible_at"] = min(message["visible_at"], now + max(0, message["visible_at"] - taken))
    for stack in module("ministack.services.cloudformation")._stacks._data.values():
        if stack.get("StackStatus", "").endswith("_IN_PROGRESS"):
            stack["StackStatus"] = stack["StackStatus"].split("_")[0] + "_FAILED"
            stack["StackStatusReason"] = "the embedded cloud stopped while this ran"
    for name, saved in state["own"].items():
        if name in engine.services:
            engine.services[name].restore(saved)
    _drop_old_code(engine.home)


def _drop_old_code(home: Path) -> None:
    """Delete the code no function has any more, packed and unpacked."""
    module("ministack.services.lambda_svc").get_state()
    used = {
        hashlib.sha256(function["code_zip"]).hexdigest()[:32]
        for function in module("ministack.services.lambda_svc")._functions._data.values()
        if function.get("code_zip")
    }
    for folder in (home / "code").iterdir():
        if folder.name not in used:
            shutil.rmtree(folder, ignore_errors=True)


def _shared(value: Any, memo: Any = None) -> Any:
    return value
