"""The connection to an embedded cloud that runs: finds it by its home folder, and makes clients of it.

A cloud that still starts, or is stopped by a signal, is not found.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from protloc.cloud import locks, private, processes
from protloc.cloud.engine.names import REGION
from protloc.cloud.gate import HEALTH, OWN_SERVICE, keys
from protloc.stack.account import outputs_of

STACK = "protloc"
# So much that only a cloud that hangs takes longer, on a machine with far too much to do as well.
ANSWER_SECONDS = 120.0
FIRST_ANSWER_SECONDS = 3
"""After this long without an answer, a cloud may be stopped by a signal."""


@dataclass(frozen=True)
class Cloud:
    """A running embedded cloud and its clients, as the account's root."""

    pid: int
    port: int
    home: Path
    region: str = REGION

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def keys(self) -> keys.Keys:
        """The key of the account's root; one that no cloud takes where the home has none."""
        return keys.read(self.home) or keys.Keys("none", "none")

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which AWS's tools work on this cloud as its owner."""
        return keys.variables(self.keys, self.endpoint_url, self.region)

    @cached_property
    def session(self) -> boto3.Session:
        """A session of this cloud's own, without the user's AWS profiles and files of configuration."""
        core = botocore.session.get_session()
        for name, value in (("profile", None), ("config_file", os.devnull), ("credentials_file", os.devnull)):
            core.get_component("config_store").set_config_variable(name, value)
        return boto3.Session(*self.keys, region_name=self.region, botocore_session=core)

    def client(self, service: Any, **settings: Any) -> Any:
        """A boto3 client of this cloud; `settings` go into its `Config`."""
        config = Config(
            **{
                "s3": {"addressing_style": "path"},
                "read_timeout": 900,  # a function's answer takes as long as the function may run
                "retries": {"mode": "standard", "total_max_attempts": 4},
                "max_pool_connections": 32,
                "proxies": {},
                **settings,
            }
        )
        return self.session.client(service, endpoint_url=self.endpoint_url, config=config)

    def api_url(self, api_id: str, stage: str) -> str:
        """The URL of a REST API of the stack."""
        return f"{self.endpoint_url}/_aws/execute-api/{api_id}/{stage}"


def find(home: Path | str) -> Cloud | None:
    """The cloud of `home` if it answers."""
    home = Path(home).resolve()
    note = processes.read_note(home)
    pid = processes.living(note.get("pid"), home)
    if pid is None and (pid := processes.search(home)) is not None:
        note = {"pid": pid, "port": processes.listening_port(pid)}  # its note is gone
        if note["port"]:
            with contextlib.suppress(OSError):
                processes.write_note(home, note)
    if not note.get("port") or pid is None or locks.is_stopped(pid):
        return None
    answer = health(int(note["port"]), home, pid)
    if answer is None or answer.get("home") != str(home) or not answer.get("serving"):
        return None
    return Cloud(pid=int(answer["pid"]), port=int(note["port"]), home=home)


def stack_outputs(cloud: Cloud, stack: str = STACK, **settings: Any) -> dict[str, str]:
    """The outputs of a stack, by name; `settings` are the client's."""
    description = cloud.client("cloudformation", **settings).describe_stacks(StackName=stack)["Stacks"][0]
    return outputs_of(description)


def health(port: int, home: Path, pid: int | None = None) -> dict[str, Any] | None:
    """The state of the cloud on `port`, for a caller with the key of `home` (home, pid, cost of saving); None
    where none answers.

    An answer may take long on a busy machine; one of process `pid` is not waited for once that is stopped.
    """
    end, patience = time.monotonic() + ANSWER_SECONDS, FIRST_ANSWER_SECONDS
    while time.monotonic() < end:
        request = AWSRequest("GET", f"http://127.0.0.1:{port}{HEALTH}")
        try:
            owner_keys = keys.read(home)
            if owner_keys is None:
                return None
            SigV4Auth(Credentials(*owner_keys), OWN_SERVICE, REGION).add_auth(request)
            reply = URLLib3Session(timeout=patience).send(request.prepare())
            health: dict[str, Any] = json.loads(reply.content)
            return health
        except (ConnectTimeoutError, ReadTimeoutError):
            if pid is not None and locks.is_stopped(pid):
                return None
            patience *= 2
        except (BotoCoreError, private.NotPrivate, OSError, ValueError):
            return None
    return None
