"""SageMaker's training jobs: their records, and the process of each (`training`).

A managed spot job whose process is killed is started again from its checkpoints until its time is over; any
other job has then failed. A job whose cloud ends, in order or not, is started again with the next cloud, from
its checkpoints where it keeps some: on AWS there is no end of the cloud, so it is no failure of the job.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protloc.cloud.sagemaker import training
from protloc.cloud.sagemaker.records import Records, arn, invalid
from protloc.cloud.sagemaker.storage import Storage

MAX_RUNTIME_SECONDS = 86400  # unless the job says otherwise
ENDS = ("Completed", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")
PAUSE_SECONDS = (1.0, 5.0, 20.0, 60.0)  # before the next attempt of a job that was interrupted
STORE_SECONDS = 60.0  # for a job that was asked to end to have its last files in S3

log = logging.getLogger("protloc.cloud")


class Jobs:
    """The operations on training jobs. `folder` holds a folder a job, kept."""

    def __init__(
        self,
        records: Records,
        folder: Path,
        storage: Callable[[str], Storage],
        environment: Callable[[str], dict[str, str]],
    ) -> None:
        self._records, self._folder = records, folder
        self._storage, self._environment = storage, environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._at_work: set[str] = set()
        self._ending = threading.Event()  # of the cloud

    def interrupted(self) -> None:
        """After a restart: no process of the jobs that ran is left."""
        for job in self._records.tables["training_jobs"].values():
            if job["TrainingJobStatus"] == "InProgress":
                _enter(job, "Interrupted")
            elif job["TrainingJobStatus"] == "Stopping":
                _finish(job, "Stopped", None)

    def resume(self) -> None:
        """Restart interrupted jobs, once the cloud answers requests."""
        for job in list(self._records.tables["training_jobs"].values()):
            if job["TrainingJobStatus"] == "InProgress":
                self._records.spawn(self._train, job)

    def interrupt(self) -> None:
        """Ask every job to end, as SageMaker does before it takes an instance away; return when all have.

        Their checkpoints are stored, so the cloud must still answer requests. They stay in progress.
        """
        self._ending.set()
        for process in list(self._processes.values()):
            threading.Thread(target=training.stop, args=(process,), daemon=True, name="sagemaker").start()
        deadline = time.monotonic() + training.STOP_SECONDS + STORE_SECONDS
        while self._at_work and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        for process in list(self._processes.values()):
            process.terminate()

    def do_create_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self._records.absent(
            "training_jobs", name, "ResourceInUse", f"Training job names must be unique: {name} exists"
        )
        limits = request.get("StoppingCondition", {})
        if _is_spot(request) and limits.get("MaxWaitTimeInSeconds", 0) < _max_runtime(limits):
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
                "MaxRuntimeInSeconds"
            )
        now = time.time()
        shutil.rmtree(self._folder / name, ignore_errors=True)
        job = self._records.tables["training_jobs"][name] = {
            **request,
            "TrainingJobArn": arn("training-job", name),
            "TrainingJobStatus": "InProgress",
            "SecondaryStatusTransitions": [],
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        _enter(job, "Starting")
        self._records.spawn(self._train, job)
        return {"TrainingJobArn": job["TrainingJobArn"]}

    def do_describe_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._records.find(
            "training_jobs", request["TrainingJobName"], "Requested resource not found."
        )

    def do_list_training_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingJobStatus")
        part, status = request.get("NameContains", ""), request.get("StatusEquals")
        jobs = [
            job
            for job in self._records.tables["training_jobs"].values()
            if part in job["TrainingJobName"] and status in (None, job["TrainingJobStatus"])
        ]
        return {"TrainingJobSummaries": [{field: job[field] for field in fields} for job in jobs]}

    def do_stop_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._records.find("training_jobs", request["TrainingJobName"], "Requested resource not found.")
        if job["TrainingJobStatus"] != "InProgress":
            raise invalid(
                f"The request was rejected because the training job is in status {job['TrainingJobStatus']}."
            )
        job["TrainingJobStatus"] = "Stopping"
        _enter(job, "Stopping")
        process = self._processes.get(job["TrainingJobName"])
        if process is not None:
            self._records.spawn(training.stop, process)
        return {}

    def _train(self, job: dict[str, Any]) -> None:
        """Attempts at the job, until one comes to an end of its own."""
        name, attempt = job["TrainingJobName"], 0
        self._at_work.add(name)
        try:
            while True:
                try:
                    status, reason = self._attempt(job), None
                except training.JobFailed as problem:
                    status, reason = "Failed", str(problem)
                    taken_away = isinstance(problem, training.Interrupted) and _is_spot(job)
                    if (taken_away or self._ending.is_set()) and job["TrainingJobStatus"] == "InProgress":
                        _enter(job, "Interrupted")
                        self._records.changed()
                        if self._ending.wait(PAUSE_SECONDS[min(attempt, len(PAUSE_SECONDS) - 1)]):
                            return
                        attempt += 1
                        continue
                if job["TrainingJobStatus"] == "Stopping" and status != "Completed":
                    status, reason = "Stopped", None
                _finish(job, status, reason)
                return
        except Exception as problem:
            log.exception("training job %s", name)
            _finish(job, "Failed", f"InternalServerError: {problem}")
        finally:
            self._processes.pop(name, None)
            self._at_work.discard(name)

    def _attempt(self, job: dict[str, Any]) -> str:
        """Run the job once; gives the status it ends with. Raises `training.JobFailed`."""
        name, role, limits = job["TrainingJobName"], job["RoleArn"], job.get("StoppingCondition", {})
        begin = time.time()
        run_seconds = _max_runtime(limits) - job.get("TrainingTimeInSeconds", 0)
        wait_seconds = float("inf")
        if _is_spot(job):
            wait_seconds = job["CreationTime"] + limits["MaxWaitTimeInSeconds"] - begin
        if job["TrainingJobStatus"] == "Stopping":
            return "Stopped"
        if wait_seconds <= 0:
            _enter(job, "MaxWaitTimeExceeded")
            return "Stopped"

        def started(process: subprocess.Popen[bytes]) -> None:
            self._processes[name] = process
            if job["TrainingJobStatus"] == "Stopping" or self._ending.is_set():
                process.terminate()

        def enter(status: str) -> None:
            if job["TrainingJobStatus"] == "InProgress":
                _enter(job, status)
                self._records.changed()

        enter("Starting")
        job.setdefault("TrainingStartTime", begin)
        seconds = max(0.0, min(run_seconds, wait_seconds))
        try:
            result = training.run(
                job,
                self._folder / name,
                self._storage(role),
                self._environment(role),
                seconds,
                started,
                enter,
            )
        finally:
            job["TrainingTimeInSeconds"] = job.get("TrainingTimeInSeconds", 0) + round(time.time() - begin)
        status, last = result.pop("TrainingJobStatus"), result.pop("SecondaryStatus")
        _enter(job, "MaxWaitTimeExceeded" if status == "Stopped" and wait_seconds < run_seconds else last)
        job.update(result)
        return str(status)


def _is_spot(job: Mapping[str, Any]) -> bool:
    return bool(job.get("EnableManagedSpotTraining"))


def _max_runtime(limits: Mapping[str, Any]) -> int:
    return int(limits.get("MaxRuntimeInSeconds", MAX_RUNTIME_SECONDS))


def _enter(job: dict[str, Any], status: str) -> None:
    """Note a secondary status, and when the one before it ended."""
    now, transitions = time.time(), job.setdefault("SecondaryStatusTransitions", [])
    job.update(SecondaryStatus=status, LastModifiedTime=now)
    if transitions and transitions[-1]["Status"] == status:
        return
    if transitions:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now})


def _finish(job: dict[str, Any], status: str, reason: str | None) -> None:
    if job["SecondaryStatus"] not in ENDS:
        _enter(job, status)
    now = time.time()
    job["SecondaryStatusTransitions"][-1]["EndTime"] = now
    job.update(TrainingJobStatus=status, TrainingEndTime=now, LastModifiedTime=now)
    if reason:
        job["FailureReason"] = reason
