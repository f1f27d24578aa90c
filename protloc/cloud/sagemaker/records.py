"""SageMaker's records, refusals and names, shared by the parts of the service."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from protloc.cloud.engine.names import ACCOUNT, REGION

TABLES = (
    *("training_jobs", "models", "endpoint_configs", "endpoints", "components", "tags"),
    *("package_groups", "packages"),
)

NAMED = {
    "models": ("model", "model"),
    "endpoint_configs": ("endpoint-config", "endpoint configuration"),
    "endpoints": ("endpoint", "endpoint"),
    "components": ("inference-component", "inference component"),
}
"""The tables whose records have a name of their own: their kind in ARNs, and in messages."""


class ServiceError(Exception):
    """A refusal, as AWS words it."""

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.fields = code, status, fields


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Records:
    """Tables of plain dictionaries, as the service describes them; the snapshot keeps them."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        self.changed = changed

    def absent(self, table: str, name: str, code: str, message: str) -> None:
        """Refuse a name that is taken."""
        if name in self.tables[table]:
            raise ServiceError(code, message)

    def find(self, table: str, name: str, message: str) -> dict[str, Any]:
        record: dict[str, Any] | None = self.tables[table].get(name)
        if record is None:
            raise invalid(message)
        return record

    def named(self, table: str, name: str) -> dict[str, Any]:
        """A record of one of the tables in `NAMED`."""
        kind, noun = NAMED[table]
        return self.find(table, name, f'Could not find {noun} "{arn(kind, name)}".')

    def free_arn(self, table: str, name: str) -> str:
        """The ARN of a record to be made; refuses a name that is taken."""
        kind, noun = NAMED[table]
        own_arn = arn(kind, name)
        self.absent(table, name, "ValidationException", f'Cannot create already existing {noun} "{own_arn}".')
        return own_arn

    def delete(self, table: str, name: str) -> None:
        self.named(table, name)
        del self.tables[table][name]

    def spawn(self, call: Callable[..., None], *arguments: Any) -> None:
        """Run work that takes longer than a request."""

        def run() -> None:
            call(*arguments)
            self.changed()

        threading.Thread(target=run, daemon=True, name="sagemaker").start()
