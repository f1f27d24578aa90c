"""smoke: a version answers as its evaluation says, alone as in company, and in time."""

import json
from typing import Any

import pytest

from functions.domain.errors import BrokenContract
from functions.smoke import GOLDEN, smoke
from tests.functions.versions import put
from tests.functions.world import World, answer_for


def golden(world: World, shift: float = 0.0) -> str:
    sequences = ["MKV" + "A" * n for n in range(8)]
    answers = []
    for sequence in sequences:
        answer = answer_for(sequence)
        answers.append(
            {
                "sequence": sequence,
                "probabilities": list(answer.probabilities),
                "membrane": answer.membrane + shift,
            }
        )
    put(world, "evaluations/two/evaluation.json", json.dumps({"golden": answers}).encode(), bucket="models")
    return "s3://models/evaluations/two/evaluation.json"


def test_a_version_must_answer_as_its_evaluation_says(empty_world: World) -> None:
    world = empty_world
    tried = smoke("two", "stack-two", golden(world, 0.005), world.aws)
    assert (tried["of"], tried["compared"]) == (8, 8)
    with pytest.raises(BrokenContract, match=r"within 0\.01, found 0\.020"):
        smoke("two", "stack-two", golden(world, 0.02), world.aws)
    put(world, "evaluations/two/evaluation.json", b'{"golden": []}', bucket="models")
    with pytest.raises(BrokenContract, match="no golden answers"):
        smoke("two", "stack-two", "s3://models/evaluations/two/evaluation.json", world.aws)


def test_a_version_without_evaluation_must_answer_alone_as_in_company(
    empty_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = empty_world
    assert smoke("two", "stack-two", "", world.aws)["of"] == len(GOLDEN)
    invoke = world.model.invoke

    def moody(sequences: list[str], **named: str) -> Any:
        answers = invoke(sequences, **named)
        return answers if len(sequences) > 1 else [answer_for("A")]

    monkeypatch.setattr(world.model, "invoke", moody)
    with pytest.raises(BrokenContract, match="in company"):
        smoke("two", "stack-two", "", world.aws)


def test_a_version_must_answer_in_time(empty_world: World) -> None:
    object.__setattr__(empty_world.aws.settings, "smoke_seconds", 0.0)
    with pytest.raises(BrokenContract, match="within 0 s"):
        smoke("two", "stack-two", "", empty_world.aws)
