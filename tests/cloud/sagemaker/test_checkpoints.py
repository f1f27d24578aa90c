"""Checkpoints travel to S3 and back, and a spot job that is killed goes on from them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest

from model.source import archive as training_program
from protloc.cloud.sagemaker.checkpoints import Checkpoints
from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.test_sagemaker import finished, job, refused
from tests.cloud.test_lifecycle import killed, saved
from tests.model.runs import held
from tests.model.tiny import write_labelled
from tests.waiting import Gate, until

PROGRAM = json.dumps("model/steps.py")


class Folder:
    """S3, as a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, uri: str) -> Path:
        return self.root / uri.removeprefix("s3://")

    def names(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}

    def fetch(self, uri: str, path: Path) -> None:
        shutil.copy(self._path(uri), path)

    def fetch_prefix(self, uri: str, folder: Path, may_be_empty: bool = False) -> None:
        shutil.copytree(self._path(uri), folder, dirs_exist_ok=True)

    def store(self, path: Path, uri: str) -> None:
        self._path(uri).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, self._path(uri))

    def remove(self, uri: str) -> None:
        self._path(uri).unlink()


def test_new_files_are_stored_deleted_ones_removed_and_unfinished_ones_left(tmp_path: Path) -> None:
    there, here = Folder(tmp_path / "s3"), tmp_path / "checkpoints"
    there.store(Path(__file__), "s3://b/job/old")
    checkpoints = Checkpoints(here, "s3://b/job/", there)
    checkpoints.fetch()
    assert (here / "old").read_bytes() == Path(__file__).read_bytes()
    (here / "folder").mkdir()
    (here / "folder" / "new").write_text("1")
    (here / ".writing").write_text("half")
    checkpoints.store()
    assert there.names() == {"b/job/old", "b/job/folder/new"}
    (here / "folder" / "new").write_text("22")
    (here / "old").unlink()
    checkpoints.store()
    assert there.names() == {"b/job/folder/new"}
    assert (tmp_path / "s3/b/job/folder/new").read_text() == "22"


def test_what_did_not_change_is_not_stored_again(tmp_path: Path) -> None:
    there = Folder(tmp_path / "s3")
    checkpoints = Checkpoints(tmp_path / "checkpoints", "s3://b/job", there)
    (tmp_path / "s3/b/job").mkdir(parents=True)
    checkpoints.fetch()
    (tmp_path / "checkpoints" / "one").write_text("1")
    checkpoints.store()
    (tmp_path / "s3/b/job/one").unlink()
    checkpoints.store()
    assert there.names() == set()


def spot(stack: Stack, wait: int = 3600, **more: Any) -> dict[str, Any]:
    return {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": wait},
        "CheckpointConfig": {"S3Uri": f"s3://{stack.outputs['Bucket']}/models/cp/{uuid.uuid4().hex}"},
        **more,
    }


def stored(stack: Stack, request: dict[str, Any]) -> list[str]:
    prefix = request["CheckpointConfig"]["S3Uri"].split("/", 3)[3] + "/"
    listing = stack.client("s3").list_objects_v2(Bucket=stack.outputs["Bucket"], Prefix=prefix)
    return [item["Key"].removeprefix(prefix) for item in listing.get("Contents", [])]


def artifact_of(stack: Stack, done: dict[str, Any]) -> dict[str, bytes]:
    """The files of the model that a job made."""
    key = done["ModelArtifacts"]["S3ModelArtifacts"].split("/", 3)[3]
    body = stack.client("s3").get_object(Bucket=stack.outputs["Bucket"], Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name: file.read() for name, file in files.items() if file}


def weights(stack: Stack, done: dict[str, Any]) -> Any:
    return json.loads(artifact_of(stack, done)["weights.json"])


def statuses(done: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in done["SecondaryStatusTransitions"]]


def test_a_spot_job_that_is_killed_goes_on_from_its_checkpoint(stack: Stack) -> None:
    request = spot(stack)
    done = finished(stack, job(stack, more=request, sagemaker_program=PROGRAM, steps="5", die="4"))
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    assert weights(stack, done) == {"begun": 3, "found": ["5.step"]}
    assert stored(stack, request) == ["5.step"]
    once = ["Starting", "Downloading", "Training"]
    assert statuses(done) == [*once, "Interrupted", *once, "Uploading", "Completed"]


def test_a_job_without_spot_that_is_killed_has_failed_and_keeps_its_checkpoints(stack: Stack) -> None:
    request = spot(stack)
    ordinary = {"CheckpointConfig": request["CheckpointConfig"] | {"LocalPath": "/opt/ml/other"}}
    done = finished(
        stack,
        job(
            stack,
            more=ordinary,
            sagemaker_program=PROGRAM,
            steps="5",
            die="3",
            **{"checkpoint-dir": "/opt/ml/other"},
        ),
    )
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Failed", "Failed")
    assert "steps.py ended with 137" in done["FailureReason"]
    assert stored(stack, request) == ["2.step"]


def test_a_spot_job_gives_up_when_its_time_is_over(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    request = spot(stack)
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 3, "MaxWaitTimeInSeconds": 3}
    done = finished(
        stack, job(stack, more=request, sagemaker_program=PROGRAM, steps="5", die="2", always="1")
    )
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


def test_a_spot_job_must_say_how_long_it_may_wait(stack: Stack) -> None:
    request = spot(stack, wait=3599)
    response = refused(lambda: job(stack, more=request, sagemaker_program=PROGRAM, steps="1"))
    assert response["Error"]["Code"] == "ValidationException"
    assert "MaxWaitTimeInSeconds" in response["Error"]["Message"]


def test_a_spot_job_whose_cloud_was_killed_goes_on_when_it_is_back(own_stack: Stack, tmp_path: Path) -> None:
    request, gate = spot(own_stack), Gate(tmp_path / "gate")
    name = job(own_stack, more=request, factor="5", gate=str(gate.path))
    until(lambda: gate.reached)
    saved(own_stack)
    again = killed(own_stack)
    gate.open()
    done = finished(again, name)
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    assert statuses(done).count("Training") == 2 and "Interrupted" in statuses(done)


def test_a_job_reads_and_writes_s3_itself_as_its_role_allows(stack: Stack) -> None:
    bucket = stack.outputs["Bucket"]
    done = finished(stack, job(stack, sagemaker_program=json.dumps("model/alone.py"), bucket=bucket))
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    written = stack.client("s3").get_object(Bucket=bucket, Key="models/alone")["Body"].read()
    assert written == b"written by the job"
    log = stack.cloud.home / "sagemaker" / "training" / done["TrainingJobName"] / "train.log"
    assert "AccessDenied" in log.read_text()


def with_file(archive: bytes, name: str, text: str) -> bytes:
    """A tar.gz that holds one more file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=buffer, mode="w:gz") as new:
        for entry in old:
            new.addfile(entry, old.extractfile(entry))
        entry = tarfile.TarInfo(name)
        entry.size = len(text.encode())
        new.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.mark.slow
def test_the_real_program_killed_midway_ends_with_the_model_of_an_undisturbed_run(
    stack: Stack, tmp_path: Path
) -> None:
    s3, bucket = stack.client("s3"), stack.outputs["Bucket"]
    gate = Gate(tmp_path / "gate")
    program = held(gate, 0, 'runpy.run_path("model/train.py", run_name="__main__")')
    source = training_program()
    s3.put_object(Bucket=bucket, Key="models/real.tar.gz", Body=with_file(source, "held.py", program))
    s3.upload_file(str(write_labelled(tmp_path / "data.fasta", 60)), bucket, "models/labelled/data.fasta")
    place = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/models/labelled/"}
    channels = [{"ChannelName": "training", "DataSource": {"S3DataSource": place}}]
    settings = {"hidden": "32", "layers": "0", "max-residues": "510", "epochs": "4", "model-version": "v"}
    settings["sagemaker_submit_directory"] = f"s3://{bucket}/models/real.tar.gz"
    undisturbed = finished(stack, job(stack, more={"InputDataConfig": channels}, **settings))
    request = spot(stack, InputDataConfig=channels)
    name = job(stack, more=request, sagemaker_program=json.dumps("held.py"), **settings)
    folder = stack.cloud.home / "sagemaker" / "training" / name
    until(lambda: gate.reached, lambda: (folder / "stderr.log").read_text())
    (program_number,) = gate.reached
    os.kill(program_number, signal.SIGKILL)
    gate.open()  # for the next attempt
    killed_once = finished(stack, name)
    assert (undisturbed["TrainingJobStatus"], killed_once["TrainingJobStatus"]) == ("Completed",) * 2
    assert "Interrupted" in statuses(killed_once)
    log = (folder / "train.log").read_text()
    assert log.count("Epoch 1/4 ") == 1  # it went on, and did not begin again
    plain, resumed = artifact_of(stack, undisturbed), artifact_of(stack, killed_once)
    assert resumed["model.safetensors"] == plain["model.safetensors"]
    assert json.loads(resumed["artifact.json"])["metrics"] == json.loads(plain["artifact.json"])["metrics"]
