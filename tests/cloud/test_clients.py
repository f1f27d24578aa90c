"""The clients that the simulation has in memory answer as the embedded cloud does, call by call."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protloc.cloud.connection import Cloud
from tests.simulation import differential
from tests.simulation.differential import Call, Clients

_brief = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def embedded_clients(cloud: Cloud) -> Clients:
    database = cloud.session.resource("dynamodb", endpoint_url=cloud.endpoint_url)
    return Clients(database, cloud.client("s3"), cloud.client("sqs"))


@_brief
@given(calls=st.lists(differential.table_calls, min_size=1, max_size=25))
def test_tables_answer_alike(calls: list[Call], embedded_clients: Clients) -> None:
    differential.compare_tables(embedded_clients, calls)


@_brief
@given(calls=st.lists(differential.object_calls, min_size=1, max_size=25))
def test_objects_answer_alike(calls: list[Call], embedded_clients: Clients) -> None:
    differential.compare_objects(embedded_clients, calls)


@_brief
@given(calls=st.lists(differential.message_calls, min_size=1, max_size=25))
def test_queues_answer_alike(calls: list[Call], embedded_clients: Clients) -> None:
    differential.compare_queues(embedded_clients, calls)
