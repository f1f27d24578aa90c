"""Retraining, all of it for real: labels in the bucket become a judged model in service, and can be taken back."""

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAMPLE, Embedded
from tests.end_to_end.retraining import QUICK, execute, lock, model, put_labels, remains
from tests.end_to_end.test_flow import messy_fasta
from tests.model.tiny import build_tiny_artifact
from tests.waiting import LIMIT_SECONDS, until

IN_WORK = 3  # uploads at once, while versions change


@dataclass(frozen=True)
class Promotion:
    """A retraining that ended with a new model in service, and how the cloud stood just after it."""

    done: dict[str, Any]
    models: dict[str, Any]
    remains: dict[str, set[str]]
    lock: str | None
    again: dict[str, Any]  # how the same request ended a second time


@pytest.fixture(scope="module")
def alone(start_embedded: Callable[..., Embedded]) -> Embedded:
    """A cloud of its own, whose champion has learned nothing."""
    return start_embedded()


@pytest.fixture(scope="module")
def promotion(alone: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Promotion:
    put_labels(alone, tmp_path_factory.mktemp("labels"))
    return Promotion(
        done=execute(alone, {"version": "new-1", "hyperparameters": QUICK}),
        models=alone.client.models(),
        remains=remains(alone),
        lock=lock(alone),
        again=execute(alone, {"hyperparameters": QUICK}),
    )


@pytest.fixture
def cloud(alone: Embedded, promotion: Promotion) -> Embedded:
    """The cloud after `promotion`; each test leaves new-1 active, and may leave other versions."""
    return alone


def test_labels_become_a_better_model_in_service_and_the_way_back_is_one_command(
    cloud: Embedded, promotion: Promotion
) -> None:
    assert promotion.done["outcome"] == "Promoted", promotion.done
    assert promotion.done["reason"].startswith("Q10 ")
    models = promotion.models
    assert (models["active"], models["previous"]) == ("new-1", "tiny-1")
    assert {view["version"]: view["state"] for view in models["models"]} == {
        "new-1": "in_service",
        "tiny-1": "standby",
    }
    assert model(cloud, "new-1")["metrics"]["q10"] > 0.5
    assert promotion.lock is None
    there = promotion.remains
    assert there["components"] == {"protloc-new-1", "protloc-tiny-1"} == there["models"]
    (package,) = there["packages"]
    described = cloud.client.client("sagemaker").describe_model_package(ModelPackageName=package)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["CustomerMetadataProperties"]["version"] == "new-1"
    answer = cloud.answer("predict", SAMPLE)
    assert {row["model_version"] for row in cloud.rows(answer["upload"])} == {"new-1", None}


@pytest.mark.slow
def test_uploads_in_work_stay_with_their_version_whatever_is_promoted(
    cloud: Embedded, tmp_path: Path
) -> None:
    """Files come in all the time, while one version is promoted, rolled back and promoted again."""
    sent: list[str] = []
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            if len(sent) >= IN_WORK:  # more of them would only wait, and be waited for
                cloud.client.wait(sent[-IN_WORK], lambda _: None, LIMIT_SECONDS)
            body = messy_fasta(len(sent), 150).encode()
            sent.append(cloud.client.send(io.BytesIO(body), f"{len(sent)}.fasta", lambda _: None).upload_id)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        folder = build_tiny_artifact(tmp_path / "third-1", "third-1", seed=3)
        assert cloud.protloc("models", "add", folder, "--yes").exit_code == 0
        for active in ("new-1", "third-1", "new-1"):
            place = len(sent) + 1  # the one before may have been sent under the version before

            def received(place: int = place) -> bool:
                assert sender.is_alive()
                return len(sent) > place and cloud.client.find_upload(sent[place]) is not None

            until(received)
            assert cloud.protloc("models", "rollback").exit_code == 0
            assert cloud.client.models()["active"] == active
    finally:
        over.set()
        sender.join()
    versions_seen = set()
    for upload in sent:
        view = cloud.client.wait(upload, lambda _: None, LIMIT_SECONDS)
        assert view["status"] == "complete", view
        versions = {row["model_version"] for row in cloud.rows(upload) if row["status"] == "predicted"}
        assert versions == {view["model_version"]}
        versions_seen |= versions
    assert len(sent) > 3 and versions_seen == {"new-1", "third-1"}


def test_the_same_labels_are_nothing_new(promotion: Promotion) -> None:
    assert (promotion.again["outcome"], promotion.again["report"]) == ("NothingNew", "")
    assert "new-1" in promotion.again["reason"]


@pytest.mark.slow
def test_what_is_no_better_is_kept_out_with_the_reason_and_its_report(cloud: Embedded) -> None:
    before = remains(cloud)
    done = execute(
        cloud, {"version": "worse-1", "again": True, "hyperparameters": QUICK | {"learning-rate": 1e-9}}
    )
    assert done["outcome"] == "KeptChampion", done
    assert "not worse" in done["reason"]
    view = model(cloud, "worse-1")
    assert (view["state"], view["reason"]) == ("rejected", done["reason"])
    assert cloud.client.models()["active"] == "new-1"
    assert remains(cloud) == before and lock(cloud) is None
    bucket, _, key = done["report"].removeprefix("s3://").partition("/")
    page = cloud.client.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert b"worse-1" in page and b"new-1" in page


def test_a_slot_of_the_schedule_is_taken_once(cloud: Embedded) -> None:
    slot = {"slot": "2026-11-24T00:00:00Z", "hyperparameters": QUICK}
    assert execute(cloud, slot)["outcome"] == "NothingNew"
    assert execute(cloud, slot)["outcome"] == "Skipped"
    assert execute(cloud, slot | {"slot": "2026-11-23T00:00:00Z"})["outcome"] == "Skipped"
    assert execute(cloud, slot | {"slot": "2026-12-24T00:00:00Z"})["outcome"] == "NothingNew"


def test_a_bad_artifact_leaves_nothing_but_its_reason(cloud: Embedded) -> None:
    before = remains(cloud)
    bucket = cloud.client.outputs["ModelsBucket"]
    cloud.client.client("s3").put_object(Bucket=bucket, Key="bad/model.tar.gz", Body=b"no archive")
    failed = execute(cloud, {"version": "bad-1", "artifact": f"s3://{bucket}/bad/model.tar.gz"})
    assert failed["outcome"] == "Failed"
    assert model(cloud, "bad-1")["state"] == "failed" and model(cloud, "bad-1")["reason"]
    assert remains(cloud) == before and lock(cloud) is None
    assert cloud.client.models()["active"] == "new-1"


def test_the_schedule_names_its_slot(cloud: Embedded) -> None:
    target = cloud.client.client("scheduler").get_schedule(Name="protloc-retrain")["Target"]
    assert json.loads(target["Input"]) == {"slot": "<aws.scheduler.scheduled-time>"}
