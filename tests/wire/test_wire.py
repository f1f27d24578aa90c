"""The one place where both sides of the wire meet: the real model answers, the real client reads."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.domain.errors import BrokenContract
from functions.domain.explanation import dumped, loaded, spread_out
from functions.domain.locations import LOCATION_NAMES
from functions.domain.prediction import Prediction
from functions.domain.protein import ALPHABET
from functions.services.endpoint import Endpoint
from model.proteins.labelled import LOCATIONS
from model.serving import inference
from tests.model.tiny import build_tiny_artifact, random_sequences

CALL = {"component": "stack-tiny-1", "model_version": "tiny-1"}


class Container:
    """A serving container around the four functions, behind boto3's call."""

    def __init__(self, folder: Path) -> None:
        self.model = inference.model_fn(str(folder))

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        try:
            sequences = inference.input_fn(request["Body"], request["ContentType"])
            answer = inference.output_fn(inference.predict_fn(sequences, self.model), request["Accept"])
        except inference.RequestError as error:
            fields = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": error.status_code}
            raise ClientError(fields, "InvokeEndpoint") from None  # type: ignore[arg-type]
        return {"Body": io.BytesIO(answer.encode())}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    folder = build_tiny_artifact(tmp_path_factory.mktemp("artifact"))
    return Endpoint(Container(folder), "stack")  # type: ignore[arg-type]


def test_the_client_reads_what_the_model_answers(endpoint: Endpoint) -> None:
    sequences = random_sequences([1, 40, 510, 511, 3000])
    answers = endpoint.invoke(sequences, **CALL)
    assert all(isinstance(answer, Prediction) for answer in answers)
    assert [answer.residues_read for answer in answers] == [1, 40, 510, 510, 510]  # type: ignore[union-attr]
    assert [answer.truncated for answer in answers] == [False, False, False, True, True]  # type: ignore[union-attr]


@pytest.mark.parametrize("length", [40, 511, 3000])
def test_answers_in_the_wrong_order_are_refused_though_their_lengths_fit(
    endpoint: Endpoint, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = inference.predict_fn

    def turned(*arguments: Any) -> dict[str, Any]:
        answer = predict(*arguments)
        return answer | {"predictions": answer["predictions"][::-1]}

    monkeypatch.setattr(inference, "predict_fn", turned)
    with pytest.raises(BrokenContract, match="found another's"):
        endpoint.invoke(random_sequences([length, length]), **CALL)


@pytest.mark.parametrize("length", [3, 40, 511])
def test_the_client_reads_how_the_model_explains_an_answer(endpoint: Endpoint, length: int) -> None:
    (sequence,) = random_sequences([length])
    (answer,) = endpoint.invoke([sequence], **CALL)
    assert isinstance(answer, Prediction)
    explanation = endpoint.explain(sequence, **CALL)
    assert explanation.location == answer.location
    assert explanation.probability == pytest.approx(answer.confidence, abs=1e-3)
    assert len(spread_out(explanation, sequence)["importance"]) == length
    assert loaded(dumped(explanation)) == explanation


def test_every_letter_the_functions_let_pass_the_model_reads(endpoint: Endpoint) -> None:
    answers = endpoint.invoke([ALPHABET.decode(), *(letter + "MKV" for letter in ALPHABET.decode())], **CALL)
    assert all(isinstance(answer, Prediction) for answer in answers)


def test_an_answer_does_not_depend_on_its_company(endpoint: Endpoint) -> None:
    sequences = random_sequences([30, 500, 77])
    together = endpoint.invoke(sequences, **CALL)
    alone = [endpoint.invoke([sequence], **CALL)[0] for sequence in sequences]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, Prediction) and isinstance(other, Prediction)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_both_sides_name_the_same_locations() -> None:
    assert set(LOCATIONS) == set(LOCATION_NAMES)


def test_another_model_version_is_not_taken_for_the_pinned_one(endpoint: Endpoint) -> None:
    with pytest.raises(BrokenContract, match="expected answers of model other-1, found 'tiny-1'"):
        endpoint.invoke(["MKV"], component="stack-other-1", model_version="other-1")


def test_a_request_over_the_models_limit_is_loud(endpoint: Endpoint) -> None:
    with pytest.raises(BrokenContract):
        endpoint.invoke(["MKV"] * 257, **CALL)


def test_the_golden_request_is_one_the_model_takes(endpoint: Endpoint) -> None:
    golden = json.loads((Path(__file__).parents[2] / "events" / "endpoint-request.json").read_text())
    assert isinstance(endpoint.invoke(golden["sequences"], **CALL)[0], Prediction)
