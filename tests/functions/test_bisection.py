"""The search for what a model fails on: what it finds, what it costs, and that outages cost nobody."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.endpoint import CANARY, Bisection, Endpoint
from functions.errors import EndpointRefused, EndpointUnavailable
from functions.prediction import Answer, Prediction, Unpredictable
from tests.functions.world import answer_for


class Model(Endpoint):
    """Fails on some sequences; and may be gone for a call after each failure, or sick from one call to another."""

    def __init__(self, poison: set[str], *, dies: bool = False, sick: range = range(0)) -> None:
        self.poison, self.dies, self.sick = poison, dies, sick
        self.heard = 0
        self.gone = False

    def invoke(self, sequences: list[str], **_: str) -> list[Answer]:
        if self.gone:
            self.gone = False
            raise EndpointUnavailable("being started again")
        self.heard += 1
        if self.heard in self.sick or self.poison & set(sequences):
            self.gone = self.dies
            raise EndpointRefused("the model failed with status 500")
        return [answer_for(sequence) for sequence in sequences]


def search(model: Model, sequences: list[str]) -> dict[str, Answer]:
    """Search, and after each interruption go on with what is left, as `predict` does."""
    progress: dict[str, Any] | None = None
    answers: dict[str, Answer] = {}
    for _ in range(1_000):
        left = {name: name for name in sequences if name not in answers}
        bisection = Bisection(model, "stack-m-1", "m-1", left, progress)
        try:
            return answers | bisection.answers()
        except EndpointUnavailable:
            progress = json.loads(json.dumps(bisection.progress))
            answers |= {n: answer for n, answer in bisection.found.items() if isinstance(answer, Prediction)}
    raise AssertionError("the search never ends")


def extra_calls(size: int) -> int:
    """What one poisonous protein in a batch of this size may cost."""
    return max(3, 2 * (size - 1).bit_length())


@pytest.mark.parametrize("dies", [False, True])
def test_one_poisonous_protein_fails_alone_within_the_promised_calls_wherever_it_is(dies: bool) -> None:
    for size in range(1, 70):
        sequences = [f"M{number}" for number in range(size)]
        for poison in sequences:
            model = Model({poison}, dies=dies)
            answers = search(model, sequences)
            assert [n for n in sequences if isinstance(answers[n], Unpredictable)] == [poison]
            assert model.heard - 1 <= extra_calls(size), f"{poison} of {size}"


@given(size=st.integers(1, 40), data=st.data(), dies=st.booleans())
def test_every_poisonous_protein_is_found_and_no_other(size: int, data: st.DataObject, dies: bool) -> None:
    sequences = [f"M{number}" for number in range(size)]
    poison = data.draw(st.sets(st.sampled_from(sequences)))
    model = Model(poison, dies=dies)
    answers = search(model, sequences)
    assert {n for n, answer in answers.items() if isinstance(answer, Unpredictable)} == poison
    assert set(answers) == set(sequences)
    assert model.heard - 1 <= len(poison) * (extra_calls(size) + 1)


@given(size=st.integers(1, 40), start=st.integers(1, 30), length=st.integers(1, 60))
def test_a_model_that_is_sick_for_a_while_costs_nobody(size: int, start: int, length: int) -> None:
    sequences = [f"M{number}" for number in range(size)]
    answers = search(Model(set(), sick=range(start, start + length)), sequences)
    assert all(isinstance(answers[name], Prediction) for name in sequences)


def test_a_model_that_fails_on_everything_is_asked_little_and_blames_nobody() -> None:
    model = Model({CANARY, *(f"M{number}" for number in range(500))})
    bisection = Bisection(model, "stack-m-1", "m-1", {f"M{n}": f"M{n}" for n in range(500)})
    with pytest.raises(EndpointUnavailable, match="fails on everything"):
        bisection.answers()
    assert model.heard <= 1 + 9 + 1 + 1  # together, down to one, the others, a protein any model reads
    assert not bisection.found and not bisection.progress["refused"] and not bisection.progress["suspects"]
