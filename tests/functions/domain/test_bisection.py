"""The search for proteins that a model fails on: its result, its cost, and that outages cost nobody."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.bisection import CANARY, Bisection
from functions.domain.errors import EndpointRefused, EndpointTimedOut, EndpointUnavailable
from functions.domain.prediction import Answer, Prediction, Unpredictable
from functions.services.endpoint import WRITING_SECONDS, Endpoint
from tests.functions.world import answer_for


class Model(Endpoint):
    """Fails on some sequences; and may be gone for a call after each failure, or sick from one call to another."""

    def __init__(self, poison: set[str], *, dies: bool = False, sick: range = range(0)) -> None:
        self.poison, self.dies, self.sick = poison, dies, sick
        self.calls = 0
        self.is_dead = False

    def invoke(self, sequences: list[str], **_: str) -> list[Answer]:
        if self.is_dead:
            self.is_dead = False
            raise EndpointUnavailable("being started again")
        self.calls += 1
        if self.calls in self.sick or self.poison & set(sequences):
            self.is_dead = self.dies
            raise EndpointRefused("the model failed with status 500")
        return [answer_for(sequence) for sequence in sequences]


def search(model: Model, sequences: list[str]) -> dict[str, Answer]:
    """Search, and after each interruption go on with the rest, as `predict` does."""
    progress: dict[str, Any] | None = None
    answers: dict[str, Answer] = {}
    for _ in range(1_000):
        unanswered = {name: name for name in sequences if name not in answers}
        bisection = Bisection(model.invoke, unanswered, progress)
        try:
            return answers | bisection.answers()
        except EndpointUnavailable:
            progress = json.loads(json.dumps(bisection.progress))
            answers |= {
                n: answer for n, answer in bisection.answered.items() if isinstance(answer, Prediction)
            }
    raise AssertionError("the search never ends")


def extra_calls(size: int) -> int:
    """The number of calls that one poisonous protein may cost in a batch of this size."""
    return max(3, 2 * (size - 1).bit_length())


@pytest.mark.parametrize("dies", [False, True])
def test_one_poisonous_protein_fails_alone_within_the_promised_calls_wherever_it_is(dies: bool) -> None:
    for size in range(1, 70):
        sequences = [f"M{number}" for number in range(size)]
        for poison in sequences:
            model = Model({poison}, dies=dies)
            answers = search(model, sequences)
            assert [n for n in sequences if isinstance(answers[n], Unpredictable)] == [poison]
            assert model.calls - 1 <= extra_calls(size), f"{poison} of {size}"


@given(size=st.integers(1, 40), data=st.data(), dies=st.booleans())
def test_every_poisonous_protein_is_found_and_no_other(size: int, data: st.DataObject, dies: bool) -> None:
    sequences = [f"M{number}" for number in range(size)]
    poison = data.draw(st.sets(st.sampled_from(sequences)))
    model = Model(poison, dies=dies)
    answers = search(model, sequences)
    assert {n for n, answer in answers.items() if isinstance(answer, Unpredictable)} == poison
    assert set(answers) == set(sequences)
    assert model.calls - 1 <= len(poison) * (extra_calls(size) + 1)


@given(size=st.integers(1, 40), start=st.integers(1, 30), length=st.integers(1, 60))
def test_a_model_that_is_sick_for_a_while_costs_nobody(size: int, start: int, length: int) -> None:
    sequences = [f"M{number}" for number in range(size)]
    answers = search(Model(set(), sick=range(start, start + length)), sequences)
    assert all(isinstance(answers[name], Prediction) for name in sequences)


def test_a_model_that_fails_on_everything_is_asked_little_and_blames_nobody() -> None:
    model = Model({CANARY, *(f"M{number}" for number in range(500))})
    bisection = Bisection(model.invoke, {f"M{n}": f"M{n}" for n in range(500)})
    with pytest.raises(EndpointUnavailable, match="fails on everything"):
        bisection.answers()
    assert model.calls <= 1 + 9 + 1 + 1  # together, down to one, the others, a protein any model reads
    assert not bisection.answered and not bisection.progress["refused"] and not bisection.progress["suspects"]


class Clock(Model):
    """Answers as `Model` does, and takes its time: some seconds a sequence, for ever over one it hangs on."""

    def __init__(self, *, each: float = 0.0, hangs: set[str] | None = None) -> None:
        super().__init__(set())
        self.each, self.hangs = each, hangs or set()
        self.seconds = 0.0
        self.asked: list[list[str]] = []

    def invoke(self, sequences: list[str], **named: str) -> list[Answer]:
        self.asked.append(sequences)
        duration = 61.0 if self.hangs & set(sequences) else self.each * len(sequences)
        self.seconds += min(duration, 60.0)
        if duration > 60:
            raise EndpointTimedOut("no answer in time")
        return super().invoke(sequences, **named)


def test_too_much_at_once_is_asked_for_in_smaller_groups_until_all_is_answered() -> None:
    sequences = [f"M{number}" for number in range(30)]
    model = Clock(each=7)
    answers = search(model, sequences)
    assert all(isinstance(answers[name], Prediction) for name in sequences)
    assert max(map(len, model.asked[-3:])) <= 8


def test_one_protein_that_takes_too_long_is_waited_for_and_those_beside_it_are_answered() -> None:
    sequences = [f"M{number}" for number in range(9)]
    model = Clock(hangs={"M3"})
    bisection = Bisection(model.invoke, {name: name for name in sequences})
    with pytest.raises(EndpointTimedOut):
        bisection.answers()
    assert set(bisection.answered) == set(sequences) - {"M3"}
    progress, calls = json.loads(json.dumps(bisection.progress)), len(model.asked)
    resumed = Bisection(model.invoke, {"M3": "M3"}, progress)
    with pytest.raises(EndpointTimedOut):
        resumed.answers()
    assert len(model.asked) == calls + 1 and not resumed.has_replied, (
        "each look costs one call, and waits get longer"
    )
    model.hangs = set()
    assert isinstance(Bisection(model.invoke, {"M3": "M3"}, progress).answers()["M3"], Prediction)


def test_a_model_that_is_too_slow_for_anything_is_left_alone_soon() -> None:
    model = Clock(each=100)
    bisection = Bisection(model.invoke, {f"M{n}": f"M{n}" for n in range(500)})
    with pytest.raises(EndpointTimedOut):
        bisection.answers()
    assert len(model.asked) <= 1 + 9 + 1 and not bisection.answered


@given(size=st.integers(1, 30), each=st.floats(0, 59), data=st.data())
def test_no_time_out_is_ever_a_verdict(size: int, each: float, data: st.DataObject) -> None:
    sequences = [f"M{number}" for number in range(size)]
    model = Clock(each=each, hangs=data.draw(st.sets(st.sampled_from(sequences), max_size=3)))
    progress: dict[str, Any] | None = None
    unanswered = {name: name for name in sequences}
    for _ in range(40):
        bisection = Bisection(model.invoke, unanswered, progress)
        try:
            bisection.answers()
        except EndpointTimedOut:
            progress = bisection.progress
        assert all(isinstance(answer, Prediction) for answer in bisection.answered.values())
        unanswered = {name: name for name in unanswered if name not in bisection.answered}
        if set(unanswered) <= model.hangs:
            return
    raise AssertionError(f"never answered: {sorted(set(unanswered) - model.hangs)}")


@given(size=st.integers(1, 40), poison=st.integers(0, 39), each=st.floats(0, 20))
def test_no_call_begins_that_could_outlive_the_function(size: int, poison: int, each: float) -> None:
    """The function is ended after 300 s; a search that is stopped before goes on where it was."""
    sequences = [f"M{number}" for number in range(size)]
    model = Clock(each=each)
    model.poison = {f"M{poison}"}
    progress: dict[str, Any] | None = None
    answers: dict[str, Answer] = {}
    for _ in range(200):
        began = model.seconds

        def seconds_left(began: float = began) -> float:
            return 300 - (model.seconds - began)

        unanswered = {name: name for name in sequences if name not in answers}
        ask = model.asking(component="stack-m-1", model_version="m-1", seconds_left=seconds_left)
        bisection = Bisection(ask, unanswered, progress)
        try:
            answers |= bisection.answers()
        except EndpointUnavailable:
            progress = json.loads(json.dumps(bisection.progress))
            answers |= {
                n: answer for n, answer in bisection.answered.items() if isinstance(answer, Prediction)
            }
        assert model.seconds - began <= 300 - WRITING_SECONDS
        if len(answers) == size:
            break
    assert {n for n, answer in answers.items() if isinstance(answer, Unpredictable)} == model.poison & {
        *sequences
    }
