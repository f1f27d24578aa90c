"""Each file in `events/` is one hop of the wire, in the form that the code sends and takes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from logging import StreamHandler
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

import functions.complete
import functions.predict
import functions.query
import functions.receive
import functions.smoke
import functions.split
from functions.domain.locations import TEN, LabelSet
from functions.domain.prediction import Prediction, Unpredictable, read_answer, request_body
from functions.domain.upload import upload_id
from functions.services.settings import Settings
from tests.functions.world import ROOT, ScriptedModel, World

EVENTS = ROOT / "events"
TEXT = b">sp|P01308|INS_HUMAN Insulin OS=Homo sapiens OX=9606 GN=INS PE=1 SV=1\nMALWMRLLPLLALLALWGPDPAAA\n>broken\nMK1V\n"
KEY = "my proteins (1)+ä.fasta"


def golden(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


class GoldenModel(ScriptedModel):
    """Gives the golden answer."""

    def invoke(
        self, sequences: list[str], *, component: str, model_version: str, labels: LabelSet = TEN
    ) -> list[Any]:
        assert json.loads(request_body(sequences)) == golden("endpoint-request")
        return read_answer(
            json.dumps(golden("endpoint-answer")).encode(), sequences=sequences, model_version=model_version
        )


@pytest.fixture
def world(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose upload has the golden version id, bucket and time."""
    monkeypatch.setattr("functions.services.s3._version", lambda source: {})
    monkeypatch.setattr("functions.services.uploads_table.now_iso", lambda: "2026-11-22T12:00:00Z")
    running_world.activate("small-2026-11-22")
    running_world.s3.put_object(Bucket="uploads", Key=KEY, Body=TEXT)
    object.__setattr__(running_world.aws, "endpoint", GoldenModel())
    for module in (
        functions.receive,
        functions.split,
        functions.predict,
        functions.complete,
        functions.query,
    ):
        monkeypatch.setattr(module, "services", lambda: running_world.aws)
    return running_world


class Context(LambdaContext):
    _function_name = _aws_request_id = "test"
    _invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:test"
    _memory_limit_in_mb = 512

    def get_remaining_time_in_millis(self) -> int:
        """All the time that any function of the template has."""
        return 900_000


@contextmanager
def logs_of(logger: Logger) -> Iterator[StringIO]:
    """The lines that a function's logger writes meanwhile. It holds the stream of when its module was imported."""
    handler, lines = logger.registered_handler, StringIO()
    assert isinstance(handler, StreamHandler)
    stream = handler.setStream(lines)
    try:
        yield lines
    finally:
        handler.setStream(stream)


def sqs_event(queue: str, message: dict[str, Any]) -> dict[str, Any]:
    event = golden("queue-event")
    event["Records"][0]["body"] = json.dumps(message)
    event["Records"][0]["eventSourceARN"] = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
    return dict(event)


def test_one_upload_travels_the_golden_wire(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    aws = world.aws
    event = golden("s3-object-created")
    assert event["detail"]["object"]["key"] == KEY
    assert functions.receive.handler(sqs_event("uploads", event), Context()) == {"batchItemFailures": []}

    assert world.take(aws.shards_queue) == [golden("shard-message")]
    assert functions.split.handler(sqs_event("shards", golden("shard-message")), Context()) == {
        "batchItemFailures": []
    }

    assert world.take(aws.batches_queue) == [golden("batch-message")]
    assert functions.predict.handler(sqs_event("batches", golden("batch-message")), Context()) == {
        "batchItemFailures": []
    }

    entries = []
    put_events = aws.events.put_events
    monkeypatch.setattr(
        aws.events, "put_events", lambda **call: entries.append(call["Entries"][0]) or put_events(**call)
    )
    assert functions.complete.handler(golden("finishing-stream-event"), Context()) == {
        "batchItemFailures": []
    }
    assert {**entries[0], "Detail": json.loads(entries[0]["Detail"])} == golden("upload-completed")
    assert world.rows(golden("shard-message")["upload"]) == golden("result-rows")

    answer = functions.query.handler(golden("api-get-upload"), Context())
    body = json.loads(answer["body"])
    volatile = {"updated": body["updated"], "finished": body["finished"]}
    assert (answer["statusCode"], body) == (200, golden("api-upload") | volatile)


def test_a_failed_delivery_is_handed_back_and_comes_again_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue hears which message failed, and is told to show it again in seconds, not in hours."""
    asked = []
    monkeypatch.setattr(
        world.aws.shards_queue.client, "change_message_visibility", lambda **a: asked.append(a)
    )
    monkeypatch.setattr("functions.split.split_or_abandon", _fail)
    functions.receive.handler(sqs_event("uploads", golden("s3-object-created")), Context())
    event = sqs_event("shards", golden("shard-message"))
    answer = None
    try:
        answer = functions.split.handler(event, Context())
    except Exception as error:  # Powertools raises when every message of a delivery failed
        assert "All records failed" in str(error)
    assert answer in (None, {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]})
    assert [a["VisibilityTimeout"] for a in asked] == [5]


def _fail(*_: object) -> None:
    raise OSError("no disk")


def test_the_golden_answer_reads_as_predictions() -> None:
    sequences = golden("endpoint-request")["sequences"]
    (prediction,) = read_answer(
        json.dumps(golden("endpoint-answer")).encode(), sequences=sequences, model_version="small-2026-11-22"
    )
    assert isinstance(prediction, Prediction) and prediction.location == "Extracellular"
    refused = golden("endpoint-answer") | {"predictions": golden("endpoint-answer-refused")["predictions"]}
    (prediction,) = read_answer(
        json.dumps(refused).encode(), sequences=sequences, model_version="small-2026-11-22"
    )
    assert isinstance(prediction, Unpredictable)


def test_the_state_machine_asks_smoke_as_the_golden_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = golden("smoke-request")
    settings = Settings(**(dict.fromkeys((n for n, k in Settings.__annotations__.items() if k is str), "")))
    assert request["component"].endswith(settings.component(request["version"]))
    object.__setattr__(world.aws, "endpoint", ScriptedModel())
    monkeypatch.setattr(functions.smoke, "services", lambda: world.aws)
    assert functions.smoke.handler(request, Context())["of"] == 3


def test_the_golden_upload_id_is_the_events() -> None:
    detail = golden("s3-object-created")["detail"]
    made = upload_id(detail["bucket"]["name"], detail["object"]["key"], detail["object"]["version-id"])
    assert made == golden("shard-message")["upload"]


def test_every_golden_file_is_used() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    unused = [path.name for path in EVENTS.glob("*.json") if f'"{path.stem}' not in tests]
    assert unused == []
