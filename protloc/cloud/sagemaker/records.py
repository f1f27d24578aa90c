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

    def spawn(self, call: Callable[..., None], *arguments: Any) -> None:
        """Run what takes longer than a request."""

        def run() -> None:
            call(*arguments)
            self.changed()

        threading.Thread(target=run, daemon=True, name="sagemaker").start()
