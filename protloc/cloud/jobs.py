"""SageMaker's training jobs: their records, and the process of each (`training`)."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protloc.cloud import training
from protloc.cloud.records import Records, arn, invalid

log = logging.getLogger("protloc.cloud")


class Jobs:
    """The operations on training jobs. `folder` holds a folder a job, kept."""

    def __init__(
        self,
        records: Records,
        folder: Path,
        storage: Callable[[str], training.Storage],
        environment: Callable[[str], dict[str, str]],
    ) -> None:
        self._records, self._folder = records, folder
        self._storage, self._environment = storage, environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def interrupted(self) -> None:
        """After a restart: no process of the jobs that ran is left."""
        for job in self._records.tables["training_jobs"].values():
            if job["TrainingJobStatus"] in ("InProgress", "Stopping"):
                _finish(job, "Failed", "InternalServerError: the embedded cloud stopped while the job ran")

    def stop(self) -> None:
        for process in list(self._processes.values()):
            process.terminate()

    def do_create_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self._records.absent(
            "training_jobs", name, "ResourceInUse", f"Training job names must be unique: {name} exists"
        )
        now = time.time()
        job = self._records.tables["training_jobs"][name] = {
            **request,
            "TrainingJobArn": arn("training-job", name),
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self._records.spawn(self._train, job)
        return {"TrainingJobArn": job["TrainingJobArn"]}

    def do_describe_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._records.find(
            "training_jobs", request["TrainingJobName"], "Requested resource not found."
        )

    def do_list_training_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingJobStatus")
        jobs = self._records.tables["training_jobs"].values()
        return {"TrainingJobSummaries": [{field: job[field] for field in fields} for job in jobs]}

    def do_stop_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._records.find("training_jobs", request["TrainingJobName"], "Requested resource not found.")
        if job["TrainingJobStatus"] != "InProgress":
            raise invalid(
                f"The request was rejected because the training job is in status {job['TrainingJobStatus']}."
            )
        job.update(TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
        process = self._processes.get(job["TrainingJobName"])
        if process is not None:
            self._records.spawn(training.stop, process)
        return {}

    def _train(self, job: dict[str, Any]) -> None:
        name, role = job["TrainingJobName"], job["RoleArn"]
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        job["TrainingStartTime"] = time.time()
        job["SecondaryStatus"] = "Training"

        def started(process: subprocess.Popen[bytes]) -> None:
            self._processes[name] = process
            if job["TrainingJobStatus"] == "Stopping":
                process.terminate()

        try:
            result = training.run(job, folder, self._storage(role), self._environment(role), started)
        except training.JobFailed as problem:
            if job["TrainingJobStatus"] == "Stopping":
                _finish(job, "Stopped")
            else:
                _finish(job, "Failed", str(problem))
        except Exception as problem:
            log.exception("training job %s", name)
            _finish(job, "Failed", f"InternalServerError: {problem}")
        else:
            job.update(result)
            _finish(job, result["TrainingJobStatus"])
        self._processes.pop(name, None)


def _finish(job: dict[str, Any], status: str, reason: str | None = None) -> None:
    now = time.time()
    job.update(TrainingJobStatus=status, TrainingEndTime=now, LastModifiedTime=now)
    if job["SecondaryStatus"] not in ("Completed", "MaxRuntimeExceeded"):
        job["SecondaryStatus"] = status
    if reason:
        job["FailureReason"] = reason
