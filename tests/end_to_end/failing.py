"""An upload of the embedded cloud whose proteins fail, the way they do in earnest: as dead letters."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Embedded


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


def failed_upload(cloud: Embedded, file: Path) -> str:
    """Send a file, make dead letters of all its batches, and wait for its end; return the upload's name."""
    sqs, outputs = cloud.client.client("sqs"), cloud.client.outputs
    with without_predict(cloud):
        upload: str = cloud.answer("predict", file, "--no-wait")["upload"]
        for _ in range(300):
            view = cloud.client.find_upload(upload)
            if view and 0 < view["progress"]["shards"] == view["progress"]["shards_split"]:
                break
            time.sleep(0.1)
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
    cloud.client.wait(upload, lambda _: None, 60)
    return upload
