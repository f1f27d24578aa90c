"""An embedded cloud in which something is away, and an upload whose proteins fail as they do in earnest."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import Embedded
from tests.waiting import LIMIT_SECONDS, until


@contextmanager
def without_predict(cloud: Embedded) -> Iterator[None]:
    """The stack while nobody takes batches off their queue."""
    client = cloud.client.client("lambda")
    (mapping,) = client.list_event_source_mappings(FunctionName="protloc-predict")["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@contextmanager
def without_model(cloud: Embedded) -> Iterator[None]:
    """The stack while its model has no copy, as when it is scaled to zero."""
    sagemaker, name = cloud.client.client("sagemaker"), f"protloc-{cloud.client.models()['active']}"

    def copies(count: int) -> None:
        sagemaker.update_inference_component_runtime_config(
            InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": count}
        )
        until(
            lambda: (
                sagemaker.describe_inference_component(InferenceComponentName=name)["RuntimeConfig"][
                    "CurrentCopyCount"
                ]
                == count
            )
        )

    copies(0)
    try:
        yield
    finally:
        copies(1)


def is_split(view: dict[str, Any] | None) -> bool:
    """True if every batch of an upload is in its queue."""
    return view is not None and 0 < view["progress"]["shards"] == view["progress"]["shards_split"]


def failed_upload(cloud: Embedded, file: Path) -> str:
    """Send a file, make dead letters of all its batches, and wait for its end; return the upload's name."""
    sqs, outputs = cloud.client.client("sqs"), cloud.client.outputs
    with without_predict(cloud):
        upload: str = cloud.answer("predict", file, "--no-wait")["upload"]
        until(lambda: is_split(cloud.client.find_upload(upload)), lambda: cloud.client.find_upload(upload))
        while messages := sqs.receive_message(
            QueueUrl=outputs["BatchesQueue"], MaxNumberOfMessages=10, WaitTimeSeconds=1
        ).get("Messages"):
            for message in messages:
                sqs.send_message(QueueUrl=outputs["BatchesDeadLetters"], MessageBody=message["Body"])
                sqs.delete_message(QueueUrl=outputs["BatchesQueue"], ReceiptHandle=message["ReceiptHandle"])
    answer = cloud.client.client("lambda").invoke(
        FunctionName=outputs["SweepFunction"], Payload=json.dumps({"task": "stuck"})
    )
    assert "FunctionError" not in answer, answer["Payload"].read()
    cloud.client.wait(upload, lambda _: None, LIMIT_SECONDS)
    return upload
