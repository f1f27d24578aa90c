"""Tables keep a prediction as few values, and read the items of older releases."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from functions.domain.locations import LOCATION_NAMES
from functions.domain.prediction import Prediction
from functions.domain.rows import PROBABILITY_COLUMNS, Row
from functions.services.answers_table import _sort_key
from functions.services.dynamodb import from_text, to_text
from tests.functions.world import VERSION, World

FASTA = b">sp|P1|ONE\nMKVLAAGIVGLLLAQWERTY\n>two\nMSTNPKPQRKTKRNTNRRPQ\n"
VALUES = 24
"""Of an item, with its keys; a value is what a write's work grows with."""


def stored(world: World, table: str) -> list[dict[str, object]]:
    return list(world.database.Table(table).scan()["Items"])


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_numbers_in_a_text_are_the_same_numbers(numbers: list[float]) -> None:
    assert from_text(to_text(numbers)) == numbers


def test_probabilities_are_one_value_of_an_item(running_world: World) -> None:
    identity = running_world.run(running_world.upload(FASTA))
    items, answers = stored(running_world, "PredictionsTable"), stored(running_world, "AnswersTable")
    assert len(items) == len(answers) == 2
    assert all(len(item) <= VALUES and isinstance(item["probabilities"], str) for item in (*items, *answers))
    (page, _) = running_world.aws.predictions.page(identity, 0, 10, None)
    exported = {row["offset"]: row for row in running_world.rows(identity)}
    for row in page:
        columns = ("location", "confidence", "second", *PROBABILITY_COLUMNS)
        assert {name: row[name] for name in columns} == {
            name: exported[row["offset"]][name] for name in columns
        }


def test_a_row_and_an_answer_of_an_older_release_are_read(running_world: World) -> None:
    """One number a location."""
    world = running_world
    probabilities = [Decimal("0.91"), *[Decimal("0.01")] * 9]
    identity = world.run(world.upload(FASTA))
    (item, _) = stored(world, "PredictionsTable")
    del item["probabilities"]
    item |= dict(zip(PROBABILITY_COLUMNS, probabilities, strict=True)) | {"location": LOCATION_NAMES[0]}
    world.database.Table("PredictionsTable").put_item(Item=item)
    rows: dict[str, Row] = {
        row["accession"]: row for row in world.aws.predictions.page(identity, 0, 9, None)[0]
    }
    assert [rows[str(item["accession"])][name] for name in PROBABILITY_COLUMNS] == [0.91, *[0.01] * 9]
    older = {
        "pk": "digest",
        "sk": _sort_key(VERSION),
        "probabilities": probabilities,
        "membrane": Decimal("0.5"),
    }
    world.database.Table("AnswersTable").put_item(Item=older | {"residues_read": 3, "truncated": False})
    answer = world.aws.answers.find(["digest"], VERSION)["digest"]
    assert answer == Prediction((0.91, *[0.01] * 9), 0.5, 3, False)
