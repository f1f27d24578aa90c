"""Cursors: the stack takes back its own, and no others."""

import random
import string
from collections.abc import Iterator
from functools import cache
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

import functions.query
import functions.services.cursors
from functions.domain.errors import InputError
from functions.services.cursors import Cursors, stack_cursors
from tests.functions.test_flow import fasta
from tests.functions.test_query import get
from tests.functions.world import World

MUTATIONS = 10_000
KEY = {"pk": "upload#00001", "sk": "000000000000017"}


@pytest.fixture
def world(running_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(functions.query, "services", lambda: running_world.aws)
    return running_world


def of_key(key: bytes) -> Cursors:
    return Cursors(lambda: key)


def first_cursor(path: str, **parameters: str) -> str:
    """The cursor in the link of a list's first page."""
    _, _, headers = get(path, **parameters)
    url = urlsplit(headers["Link"].split(">")[0].removeprefix("<"))
    return parse_qs(url.query)["cursor"][0]


def mutated(draw: random.Random, cursor: str, others: list[str]) -> str:
    """Another text: a flipped bit, a cut, an insertion, a swap, or a splice with another cursor."""
    at = draw.randrange(len(cursor))
    other = draw.choice(others)
    return draw.choice(
        [
            cursor[:at] + chr(ord(cursor[at]) ^ 1 << draw.randrange(8)) + cursor[at + 1 :],
            cursor[:at],
            cursor[at:],
            cursor[:at] + draw.choice(string.printable + "é٣\ud800") + cursor[at:],
            cursor[:at] + cursor[at + 1 :] + cursor[at],
            cursor[:at] + other[at:],
            other.partition(".")[0] + "." + cursor.partition(".")[2],
            cursor.partition(".")[0] + "=" * draw.randint(1, 3) + "." + cursor.partition(".")[2],
            cursor.upper(),
            cursor * 2,
            other,
        ]
    )


def test_no_mutated_cursor_is_a_page_or_an_accident(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(world.upload(fasta(25)))
    upload = world.run(world.upload(fasta(25), key="b"))
    lists: list[tuple[str, dict[str, str]]] = [
        ("/uploads", {}),
        ("/proteins/P00001", {}),
        ("/proteins/P00002", {}),
        (f"/uploads/{upload}/predictions", {}),
        (f"/uploads/{upload}/predictions", {"location": "Nucleus"}),
    ]
    cursors = [first_cursor(path, size="1", **filters) for path, filters in lists]
    # Read before the cursor is, and the same each time.
    monkeypatch.setattr(world.aws.uploads, "get", cache(world.aws.uploads.get))
    draw = random.Random(1)
    statuses = []
    for number in range(MUTATIONS):
        chosen = number % len(lists)
        path, filters = lists[chosen]
        others = cursors[:chosen] + cursors[chosen + 1 :]
        cursor = mutated(draw, cursors[chosen], others)
        if cursor != cursors[chosen]:
            status, body, _ = get(path, size="1", cursor=cursor, **filters)
            statuses.append(status)
            assert status == 400, (path, filters, cursor, body)
    assert len(statuses) > 0.95 * MUTATIONS
    for (path, filters), cursor in zip(lists, cursors, strict=True):
        assert get(path, size="7", cursor=cursor, **filters)[0] == 200


@given(
    start=st.dictionaries(st.text(), st.text() | st.integers() | st.booleans(), min_size=1),
    list_name=st.text(),
    other=st.text(),
    junk=st.text(),
)
def test_a_cursor_leads_through_its_own_list_alone(
    start: dict[str, str], list_name: str, other: str, junk: str
) -> None:
    cursors = of_key(b"one")
    cursor = cursors.sign(start, list_name)
    assert cursors.read(cursor, list_name) == start
    for wrong, name in ((cursor, other), (junk, list_name), (cursor + junk, list_name)):
        if (wrong, name) != (cursor, list_name):
            with pytest.raises(InputError):
                cursors.read(wrong, name)


def test_a_cursor_of_another_stack_or_of_an_earlier_key_is_refused() -> None:
    cursor = of_key(b"one").sign(KEY, "uploads")
    with pytest.raises(InputError, match="expected a cursor from a Link header"):
        of_key(b"two").read(cursor, "uploads")


def test_a_rotated_key_is_taken_up_within_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(functions.services.cursors.time, "monotonic", lambda: now)
    keys = [b"old"]
    calls = []

    def read_key() -> bytes:
        calls.append(now)
        return keys[-1]

    cursors = Cursors(read_key)
    old = cursors.sign(KEY, "uploads")
    keys.append(b"new")
    assert cursors.read(old, "uploads") == KEY
    assert calls == [1000.0]
    now += functions.services.cursors.KEY_SECONDS
    with pytest.raises(InputError):
        cursors.read(old, "uploads")
    assert cursors.read(of_key(b"new").sign(KEY, "uploads"), "uploads") == KEY


@pytest.fixture
def secret() -> Iterator[str]:
    with mock_aws():
        client = boto3.client("secretsmanager", region_name="us-east-1")
        yield client.create_secret(Name="key", SecretString="of the stack")["ARN"]


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_every_process_signs_with_the_stacks_secret(secret: str) -> None:
    cursor = stack_cursors(secret).sign(KEY, "uploads")
    assert stack_cursors(secret).read(cursor, "uploads") == KEY


def test_a_secret_that_is_gone_makes_old_cursors_errors_and_nothing_else(secret: str) -> None:
    old = stack_cursors(secret).sign(KEY, "uploads")
    client = boto3.client("secretsmanager")
    client.delete_secret(SecretId=secret)
    for forced in (False, True):
        if forced:
            client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
        cursors, of_another_process = stack_cursors(secret), stack_cursors(secret)
        for wrong in (old, of_another_process.sign(KEY, "uploads")):
            with pytest.raises(InputError):
                cursors.read(wrong, "uploads")
        assert cursors.read(cursors.sign(KEY, "uploads"), "uploads") == KEY
