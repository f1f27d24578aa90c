"""The settings that the template passes to the functions through their environment."""

import os
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from functions.domain.packing import PackingSettings
from functions.services.endpoint import READ_SECONDS

MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """Names of the stack's resources and the limits it runs under."""

    stack: str
    endpoint_name: str
    uploads_bucket: str
    results_bucket: str
    uploads_table: str
    predictions_table: str
    answers_table: str
    models_table: str
    uploads_queue: str  # URLs
    shards_queue: str
    batches_queue: str
    uploads_dead_letters: str
    shards_dead_letters: str
    batches_dead_letters: str
    cursor_secret: str  # its ARN
    models_bucket: str = ""
    training_hyperparameters: str = ""  # a JSON object
    packing: PackingSettings = field(default_factory=PackingSettings)
    shard_bytes: int = 4 * MIB
    indexed_bytes: int = 256 * MIB  # longer uploads are kept in result parts only
    answers_bytes: int = 256 * MIB  # of longer uploads no answers are kept: used once, they save nothing
    max_records: int = 10_000_000  # of an upload; `complete` merges them within Lambda's 900 seconds
    max_upload_mib: int = 5 * 1024  # of the file as it was sent, and of its text
    max_open_uploads: int = 0  # that are in work at once, the others wait; 0 for no limit
    parts_ahead: int = 1  # result parts that `complete` asks for at once
    deadline_seconds: int = 24 * 3600
    overdue_seconds: int = 1800
    floor_q10: float = 0.5
    floor_macro_f1: float = 0.3
    smoke_seconds: float = 30
    retire_seconds: int = 3600  # after a change, before the version that it drained is taken down
    model_seconds: int = READ_SECONDS  # that an answer of the model is waited for
    answer_days: int = 90
    prediction_days: int = 365

    def component(self, model_version: str) -> str:
        """The inference component that serves a model version."""
        return f"{self.stack}-{model_version}"


@cache
def from_environment() -> Settings:
    """The settings of this function. A name its role does not need is not in its environment, and empty."""
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        text = os.environ.get(setting.name.upper(), "")
        if setting.type is str:
            values[setting.name] = text
        elif setting.type in (int, float) and text:
            values[setting.name] = setting.type(text)
    residues = int(os.environ.get("BATCH_RESIDUES", PackingSettings.batch_residues))
    return Settings(**values, packing=PackingSettings(batch_residues=residues))
