import json
from binascii import crc32
from typing import Any

import pytest

from functions.domain.errors import BrokenContract
from functions.domain.locations import LOCATION_NAMES
from functions.domain.prediction import Prediction, Unpredictable, read_answer

GOOD = {"probabilities": [0.55, *[0.05] * 9], "membrane": 0.2, "residues_read": 3, "truncated": False}


def answer(*predictions: Any, version: str = "m-1", locations: Any = LOCATION_NAMES) -> bytes:
    return json.dumps(
        {"model_version": version, "locations": locations, "predictions": list(predictions)}
    ).encode()


def test_labels_are_matched_by_name_not_by_place() -> None:
    backwards = GOOD | {"probabilities": GOOD["probabilities"][::-1]}  # type: ignore[index]
    (prediction,) = read_answer(
        answer(backwards, locations=LOCATION_NAMES[::-1]), sequences=["MKV"], model_version="m-1"
    )
    assert isinstance(prediction, Prediction) and prediction.location == LOCATION_NAMES[0]


def test_one_protein_without_an_answer_leaves_the_others_theirs() -> None:
    answers = read_answer(answer(GOOD, {"error": "too odd"}), sequences=["MKV", "MKX"], model_version="m-1")
    assert isinstance(answers[0], Prediction)
    assert answers[1] == Unpredictable("too odd")


def test_another_proteins_answer_is_refused_though_it_fits() -> None:
    mine, others = (GOOD | {"checksum": f"{crc32(sequence):08x}"} for sequence in (b"MKV", b"VKM"))
    assert read_answer(answer(mine, others), sequences=["MKV", "VKM"], model_version="m-1")
    with pytest.raises(BrokenContract, match="found another's"):
        read_answer(answer(others, mine), sequences=["MKV", "VKM"], model_version="m-1")


@pytest.mark.parametrize("read", [b"M", b"MT", b"MKT", b"MKAT", b"MKVAT", b"MKVLAT"])
def test_of_a_long_protein_the_checksum_is_that_of_the_ends_which_were_read(read: bytes) -> None:
    prediction = GOOD | {
        "residues_read": len(read),
        "truncated": len(read) < 6,
        "checksum": f"{crc32(read):08x}",
    }
    assert read_answer(answer(prediction), sequences=["MKVLAT"], model_version="m-1")
    with pytest.raises(BrokenContract, match="found another's"):
        read_answer(answer(prediction), sequences=["WKVLAW"], model_version="m-1")


def test_a_confidence_below_the_artifacts_own_threshold_is_uncertain() -> None:
    def read(**more: Any) -> Any:
        body = json.dumps(json.loads(answer(GOOD)) | more).encode()
        (prediction,) = read_answer(body, sequences=["MKV"], model_version="m-1")
        return prediction

    assert read(uncertain_below=0.56).uncertain is True
    assert read(uncertain_below=0.55).uncertain is False
    assert read().uncertain is None  # an artifact of an older release


def test_a_protein_is_outside_of_the_models_knowledge_only_beyond_the_artifacts_own_bound() -> None:
    def read(**more: Any) -> Any:
        prediction = GOOD | {"outside": 0.97, "outside_like": "prokaryotic"}
        body = json.dumps(json.loads(answer(prediction)) | more).encode()
        (answered,) = read_answer(body, sequences=["MKV"], model_version="m-1")
        return answered.outside, answered.outside_like

    assert read(outside_above=0.95) == (0.97, "prokaryotic")
    assert read(outside_above=0.97) == (0.97, "")
    assert read() == (0.97, "")


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
        answer(GOOD | {"checksum": "00000000"}),
        answer(GOOD | {"checksum": None}),
        answer(GOOD | {"outside": 1.5, "outside_like": "artificial"}),
        answer(GOOD | {"outside": float("nan"), "outside_like": "artificial"}),
        answer(GOOD | {"outside": "0.5", "outside_like": "artificial"}),
        answer(GOOD | {"outside": 0.5}),
        answer(GOOD)[:-1] + b', "uncertain_below": 2}',
        answer(GOOD)[:-1] + b', "outside_above": true}',
        answer({"location": "Nucleus"}),
        answer(None),
    ],
)
def test_a_malformed_answer_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BrokenContract):
        read_answer(body, sequences=["MKV"], model_version="m-1")


def test_a_model_may_say_nothing_of_membranes() -> None:
    [prediction] = read_answer(answer(GOOD | {"membrane": None}), sequences=["MKV"], model_version="m-1")
    assert isinstance(prediction, Prediction) and prediction.membrane is None
