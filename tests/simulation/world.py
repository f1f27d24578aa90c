"""The stack of the template in memory: real handlers, and the services that call them on AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from functions.domain.organisms import ORGANISM
from functions.domain.upload import GONE_STATUSES, upload_id
from functions.services import Services
from functions.services import settings as function_settings
from functions.services.answers_table import AnswersTable
from functions.services.cursors import Cursors
from functions.services.dynamodb import iso
from functions.services.endpoint import Endpoint
from functions.services.models_table import ModelsTable
from functions.services.predictions_table import PredictionsTable
from functions.services.queues import Queue
from functions.services.s3 import Storage
from functions.services.settings import Settings
from functions.services.uploads_table import UploadsTable
from tests.simulation import deployed, older
from tests.simulation.database import Database
from tests.simulation.lambdas import HANDLERS, Lambda
from tests.simulation.messages import MessageQueue, MessageService
from tests.simulation.model import EventBus, ModelRuntime
from tests.simulation.objects import ObjectStore, Version
from tests.simulation.scenario import File, Scenario
from tests.simulation.scheduler import BEGINNING, Simulation

QUEUES = ("Uploads", "Shards", "Batches")
ASKED_AGAIN_SECONDS = 60.0
"""After which a user asks again whose deletion was not answered, or who was told that there is no such upload."""

TABLES = ("UploadsTable", "PredictionsTable", "AnswersTable", "ModelsTable")


class World:
    """One stack and everything that happens to it."""

    def __init__(self, simulation: Simulation, scenario: Scenario) -> None:
        self.simulation, self.scenario = simulation, scenario
        self.s3 = ObjectStore(simulation)
        self.s3.buckets = {"uploads": {}, "results": {}}
        self.sqs = MessageService(simulation, simulation.random)
        self.database = Database(simulation)
        self.bus = EventBus(simulation, scenario.weather)
        self.runtime = ModelRuntime(simulation, scenario.weather)
        for name in TABLES:
            table = self.database.create(name, *deployed.table(name), deployed.expiry(name))
            table.page_items = scenario.page_items
            table.item_bytes, table.page_bytes = scenario.item_bytes, scenario.page_bytes
        self.queues: dict[str, MessageQueue] = {}
        for name in QUEUES:
            dead = self._queue(f"{name}DeadLetters", None)
            self._queue(f"{name}Queue", dead)
        self.lambdas = Lambda(self)
        self.services = {function: self._services(function) for function in HANDLERS}
        self.changed_services = {function: self._changed(function) for function in HANDLERS}
        self.older_services = {name: older.services(each) for name, each in self.services.items()}
        self.buried: list[tuple[str, str]] = []  # queue, body
        self.files: dict[tuple[str, str], File] = {}  # by key and version
        self.uploaded: list[Callable[[str, str, str], None]] = []
        """Told of a file's key and version, and what becomes of its event."""
        self.to_come = 0  # retries and deletions that users are about to ask for
        self.sqs.listeners.append(self._on_message)
        self.bus.listeners.append(self._on_end)
        self.s3.listeners.append(self._on_object)
        self.database.tables["UploadsTable"].listeners.append(self.lambdas.on_item)

    def _queue(self, name: str, dead_letters: MessageQueue | None) -> MessageQueue:
        made = deployed.queue(name)
        self.queues[name] = self.sqs.create(
            MessageQueue(
                name, made.visibility_seconds, made.retention_seconds, made.max_receives, dead_letters
            )
        )
        return self.queues[name]

    def _services(self, function: str) -> Services:
        def queue(name: str) -> Queue:
            return Queue(self.sqs, name)  # type: ignore[arg-type]

        database: Any = self.database
        names = self._settings(function)
        return Services(
            settings=names,
            uploads=UploadsTable(self._table(names.uploads_table)),
            predictions=PredictionsTable(database, names.predictions_table, names.prediction_days),
            answers=AnswersTable(database, names.answers_table, names.answer_days),
            models=ModelsTable(self._table(names.models_table)),
            storage=Storage(self.s3, names.results_bucket),  # type: ignore[arg-type]
            uploads_queue=queue(names.uploads_queue),
            shards_queue=queue(names.shards_queue),
            batches_queue=queue(names.batches_queue),
            uploads_dead_letters=queue(names.uploads_dead_letters),
            shards_dead_letters=queue(names.shards_dead_letters),
            batches_dead_letters=queue(names.batches_dead_letters),
            endpoint=Endpoint(self.runtime, names.endpoint_name),  # type: ignore[arg-type]
            cursors=Cursors(lambda: b"a secret"),
            events=self.bus,
            s3=self.s3,  # type: ignore[arg-type]
        )

    def _changed(self, function: str) -> Services:
        """The same services under the settings that somebody deploys meanwhile."""
        aws, changed = self.services[function], dict(self.scenario.changed)
        if not changed:
            return aws
        shard_bytes = changed.pop("shard_bytes")
        packing = replace(aws.settings.packing, **changed)
        return replace(aws, settings=replace(aws.settings, packing=packing, shard_bytes=shard_bytes))

    def services_now(self, function: str) -> Services:
        """The services of a function that is invoked now."""
        simulation = self.simulation
        if simulation.current is not None and simulation.current.older:
            return self.older_services[function]
        begun = simulation.current.started if simulation.current else simulation.now
        deployed_anew = begun - BEGINNING >= self.scenario.changed_after
        return (self.changed_services if deployed_anew else self.services)[function]

    def _table(self, name: str) -> Any:
        return self.database.Table(name)

    def _settings(self, function: str) -> Settings:
        """The settings that the template gives the function, but for limits that the schedule makes smaller."""
        chosen = self.scenario
        parameters = {
            "DeadlineSeconds": str(chosen.settings["deadline_seconds"]),
            "BatchResidues": str(chosen.packing.batch_residues),
        }
        environment = deployed.environment(f"{function.title()}Function", parameters)
        settings = _told(tuple(environment.items()))
        packing = replace(chosen.packing, batch_residues=settings.packing.batch_residues)
        smaller = {name: value for name, value in chosen.settings.items() if name != "deadline_seconds"}
        return replace(settings, packing=packing, **smaller)  # type: ignore[arg-type]

    # Events from outside

    def begin(self) -> None:
        simulation = self.simulation
        simulation.faults = self.scenario.faults
        simulation.latency, simulation.skew = self.scenario.latency, self.scenario.skew
        simulation.index_lag = self.scenario.index_lag
        simulation.older_until = BEGINNING + self.scenario.older_until
        for file in self.scenario.files:
            simulation.after(file.seconds, partial(self._upload, file))
        for seconds, version in self.scenario.promotions:
            simulation.after(seconds, partial(self._promote, version))
        simulation.after(simulation.random.uniform(0, 60), self._every_minute)
        simulation.after(simulation.random.uniform(0, 3600), self._every_hour)

    def _upload(self, file: File) -> None:
        named = {ORGANISM: file.organism} if file.organism else {}
        put = self.s3.put_object(Bucket="uploads", Key=file.key, Body=file.body, Metadata=named)
        version = put["VersionId"]
        self.files[file.key, version] = file
        for listener in self.uploaded:
            listener(file.key, version, file.event)
        if file.gone_at_read is not None:
            self.s3.readings_left[file.key, version] = file.gone_at_read - 1
        if file.unwritable:
            self.s3.refused.add(f"results/{upload_id('uploads', file.key, version)}/")
        self.simulation.tell(f"uploads {file.key} as {version}, {len(file.body)} bytes; event {file.event}")
        detail = {
            "bucket": {"name": "uploads"},
            "object": {"key": file.key, "size": len(file.body), "version-id": version},
        }
        event = json.dumps({"time": iso(int(self.simulation.now)), "detail": detail})
        for _ in range({"lost": 0, "sent": 1, "repeated": 2}[file.event]):
            send = partial(self.sqs.put, self.queues["UploadsQueue"], event)
            self.simulation.after(self.simulation.random.uniform(0, 5), send)
        if file.deleted_after is not None:
            remove = partial(self.s3.delete_object, Bucket="uploads", Key=file.key, VersionId=version)
            self.simulation.after(file.deleted_after, remove)
        if file.cancelled_after is not None:
            cancel = partial(self.lambdas.cancel, upload_id("uploads", file.key, version))
            self.simulation.after(file.cancelled_after, cancel)
        if file.withdrawn_after is not None:
            self.to_come += 1
            withdraw = partial(self._withdraw, file, version)
            self.simulation.after(file.withdrawn_after, partial(self._come, withdraw))
        if file.hidden_after is not None:
            hide = partial(self.s3.delete_object, Bucket="uploads", Key=file.key)
            self.simulation.after(file.hidden_after, hide)

    def _withdraw(self, file: File, version: str) -> None:
        """A user deletes an upload, and asks until it is deleted, or there is nothing to delete."""
        upload = upload_id("uploads", file.key, version)
        row = self.database.tables["UploadsTable"].items.get(upload, {}).get("upload", {})
        if row.get("status") in GONE_STATUSES:
            if file.withdrawn_again is not None:
                self.simulation.after(file.withdrawn_again, partial(self.lambdas.delete, upload))
        elif row or self.s3.holds("uploads", file.key, version):
            self.lambdas.delete(upload)
            self.to_come += 1
            again = partial(self._withdraw, file, version)
            self.simulation.after(ASKED_AGAIN_SECONDS, partial(self._come, again))

    def _promote(self, version: str) -> None:
        self.simulation.tell(f"promotes {version}")
        alias = {"pk": "alias", "sk": "active", "version": version}
        self.database.Table("ModelsTable").put_item(Item=alias)

    def _on_end(self, detail: dict[str, Any]) -> None:
        """A user with failed records has them tried again, some moments later."""
        if detail["failed"] and detail["attempts"] <= self.scenario.retries:
            begin = partial(self.lambdas.retry, detail["upload"], str(detail["attempts"] + 1))
            self.to_come += 1
            self.simulation.after(
                self.simulation.random.uniform(0, self.scenario.retried_within), partial(self._come, begin)
            )

    def _come(self, action: Callable[[], None]) -> None:
        self.to_come -= 1
        action()

    def _every_minute(self) -> None:
        self.lambdas.sweep(deployed.schedules("SweepFunction")[0])
        self.simulation.after(self.scenario.sweep_seconds, self._every_minute)

    def _every_hour(self) -> None:
        self.lambdas.sweep(deployed.schedules("SweepFunction")[1])
        self.simulation.after(3600, self._every_hour)

    def _on_message(self, queue: MessageQueue, moment: float) -> None:
        if queue.name.endswith("DeadLetters"):
            self.buried.append((queue.name, queue.messages[-1].body))
        else:
            self.lambdas.on_message(queue, moment)

    def _on_object(self, bucket: str, key: str, version: Version) -> None:
        if self.simulation.current is not None:
            self.simulation.tell(f"  stored {bucket}/{key} as {version.version_id}")

    @property
    def idle(self) -> bool:
        """True if nothing is under way or waiting, dead letters included."""
        return not (
            self.to_come or self.lambdas.at_work or any(queue.messages for queue in self.queues.values())
        )


@cache
def _told(environment: tuple[tuple[str, str], ...]) -> Settings:
    """The settings that a function makes of its environment."""
    with patch.dict(os.environ, dict(environment), clear=True):
        return function_settings.from_environment.__wrapped__()
