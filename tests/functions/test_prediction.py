import json
from typing import Any

import pytest

from functions.errors import BrokenContract
from functions.locations import LOCATION_NAMES
from functions.prediction import Prediction, Unpredictable, read_answer

GOOD = {"probabilities": [0.55, *[0.05] * 9], "membrane": 0.2, "residues_read": 3, "truncated": False}


def answer(*predictions: Any, version: str = "m-1", locations: Any = LOCATION_NAMES) -> bytes:
    return json.dumps(
        {"model_version": version, "locations": locations, "predictions": list(predictions)}
    ).encode()


def test_labels_are_matched_by_name_not_by_place() -> None:
    backwards = GOOD | {"probabilities": GOOD["probabilities"][::-1]}  # type: ignore[index]
    (found,) = read_answer(
        answer(backwards, locations=LOCATION_NAMES[::-1]), sequences=["MKV"], model_version="m-1"
    )
    assert isinstance(found, Prediction) and found.location == LOCATION_NAMES[0]


def test_one_protein_without_an_answer_leaves_the_others_theirs() -> None:
    found = read_answer(answer(GOOD, {"error": "too odd"}), sequences=["MKV", "MKX"], model_version="m-1")
    assert isinstance(found[0], Prediction)
    assert found[1] == Unpredictable("too odd")


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        answer(GOOD, version="m-2"),
        answer(GOOD, locations=["Nucleus"]),
        answer(),
        answer(GOOD, GOOD),
        answer(GOOD | {"probabilities": [0.1] * 9}),
        answer(GOOD | {"probabilities": [0.5, *[0.05] * 10]}),
        answer(GOOD | {"probabilities": [0.5] * 10}),
        answer(GOOD | {"membrane": float("nan")}),
        answer(GOOD | {"membrane": 1.5}),
        answer(GOOD | {"residues_read": 4}),
        answer(GOOD | {"residues_read": 2}),
        answer(GOOD | {"truncated": True}),
        answer({"location": "Nucleus"}),
        answer(None),
    ],
)
def test_a_malformed_answer_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BrokenContract):
        read_answer(body, sequences=["MKV"], model_version="m-1")
