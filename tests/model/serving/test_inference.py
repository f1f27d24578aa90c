"""The four functions answer every sequence of a request on its own, in order, and leak none of them."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from model.serving.classifier import WEIGHTS, ProteinClassifier, small_config
from model.serving.heads import HeadSettings
from model.serving.inference import (
    Request,
    RequestError,
    input_fn,
    model_fn,
    output_fn,
    predict_fn,
    predict_many,
)
from model.serving.loading import Model
from model.serving.tokens import ResidueTokenizer
from tests.model.tiny import build_tiny_artifact, random_sequences, write

JSON = "application/json"
LENGTHS = [300, 1, 17, 510, 2, 180, 17, 90]


def serve(model: Model, sequences: list[Any]) -> dict[str, Any]:
    """One request through input_fn, predict_fn and output_fn, as a server does it."""
    body = json.dumps({"sequences": sequences}).encode()
    answer: dict[str, Any] = json.loads(output_fn(predict_fn(input_fn(body, JSON), model), JSON))
    return answer


def rows(answer: dict[str, Any]) -> np.ndarray:
    """All probabilities (sequences, locations + 1) of an answer."""
    return np.array([[*row["probabilities"], row["membrane"]] for row in answer["predictions"]])


def test_an_answer_has_the_shape_that_the_wire_promises(tiny_model: Model) -> None:
    answer = serve(tiny_model, random_sequences(LENGTHS))
    assert list(answer) == ["model_version", "locations", "predictions"]
    assert answer["model_version"] == "tiny-1"
    assert answer["locations"][0] == "Cell.membrane" and len(answer["locations"]) == 10
    for length, prediction in zip(LENGTHS, answer["predictions"], strict=True):
        assert list(prediction) == ["probabilities", "membrane", "residues_read", "truncated", "checksum"]
        assert len(prediction["probabilities"]) == 10
        assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-9)
        assert 0 <= prediction["membrane"] <= 1
        assert prediction["residues_read"] == length and prediction["truncated"] is False


def test_answers_do_not_depend_on_the_batch_or_its_order(tiny_model: Model) -> None:
    sequences = random_sequences(LENGTHS)
    together = rows(serve(tiny_model, sequences))
    alone = np.concatenate([rows(serve(tiny_model, [sequence])) for sequence in sequences])
    backwards = rows(serve(tiny_model, sequences[::-1]))[::-1]
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - backwards).max() < 1e-5
    assert together.std(axis=0).min() > 1e-3  # and the answers differ between sequences


def test_identical_sequences_get_identical_answers(tiny_model: Model) -> None:
    sequence, other = random_sequences([120, 400])
    answer = rows(serve(tiny_model, [sequence, other, sequence]))
    assert np.abs(answer[0] - answer[2]).max() < 1e-5


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_any_company_in_any_order_leaves_an_answer_as_it_is(
    tiny_model: Model, lengths: list[int], seed: int
) -> None:
    sequences = random_sequences(lengths, seed)
    order = np.random.default_rng(seed).permutation(len(sequences))
    expected = rows(serve(tiny_model, [sequences[0]]))[0]
    shuffled = rows(serve(tiny_model, [sequences[index] for index in order]))
    assert np.abs(shuffled[order.argmin()] - expected).max() < 1e-5


def test_several_requests_at_once_are_answered_as_each_alone(tiny_model: Model) -> None:
    requests = [
        Request(random_sequences([40, 90], seed=1)),
        Request(["M"] * 257),
        Request([*random_sequences([55], seed=2), "1"], attention=True),
    ]
    first, refused, last = predict_many(requests, tiny_model)
    assert isinstance(refused, RequestError) and "found 257" in refused.message
    for answer, request in ((first, requests[0]), (last, requests[2])):
        assert isinstance(answer, dict)
        alone = predict_fn(request, tiny_model)
        assert answer.keys() == alone.keys()
        for one, other in zip(answer["predictions"], alone["predictions"], strict=True):
            assert one.keys() == other.keys()
            assert one.get("probabilities") == pytest.approx(other.get("probabilities"), abs=1e-5)


def test_attention_is_given_for_each_residue_read_and_only_when_asked(tiny_model: Model) -> None:
    long, short, wrong = [*random_sequences([600, 50]), "mkv"]
    answers = predict_fn(Request([long, short, wrong], attention=True), tiny_model)["predictions"]
    assert [len(row["attention"]) for row in answers[:2]] == [510, 50] and "attention" not in answers[2]
    for row in answers[:2]:
        assert min(row["attention"]) >= 0 and 0.5 < sum(row["attention"]) <= 1.0001
        assert np.std(row["attention"]) > 0
    (alone,) = predict_fn(Request([short], attention=True), tiny_model)["predictions"]
    assert alone["attention"] == pytest.approx(answers[1]["attention"], abs=1e-5)
    assert "attention" not in predict_fn(Request([short]), tiny_model)["predictions"][0]


def test_attention_of_a_head_without_any_is_null(tmp_path: Path) -> None:
    head = HeadSettings(kind="linear")
    classifier = ProteinClassifier(small_config(hidden=32), 10, head)
    folder = write(tmp_path / "linear", classifier, "linear-1", 510, 256)
    description = folder / "artifact.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"head": head.describe()}))
    answers = predict_fn(Request(["MKVLA"], attention=True), model_fn(str(folder)))["predictions"][0]
    assert answers["attention"] is None


@pytest.mark.parametrize("attention", [1, "yes", None, []])
def test_attention_is_asked_for_by_true_or_false(attention: object) -> None:
    with pytest.raises(RequestError, match="to be true or false"):
        input_fn(json.dumps({"sequences": ["MKV"], "attention": attention}), JSON)


def test_more_than_one_pack_is_answered_in_the_requests_order(tiny_model: Model) -> None:
    sequences = random_sequences([*range(1, 250)])  # about 31,000 residues, several forward passes
    answer = serve(tiny_model, sequences)
    assert [row["residues_read"] for row in answer["predictions"]] == [*range(1, 250)]
    assert (
        np.abs(
            rows(answer)[[0, 100, 248]] - rows(serve(tiny_model, [sequences[i] for i in (0, 100, 248)]))
        ).max()
        < 1e-5
    )


def test_a_sequence_that_cannot_be_read_costs_the_others_nothing(tiny_model: Model) -> None:
    good = random_sequences([50, 60])
    answer = serve(tiny_model, [good[0], "", None, "MKV LAG", "mkv", good[1], 7, "MKV*", "MK\u00c9"])
    errors = {index: row["error"] for index, row in enumerate(answer["predictions"]) if "error" in row}
    assert errors == {
        1: "expected at least one residue, found an empty sequence",
        2: "expected a sequence as text, found NoneType",
        3: "expected upper-case letters A-Z, found another character at position 4",
        4: "expected upper-case letters A-Z, found another character at position 1",
        6: "expected a sequence as text, found int",
        7: "expected upper-case letters A-Z, found another character at position 4",
        8: "expected upper-case letters A-Z, found another character at position 3",
    }
    answered = np.array([[*answer["predictions"][i]["probabilities"]] for i in (0, 5)])
    assert np.abs(answered - rows(serve(tiny_model, good))[:, :10]).max() < 1e-5


def test_a_request_of_unreadable_sequences_only_is_still_answered(tiny_model: Model) -> None:
    assert ["error" in row for row in serve(tiny_model, ["", "1"])["predictions"]] == [True, True]


def test_a_long_sequence_is_read_at_both_ends_and_says_so(tiny_model: Model) -> None:
    head, middle, tail = random_sequences([255, 300, 255])
    (long, ends) = serve(tiny_model, [head + middle + tail, head + tail])["predictions"]
    assert (long["residues_read"], long["truncated"]) == (510, True)
    assert (ends["residues_read"], ends["truncated"]) == (510, False)
    assert long["probabilities"] == pytest.approx(ends["probabilities"], abs=1e-5)


def test_rare_residues_are_read_as_x(tiny_model: Model) -> None:
    answer = rows(serve(tiny_model, ["MKVUZOBJLLA", "MKVXXXXXLLA", "MKVAAAAALLA"]))
    assert np.abs(answer[0] - answer[1]).max() < 1e-6
    assert np.abs(answer[0] - answer[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON in UTF-8, found something else at character 1"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[" * 200_000, "expected JSON"),
        (b"[]", "at least one sequence"),
        (b"{}", "at least one sequence"),
        (b'{"sequences": []}', "at least one sequence"),
        (b'{"sequences": "MKV"}', "at least one sequence"),
        (b'{"inputs": ["MKV"]}', "at least one sequence"),
        (b"null", "at least one sequence"),
    ],
)
def test_a_malformed_request_is_refused_as_a_whole(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        input_fn(body, JSON)
    assert refusal.value.status_code == 400
    assert message in json.loads(refusal.value.message)["error"]


def test_too_many_sequences_are_refused(tiny_model: Model) -> None:
    with pytest.raises(RequestError, match="at most 256 sequences, found 257"):
        predict_fn(["M"] * 257, tiny_model)


def test_another_content_type_is_refused() -> None:
    assert input_fn('{"sequences": ["MKV"]}', "application/json; charset=utf-8") == Request(["MKV"])
    with pytest.raises(RequestError) as refusal:
        input_fn(b">P1\nMKV", "text/x-fasta")
    assert refusal.value.status_code == 415


@pytest.mark.parametrize("accept", [JSON, "*/*", "text/html, application/*;q=0.5", ""])
def test_json_is_what_may_be_accepted(accept: str) -> None:
    assert json.loads(output_fn({"predictions": []}, accept)) == {"predictions": []}


def test_a_caller_that_accepts_no_json_is_refused() -> None:
    with pytest.raises(RequestError) as refusal:
        output_fn({}, "text/csv")
    assert refusal.value.status_code == 406


def test_calls_from_many_threads_give_the_same_answers(tiny_model: Model) -> None:
    requests = [random_sequences([40, 90, 150], seed=seed) for seed in range(8)]
    expected = [rows(serve(tiny_model, request)) for request in requests]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda request: rows(serve(tiny_model, request)), requests * 3))
    for index, answer in enumerate(answers):
        assert np.abs(answer - expected[index % 8]).max() < 1e-5


def test_no_sequence_is_printed_logged_or_repeated(
    tiny_model: Model, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = "MWWHKWCWWHMKCWYM"
    with caplog.at_level(logging.DEBUG):
        answer = json.dumps(serve(tiny_model, [secret, secret.lower(), secret + "*", secret + " "]))
        with pytest.raises(RequestError) as refusal:
            input_fn(f'{{"sequences": ["{secret}"'.encode(), JSON)
    printed = capfd.readouterr()
    for text in (answer, str(refusal.value), refusal.value.message, printed.out, printed.err, caplog.text):
        assert secret[:6] not in text.upper()


def test_a_broken_weight_gives_an_error_and_never_a_number(tmp_path: Path) -> None:
    folder = build_tiny_artifact(tmp_path / "broken")
    weights = load_file(folder / WEIGHTS)
    # NaN for W alone: the other sequences are as good as ever.
    tokenizer = ResidueTokenizer.read(folder)
    weights["encoder.embeddings.word_embeddings.weight"][tokenizer.encode("W")[1]] = torch.nan
    save_file(weights, folder / WEIGHTS)
    whole, broken = serve(model_fn(str(folder)), ["MKV", "MWV"])["predictions"]
    assert "probabilities" in whole
    assert broken == {"error": "the model gave no finite probabilities for this sequence"}


def test_the_temperature_softens_the_answer(tmp_path: Path) -> None:
    folder = build_tiny_artifact(tmp_path / "soft")
    sharp = serve(model_fn(str(folder)), ["MKVLAAGIV"])["predictions"][0]
    description = folder / "artifact.json"
    fields = json.loads(description.read_text())
    fields["calibration"] = {"location_temperature": 4.0, "membrane_temperature": 4.0}
    description.write_text(json.dumps(fields))
    soft = serve(model_fn(str(folder)), ["MKVLAAGIV"])["predictions"][0]
    assert max(soft["probabilities"]) < max(sharp["probabilities"])
    logit = np.log(sharp["membrane"] / (1 - sharp["membrane"]))
    assert soft["membrane"] == pytest.approx(1 / (1 + np.exp(-logit / 4)), abs=1e-6)


@pytest.mark.parametrize("body", ['"M G K K D A S T"', '"MGKKDAST"'])
def test_a_body_as_the_article_sends_it_is_answered(tiny_model: Model, body: str) -> None:
    spaced = predict_fn(input_fn(body, "application/json"), tiny_model)
    assert spaced == predict_fn(input_fn('{"sequences": ["MGKKDAST"]}', "application/json"), tiny_model)
    assert spaced["predictions"][0]["residues_read"] == 8
