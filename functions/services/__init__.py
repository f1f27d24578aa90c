"""The services a handler works with, made once per process and handed on as one value.

Handlers take them as an argument, so that a test or a simulation can put others in their place.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from functions.services.answers_table import AnswersTable
from functions.services.clients import client
from functions.services.cursors import Cursors, stack_cursors
from functions.services.endpoint import CONNECT_SECONDS, Endpoint
from functions.services.models_table import ModelsTable
from functions.services.predictions_table import PredictionsTable
from functions.services.queues import Queue
from functions.services.s3 import Storage
from functions.services.settings import Settings, from_environment
from functions.services.uploads_table import UploadsTable
from functions.services.wire import Database

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


# Links that any region and a bucket made a moment ago answer: signature 4 on the region's own host, where
# boto3 would take signature 2 and the global host in older regions (boto/boto3#3015, #4768). An address that
# is an IP, as the embedded cloud's is, gets the bucket as a path all the same.
LINKING = Config(
    signature_version="s3v4", s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
)


@dataclass(frozen=True)
class Services:
    """Everything outside the process."""

    settings: Settings
    uploads: UploadsTable
    predictions: PredictionsTable
    answers: AnswersTable
    models: ModelsTable
    storage: Storage
    uploads_queue: Queue
    shards_queue: Queue
    batches_queue: Queue
    uploads_dead_letters: Queue
    shards_dead_letters: Queue
    batches_dead_letters: Queue
    endpoint: Endpoint
    cursors: Cursors
    events: Any  # EventBridge client
    s3: "S3Client"


class Lazily:
    """A client that is made when it is first used: each takes a handler's cold start some 20 ms."""

    def __init__(self, service: str, config: Config) -> None:
        self._service, self._config = service, config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @cached_property
    def _client(self) -> Any:
        return client(self._service, self._config)


@cache
def services() -> Services:
    """The services of this process, as the environment names them."""
    names = from_environment()
    standard = Config(retries={"mode": "standard", "total_max_attempts": 5})
    # Items are made here, not by users: botocore's check of each value is a third of the time of a write.
    database = Database(Lazily("dynamodb", standard.merge(Config(parameter_validation=False))))
    s3: Any = Lazily("s3", standard.merge(LINKING))
    sqs: Any = Lazily("sqs", standard)
    runtime: Any = Lazily(
        "sagemaker-runtime",
        Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=names.model_seconds,
            # `max_attempts` would count the requests after the first.
            retries={"mode": "standard", "total_max_attempts": 1},
        ),
    )
    return Services(
        settings=names,
        uploads=UploadsTable(database.Table(names.uploads_table)),
        predictions=PredictionsTable(database, names.predictions_table, names.prediction_days),
        answers=AnswersTable(database, names.answers_table, names.answer_days),
        models=ModelsTable(database.Table(names.models_table)),
        storage=Storage(s3, names.results_bucket),
        uploads_queue=Queue(sqs, names.uploads_queue),
        shards_queue=Queue(sqs, names.shards_queue),
        batches_queue=Queue(sqs, names.batches_queue),
        uploads_dead_letters=Queue(sqs, names.uploads_dead_letters),
        shards_dead_letters=Queue(sqs, names.shards_dead_letters),
        batches_dead_letters=Queue(sqs, names.batches_dead_letters),
        endpoint=Endpoint(runtime, names.endpoint_name),
        cursors=stack_cursors(names.cursor_secret),
        events=Lazily("events", standard),
        s3=s3,
    )
