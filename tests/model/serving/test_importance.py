"""An explanation marks the residues that an answer hangs on, and says itself how far to believe it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import model
from model.proteins.labelled import read_labelled
from model.serving import answering
from model.serving.importance import (
    DRAWS,
    MAX_STRETCHES,
    MIN_STRETCHES,
    MIN_WIDTH,
    Ask,
    elsewhere,
    explain,
    replaced,
    stretches,
)
from model.serving.inference import Request, RequestError, input_fn, model_fn, output_fn, predict_fn
from model.serving.loading import Model
from tests.model.tiny import build_tiny_bert_artifact, build_tiny_ensemble, random_sequences

JSON = "application/json"
PLENTY = 1 << 30
ROOT = Path(__file__).parents[3]
DEEPLOC = ROOT.parent / "shared" / "data" / "deeploc" / "deeploc_data.fasta"
ADH1 = (  # yeast alcohol dehydrogenase 1, P00330, of the cytoplasm: its first 240 residues
    "MSIPETQKGVIFYESHGKLEYKDIPVPKPKANELLINVKYSGVCHTDLHAWHGDWPLPVKLPLVGGHEGAGVVVGMGENVKGWKIGDYAGIKWLNGSCMA"
    "CEYCELGNESNCPHADLSGYTHDGSFQQYATADAVQAAHIPQGTDLAQVAPILCAGITVYKALKSANLMAGHWVAISGAAGGLGSLAVQYAKAMGYRVLGI"
    "DGGEGKEELFRSIGGEVFIDFTKEKDIVGAVLKATDGGAHG"
)
COX4 = "MLSLRQSIRFFKPATRTLCSSRYLLQQKP"  # the presequence of yeast's COX4, P04037
ALBUMIN = "MKWVTFISLLFLFSSAYSRGVFRR"  # the signal peptide and propeptide of human albumin, P02768


def looking_for(signal: str, at: Callable[[str], str] = lambda sequence: sequence) -> Ask:
    """A model that puts a protein into its second location by the residues of a signal that it still has."""

    def ask(sequences: Sequence[str]) -> np.ndarray:
        rows = []
        for sequence in sequences:
            part = at(sequence)
            best = max(
                sum(map(str.__eq__, signal, part[place:]))
                for place in range(max(1, len(part) - len(signal) + 1))
            )
            share = 0.05 + 0.9 * best / len(signal)
            rows.append([1 - share, share])
        return np.array(rows)

    return ask


@pytest.mark.parametrize(
    ("name", "sequence", "ask", "first", "last"),
    [
        ("a signal at the beginning", "MRRWWHKCMW" + "A" * 190, looking_for("MRRWWHKCMW"), 0, 10),
        ("a signal inside", "A" * 90 + "PKKKRKVEDP" + "A" * 100, looking_for("PKKKRKVEDP"), 90, 100),
        ("a signal at the end", "A" * 197 + "SKL", looking_for("SKL", lambda text: text[-3:]), 197, 200),
    ],
)
def test_importance_falls_on_a_planted_signal(
    name: str, sequence: str, ask: Ask, first: int, last: int
) -> None:
    explanation = explain(ask, sequence, PLENTY)
    assert explanation is not None
    importance = np.array(explanation["importance"])
    inside = importance[first:last]
    reach = MIN_WIDTH - 1  # a stretch that hides a residue of the signal hides as many beside it
    outside = np.delete(importance, range(max(first - reach, 0), min(last + reach, len(sequence))))
    assert inside.min() > 0.1 and abs(outside).max() < 1e-9, name
    test = explanation["test"]
    assert set(range(first, last)) <= set(test["marked"])
    assert test["without_marked"] < 0.5 * explanation["probability"] < test["without_others"]


def test_residues_that_speak_against_the_location_are_negative() -> None:
    def ask(sequences: Sequence[str]) -> np.ndarray:
        against = np.array([0.3 * ("DDDD" in sequence) for sequence in sequences])
        return np.stack([0.1 + against, 0.9 - against], axis=1)

    explanation = explain(ask, "A" * 60 + "DDDD" + "A" * 60, PLENTY)
    assert explanation is not None
    assert explanation["location"] == 1 and min(explanation["importance"][60:64]) < -1


@given(length=st.integers(1, 3_000), tokens=st.integers(0, 1 << 19))
def test_every_residue_is_hidden_and_the_work_is_bounded(length: int, tokens: int) -> None:
    starts, width = stretches(length, tokens)
    hidden = np.zeros(length, dtype=int)
    for start in starts:
        hidden[max(start, 0) : start + width] += 1
    assert hidden.min() >= 1
    assert len(starts) <= MAX_STRETCHES + 3
    asked = len(starts) + 2 * DRAWS
    assert asked * (length + 2) <= tokens + 4 * (length + 2) or len(starts) <= MIN_STRETCHES + 3


@given(length=st.integers(1, 400), data=st.data())
def test_as_many_other_residues_lie_in_runs_of_the_same_lengths(length: int, data: st.DataObject) -> None:
    places = np.array(sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1))))
    random = np.random.default_rng(length)
    others = elsewhere(places, length, random)
    assert len(set(others.tolist())) == len(places) and others.min() >= 0 and others.max() < length
    changed = replaced("W" * length, others, random)
    assert len(changed) == length
    assert {place for place in range(length) if changed[place] != "W"} <= set(others.tolist())


def test_an_answer_that_is_no_number_is_not_explained() -> None:
    def ask(sequences: Sequence[str]) -> np.ndarray:
        return np.array([[0.9, 0.1] if "X" not in sequence else [np.nan, np.nan] for sequence in sequences])

    assert explain(ask, "MKVLAAGIVG", PLENTY) is None


def explained(sequence: str, made: Model) -> dict[str, object]:
    """The prediction for one sequence with its explanation, as a server gives it."""
    body = json.dumps({"sequences": [sequence], "explain": True})
    answer = json.loads(output_fn(predict_fn(input_fn(body, JSON), made), JSON))
    prediction: dict[str, object] = answer["predictions"][0]
    return prediction


@pytest.mark.parametrize("built", ["tiny", "bert", "ensemble"])
def test_each_kind_of_model_explains_the_answer_that_it_gives(
    built: str, tiny_model: Model, tmp_path: Path
) -> None:
    made = tiny_model
    if built == "bert":
        made = model_fn(str(build_tiny_bert_artifact(tmp_path)))
    elif built == "ensemble":
        made = model_fn(str(build_tiny_ensemble(tmp_path)))
    long, short = random_sequences([530, 40])
    for sequence, read in ((long, 510), (short, 40)):
        plain = predict_fn(Request([sequence]), made)["predictions"][0]
        prediction = explained(sequence, made)
        explanation = prediction.pop("explanation")
        assert isinstance(explanation, dict)
        assert prediction.keys() == plain.keys()
        assert prediction["probabilities"] == pytest.approx(plain["probabilities"], abs=1e-6)
        best = int(np.argmax(plain["probabilities"]))
        assert explanation["location"] == made.artifact.locations[best]
        assert explanation["probability"] == pytest.approx(plain["probabilities"][best], abs=1e-4)
        assert len(explanation["importance"]) == read and np.std(explanation["importance"]) > 0
        assert set(explanation["test"]) == {"marked", "without_marked", "without_others"}


def test_the_same_protein_is_explained_alike_each_time(tiny_model: Model) -> None:
    (sequence,) = random_sequences([90])
    assert explained(sequence, tiny_model) == explained(sequence, tiny_model)


def test_a_sequence_that_cannot_be_read_has_an_error_and_no_explanation(tiny_model: Model) -> None:
    assert explained("not one", tiny_model).keys() == {"error"}


@pytest.mark.parametrize("asked", [1, "yes", None])
def test_an_explanation_is_asked_for_by_true_or_false(asked: object) -> None:
    with pytest.raises(RequestError, match='expected \\\\"explain\\\\" to be true or false'):
        input_fn(json.dumps({"sequences": ["MKV"], "explain": asked}), JSON)


def test_one_sequence_at_a_time_is_explained() -> None:
    with pytest.raises(RequestError, match="expected one sequence"):
        input_fn(json.dumps({"sequences": ["MKV", "MKA"], "explain": True}), JSON)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return model_fn(str(Path(model.__file__).parent / "default"))


@pytest.mark.parametrize(
    ("location", "before", "after"),
    [
        ("Mitochondrion", COX4, ""),
        ("Endoplasmic.reticulum", ALBUMIN, "KDEL"),
        ("Peroxisome", "", "SKL"),
        ("Extracellular", ALBUMIN, ""),
    ],
)
def test_the_shipped_model_marks_the_signals_that_it_was_taught(
    location: str, before: str, after: str, shipped: Model
) -> None:
    """A signal is put onto a protein of the cytoplasm; of two such signals the end counts as well."""
    sequence = before + ADH1[bool(before) :] + after
    (plain, _) = (answering.answer(shipped, [each]).probabilities[0] for each in (ADH1, sequence))
    place = shipped.artifact.locations.index(location)

    def ask(sequences: Sequence[str]) -> np.ndarray:
        """The location of the signal against all others, also where it is not the most probable one."""
        share = answering.answer(shipped, list(sequences)).probabilities[:, place]
        return np.stack([share, np.minimum(1 - share, share)], axis=1)

    explanation = explain(ask, sequence, 64 * len(sequence))
    assert explanation is not None
    importance = np.array(explanation["importance"])
    assert explanation["probability"] > plain[place]
    planted = [*range(len(before)), *range(len(sequence) - len(after), len(sequence))]
    reach = explanation["window"]  # a stretch that hides the signal hides as much beside it
    assert np.abs(np.array(planted) - importance.argmax()).min() < reach
    assert importance[planted].mean() > 1.5 * np.delete(importance, planted).mean()
    test = explanation["test"]
    assert test["without_marked"] < test["without_others"]


@pytest.mark.shared
def test_what_is_marked_carries_the_answer_and_as_much_elsewhere_does_not(shipped: Model) -> None:
    """Of proteins that chose nothing in training; docs/model.md has the figures of more of them."""
    chosen = [each for each in read_labelled(DEEPLOC) if 60 <= len(each.sequence) <= 1_000][::400]
    tests = []
    for each in chosen:
        explanation = explained(each.sequence, shipped)["explanation"]
        assert isinstance(explanation, dict)
        tests.append(
            [
                explanation["probability"],
                *(explanation["test"][f"without_{which}"] for which in ("marked", "others")),
            ]
        )
    whole, marked, others = np.array(tests).T
    assert len(tests) >= 25
    assert (marked < others).mean() >= 0.9
    assert (whole - marked).mean() > 3 * (whole - others).mean()
