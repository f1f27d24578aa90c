"""The clients in memory answer as the real interfaces do: the same calls, drawn at random, made of both.

moto stands for AWS in most of it, because it is quick; the embedded cloud does in `tests/cloud/test_clients.py`.
"""

from collections.abc import Iterator

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from tests.simulation import differential
from tests.simulation.differential import Clients

_thorough = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        yield Clients(session.resource("dynamodb"), session.client("s3"), session.client("sqs"))


@_thorough
@given(calls=st.lists(differential.table_calls, min_size=1, max_size=25))
def test_tables_answer_alike(calls: list[differential.Call], moto: Clients) -> None:
    differential.compare_tables(moto, calls)


@_thorough
@given(calls=st.lists(differential.object_calls, min_size=1, max_size=25))
def test_objects_answer_alike(calls: list[differential.Call], moto: Clients) -> None:
    differential.compare_objects(moto, calls)


@_thorough
@given(calls=st.lists(differential.message_calls, min_size=1, max_size=25))
def test_queues_answer_alike(calls: list[differential.Call], moto: Clients) -> None:
    differential.compare_queues(moto, calls)


def test_a_delay_over_fifteen_minutes_is_refused_by_both(moto: Clients) -> None:
    """The embedded cloud takes it."""
    differential.compare_queues(moto, [("send", {"MessageBody": "late", "DelaySeconds": 901})])
