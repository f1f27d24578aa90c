"""activate: one write makes another version the active one, unless the alias changed meanwhile."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

import functions.activate
from functions.activate import NotNow, activate
from functions.domain.errors import Missing
from functions.services.dynamodb import now_seconds
from tests.functions.test_events import Context
from tests.functions.versions import version
from tests.functions.world import World


def test_a_rollback_is_one_write_and_can_be_taken_back(two_versions: World) -> None:
    world = two_versions
    back = activate("one", 5, world.aws)
    assert (back.version, back.previous, back.revision) == ("one", "two", 6)
    assert now_seconds() - back.changed < 60
    forth = activate("two", None, world.aws)
    assert (forth.version, forth.previous, forth.revision) == ("two", "one", 7)
    assert activate("two", 7, world.aws) == forth  # already


def test_a_version_that_is_not_in_service_or_was_changed_meanwhile_is_refused(
    two_versions: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_versions
    before = world.aws.models.alias()
    with pytest.raises(Missing):
        activate("three", None, world.aws)
    with pytest.raises(NotNow, match="expected revision 4, found 5"):
        activate("one", 4, world.aws)
    version(world, "one", "retired")
    with pytest.raises(NotNow, match="found one retired"):
        activate("one", None, world.aws)
    version(world, "one")
    monkeypatch.setattr(world.aws.models, "alias", lambda: before._replace(revision=4))
    with pytest.raises(NotNow, match="changed just now"):  # between reading and writing
        activate("one", None, world.aws)
    monkeypatch.undo()
    assert world.aws.models.alias() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"version": "one"}', 200),
        ('{"version": "one", "revision": 5}', 200),
        ('{"version": "one", "revision": 5.0}', 200),
        ('{"version": "one", "revision": 9}', 409),
        ('{"version": "none"}', 404),
        ('{"version": ""}', 400),
        ('{"version": 3}', 400),
        ('{"version": "one", "revision": "5"}', 400),
        ('{"version": "one", "also": 1}', 400),
        ("[]", 400),
        ("{", 400),
        (None, 400),
    ],
)
def test_the_api_says_what_became_of_it(
    two_versions: World, monkeypatch: pytest.MonkeyPatch, body: str | None, status: int
) -> None:
    monkeypatch.setattr(functions.activate, "services", lambda: two_versions.aws)
    answer = functions.activate.handler({"body": body}, Context())
    assert answer["statusCode"] == status
    assert json.loads(answer["body"])


@pytest.mark.parametrize(
    ("reasons", "calls"),
    [(["TransactionConflict", "None"], 2), (["None", "ThrottlingError"], 2), (["ConditionalCheckFailed"], 1)],
)
def test_only_a_changed_alias_refuses_an_activation(
    reasons: list[str], calls: int, two_versions: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = two_versions.aws.models.table.database
    write, made = client.transact_write_items, []

    def cancelled_once(**request: Any) -> Any:
        made.append(request)
        if len(made) > 1:
            return write(**request)
        answer: Any = {
            "Error": {"Code": "TransactionCanceledException", "Message": ""},
            "CancellationReasons": [{"Code": reason} for reason in reasons],
        }
        raise ClientError(answer, "TransactWriteItems")

    monkeypatch.setattr(client, "transact_write_items", cancelled_once)
    monkeypatch.setattr("functions.services.models_table.time.sleep", lambda _: None)
    models = two_versions.aws.models
    assert models.activate("one", models.alias()) == (calls == 2)
    assert len(made) == calls
