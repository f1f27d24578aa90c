"""A model with labels of its own: pinned with the upload, and in every row, export, page and answer of the API."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas
import pytest

import functions.query
from functions.domain.errors import BrokenContract
from functions.domain.explanation import read_explanation
from functions.domain.locations import TEN, LabelSet, Location, read_labels
from functions.domain.prediction import Prediction, read_answer
from functions.domain.remarks import doubts
from functions.domain.rows import COLUMNS, FORMATS, columns_of
from functions.page.data import Data
from functions.plan import LabelledFile, Parent, described, parent_of, plan, snapshot_name
from functions.receive import receive
from functions.services.s3 import read_json
from tests.functions.test_query import get, walk
from tests.functions.world import World, answer_among

ONE = LabelSet(
    (
        Location("Matrix", "Mitochondrial matrix", ("GO:0005759",)),
        Location("Inner membrane", "Inner membrane", ("GO:0005743",)),
        Location("Nucleus", "Cell nucleus", ("GO:0005634", "GO:0005759")),
    )
)
SEVERAL = LabelSet(tuple(each._replace(threshold=0.3) for each in ONE.locations))
TEN_SEVERAL = LabelSet(tuple(each._replace(threshold=0.5) for each in TEN.locations))
FILE = (
    "".join(
        f">P{number:02} made up\n{'ACDEFGHIKL'[number % 10]}{'MKVLAAGIVGLPA' * (2 + number % 2)}\n"
        for number in range(12)
    ).encode()
    + b">bad\nMK1V\n"
)


@pytest.fixture(
    params=[ONE, SEVERAL, TEN_SEVERAL], ids=["one of three", "several of three", "several of ten"]
)
def labels(request: pytest.FixtureRequest) -> LabelSet:
    label_set: LabelSet = request.param
    return label_set


@pytest.fixture
def world(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(functions.query, "services", lambda: empty_world.aws)
    return empty_world


def test_labels_are_read_as_they_were_written(labels: LabelSet) -> None:
    assert read_labels(labels.text).own == labels.own and read_labels(labels.text).several is labels.several
    assert TEN.text == "" and read_labels("") is TEN and not TEN.own


def test_every_row_and_export_is_of_the_models_labels(world: World, labels: LabelSet) -> None:
    world.activate("own-1", labels)
    identity = world.run(world.upload(FILE))
    rows = world.rows(identity)
    assert [row["status"] for row in rows] == ["predicted"] * 12 + ["rejected"]
    assert all(tuple(row) == columns_of(labels) for row in rows)
    assert [name for name in rows[0] if name.startswith("p:")] == [f"p:{name}" for name in labels.names]
    for row in rows[:12]:
        named = row["location"].split("|")
        assert set(named) <= set(labels.names) and len(named) <= (2 if labels.several else 1)
        assert set(row["go"].split(",")) == {term for name in named for term in labels.by_name[name].go}
        assert row["second"] not in named
    if labels.several:
        assert any("|" in row["location"] for row in rows[:12])
    key = f"results/{identity}/results.tsv"
    table = world.s3.get_object(Bucket="results", Key=key)["Body"].read()
    read = pandas.read_csv(io.BytesIO(table), sep="\t", keep_default_na=False)
    assert list(read.columns) == list(columns_of(labels))
    assert list(read["location"]) == [row["location"] or "" for row in rows]
    assert b"".join(FORMATS["csv"](rows, columns_of(labels))).count(b"\n") == 14
    manifest = world.s3.get_object(Bucket="results", Key=f"results/{identity}/manifest.json")["Body"].read()
    assert json.loads(manifest)["labels"] == labels.own


def test_the_api_gives_the_rows_of_the_exports(world: World, labels: LabelSet) -> None:
    world.activate("own-1", labels)
    identity = world.run(world.upload(FILE))
    exported = {row["accession"]: row for row in world.rows(identity)}
    listed = walk(f"/uploads/{identity}/predictions", "predictions", size="5")
    assert len(listed) == 13
    for row in listed:
        upload, kept = row.pop("upload"), exported[row["accession"]]
        assert upload == identity
        assert row == (kept if kept["status"] == "predicted" else kept | {"reason": row["reason"]})
    _, view, _ = get(f"/uploads/{identity}")
    assert view["labels"] == labels.own
    _, models, _ = get("/models/own-1")
    assert models["labels"] == labels.own


def test_rows_are_filtered_by_a_location_wherever_else_their_proteins_are(
    world: World, labels: LabelSet
) -> None:
    world.activate("own-1", labels)
    identity = world.run(world.upload(FILE))
    for name in labels.names:
        rows = walk(f"/uploads/{identity}/predictions", "predictions", location=name, size="2")
        there = [row for row in world.rows(identity) if name in (row["location"] or "").split("|")]
        assert sorted(row["accession"] for row in rows) == sorted(row["accession"] for row in there)
    status, problem, _ = get(f"/uploads/{identity}/predictions", location="Elsewhere")
    assert status == 400 and labels.names[0] in problem["detail"]


def test_columns_are_asked_for_by_the_models_own_names(world: World) -> None:
    world.activate("own-1", SEVERAL)
    identity = world.run(world.upload(FILE))
    for path in (f"/uploads/{identity}/predictions", "/proteins/P00"):
        _, body, _ = get(path, fields="p:Matrix,location")
        assert set(body["predictions"][0]) == {"p:Matrix", "location"}
        status, problem, _ = get(path, fields="p:Plaastid")
        assert status == 400 and "p:Matrix" in problem["detail"]
    _, body, _ = get("/proteins/P00", fields="p:Plastid")
    assert body["predictions"] == [{"p:Plastid": None}], "of another model's row there is none"
    assert get(f"/uploads/{identity}/predictions", fields="p:Plastid")[0] == 400


def test_an_upload_keeps_the_labels_it_began_with(world: World) -> None:
    world.activate("own-1", SEVERAL)
    event = world.upload(FILE)
    identity = receive(event, world.aws)
    assert identity
    world.activate("test-1")
    world.finish(identity)
    assert tuple(world.rows(identity)[0]) == columns_of(SEVERAL)
    later = world.run(world.upload(FILE, key="b.fasta"))
    assert tuple(world.rows(later)[0]) == COLUMNS and world.rows(later)[0]["p:Nucleus"] is not None


def test_an_upload_that_waits_for_a_model_is_pinned_to_its_labels(world: World) -> None:
    event = world.upload(FILE)
    identity = receive(event, world.aws)
    assert identity and not world.aws.uploads.get(identity).model_version
    world.activate("own-1", SEVERAL)
    assert receive(event, world.aws) == identity
    assert world.aws.uploads.get(identity).labels.own == SEVERAL.own


def test_what_is_known_of_a_sequence_is_not_asked_again(world: World, labels: LabelSet) -> None:
    world.activate("own-1", labels)
    first = world.run(world.upload(FILE))
    calls = world.model.calls
    second = world.run(world.upload(FILE, key="b.fasta"))
    assert world.model.calls == calls
    assert world.rows(second) == world.rows(first)


def test_an_index_of_the_ten_holds_nothing_that_it_did_not_hold(world: World) -> None:
    world.activate()
    identity = world.run(world.upload(FILE))
    items = world.database.Table("PredictionsTable").scan()["Items"]
    assert not {"names", "named", "second", "go"} & {name for item in items for name in item}
    assert "labels" not in world.item(identity)
    answers = world.database.Table("AnswersTable").scan()["Items"]
    assert not {"names", "named", "sure"} & {name for item in answers for name in item}


@pytest.mark.parametrize("most", [100, 1])
def test_the_page_counts_a_protein_in_each_of_its_locations(
    world: World, labels: LabelSet, most: int
) -> None:
    world.activate("own-1", labels)
    identity = world.run(world.upload(FILE))
    rows = world.rows(identity)
    _, view, _ = get(f"/uploads/{identity}")
    data = json.loads(b"".join(Data(view, None, most).pieces(rows)))
    assert [each[0] for each in data["locations"]] == list(labels.names)
    assert data["several"] is labels.several and len(data["thresholds"]) == (
        len(labels.names) if labels.several else 0
    )
    for name, (number, *_) in data["summary"]["locations"].items():
        assert number == sum(name in (row["location"] or "").split("|") for row in rows)
    if most == 1:
        assert data["rows"] is None
        return
    for short, row in zip(data["rows"][:12], rows, strict=False):
        if labels.several:
            assert "|".join(labels.names[at] for at in short[11]) == row["location"]
            assert short[12] == round(10_000 * row["confidence"])
        else:
            assert len(short) == 11


def wire(labels: LabelSet, **changes: Any) -> bytes:
    several = {"named": ["Nucleus", "Matrix"], "confidence": 0.5} if labels.several else {}
    prediction = {
        "probabilities": [0.7, 0.1, 0.9] if labels.several else [0.7, 0.1, 0.2],
        "membrane": None,
        "residues_read": 3,
        "truncated": False,
    }
    answer = {"model_version": "own-1", "locations": list(ONE.names), "uncertain_below": 0.6}
    return json.dumps(answer | {"predictions": [prediction | several | changes]}).encode()


def read(body: bytes, labels: LabelSet) -> Prediction:
    [answer] = read_answer(body, sequences=["MKV"], model_version="own-1", labels=labels)
    assert isinstance(answer, Prediction)
    return answer


def test_an_answer_names_several_locations_in_the_order_of_the_labels() -> None:
    answer = read(wire(SEVERAL), SEVERAL)
    assert (answer.location, answer.confidence, answer.uncertain) == ("Matrix|Nucleus", 0.5, True)
    assert answer.runner_up == ("Inner membrane", 0.1)
    everywhere = read(wire(SEVERAL, named=list(ONE.names)), SEVERAL)
    assert everywhere.runner_up == (None, None)
    assert read(wire(ONE), ONE).location == "Matrix"


def test_an_explanation_is_of_one_of_the_models_own_labels() -> None:
    explanation = {
        "location": "Nucleus",
        "probability": 0.9,
        "window": 1,
        "importance": [0.1, 0.2, 0.3],
        "test": {"marked": [2], "without_marked": 0.1, "without_others": 0.8},
    }
    for labels in (ONE, SEVERAL):
        body = wire(labels, explanation=explanation)
        assert read_explanation(body, sequence="MKV", model_version="own-1", labels=labels).marked == (2,)
    elsewhere = wire(SEVERAL, explanation=explanation | {"location": "Plastid"})
    with pytest.raises(BrokenContract, match="Plastid"):
        read_explanation(elsewhere, sequence="MKV", model_version="own-1", labels=SEVERAL)


@pytest.mark.parametrize(
    ("labels", "changes"),
    [
        (SEVERAL, {"named": []}),
        (SEVERAL, {"named": ["Elsewhere"]}),
        (SEVERAL, {"named": "Matrix"}),
        (SEVERAL, {"named": None}),
        (SEVERAL, {"confidence": None}),
        (SEVERAL, {"confidence": 1.5}),
        (SEVERAL, {"probabilities": [0.7, 0.1]}),
        (SEVERAL, {"probabilities": [0.7, 0.1, 1.1]}),
        (ONE, {"probabilities": [0.7, 0.1, 0.9]}),
        (ONE, {"probabilities": [0.7, 0.3]}),
    ],
)
def test_an_answer_that_does_not_fit_the_labels_is_no_answer(
    labels: LabelSet, changes: dict[str, Any]
) -> None:
    with pytest.raises(BrokenContract):
        read(wire(labels, **changes), labels)


def test_answers_about_other_labels_than_the_uploads_are_refused() -> None:
    with pytest.raises(BrokenContract, match="expected the locations"):
        read(wire(ONE), TEN)


def test_a_model_of_other_places_says_nothing_of_kingdoms() -> None:
    own = answer_among("MKV", ONE)
    assert doubts(own, "x OS=Escherichia coli", "bacteria") == []
    unlike = own._replace(outside=0.99, outside_like="artificial")
    assert doubts(unlike, "x", "")[0].startswith("unlike the proteins that the model learned from")
    plant = answer_among("MKV", TEN_SEVERAL)._replace(named=("Nucleus", "Plastid"))
    assert "animals have no plastids" in doubts(plant, "x", "animals")


@pytest.mark.parametrize("labels", [ONE, SEVERAL], ids=["one", "several"])
def test_a_retraining_learns_the_labels_of_the_active_model(world: World, labels: LabelSet) -> None:
    bucket = world.aws.settings.models_bucket
    world.activate("own-1", labels)
    models = world.database.Table("ModelsTable")
    item = {"pk": "version", "sk": "own-1", "state": "in_service", "artifact": "s3://x/y"}
    models.put_item(Item=item | {"labels": labels.text})
    models.put_item(Item={"pk": "source", "sk": "training", "uri": "s3://models/code.tar.gz"})
    rows = "".join(f"P{number}\tMKV\tMatrix\tU\n" for number in range(500))
    world.aws.s3.put_object(
        Bucket=world.aws.settings.uploads_bucket,
        Key="labels/mine.tsv",
        Body=f"accession\tsequence\tlocation\tmembrane\n{rows}".encode(),
    )
    before = {"pk": "retraining", "sk": "latest", "snapshot": "0" * 16, "version": "ten-1"}
    models.put_item(Item=before)
    manifest = {"splits": {"holdout": {"proteins": 400}}}
    key = f"snapshots/{'0' * 16}/manifest.json"
    world.aws.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
    planned = plan({}, world.aws)
    assert planned["nothing"] == "" and planned["labels"] == labels.text
    assert planned["hyperparameters"].get("several") == ("true" if labels.several else None)
    place = f"s3://{bucket}/snapshots/{planned['snapshot']}/sources.json"
    sources = read_json(world.aws.s3, place)
    assert [each["name"] for each in sources["labels"]] == list(labels.names)
    assert sources["several"] is labels.several and "threshold" not in sources["labels"][0]
    assert sources["parent"] is None  # it was of other labels, which say nothing of these
    world.aws.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest | sources).encode())
    assert plan({"again": True}, world.aws)["snapshot"] == planned["snapshot"]
    brought = plan({"artifact": "s3://x/z"}, world.aws)
    assert (brought["nothing"], brought["labels"]) == ("", "")


def test_the_same_files_are_other_snapshots_of_other_labels() -> None:
    file = LabelledFile("s3://uploads/labels/a.fasta", "1", "e", 1, "labels")
    assert len({snapshot_name([file], labels) for labels in (TEN, ONE, SEVERAL, TEN_SEVERAL)}) == 4
    again = read_labels(SEVERAL.text.replace("0.3", "0.25"))
    assert snapshot_name([file], again) == snapshot_name([file], SEVERAL)


def test_a_parent_of_the_same_labels_is_gone_on_from(world: World) -> None:
    labels, bucket = SEVERAL, world.aws.settings.models_bucket
    manifest = described(labels) | {"splits": {"holdout": {"proteins": 7}}}
    key = f"snapshots/{'1' * 16}/manifest.json"
    world.aws.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
    assert parent_of("1" * 16, labels, world.aws) == Parent("1" * 16, 7)
    for other in (TEN, ONE, read_labels(json.dumps(labels.own[::-1]))):
        assert parent_of("1" * 16, other, world.aws) == Parent()
