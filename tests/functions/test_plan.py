"""plan: pins the labels, the base data, the champion and the program of a retraining."""

import json

import pytest

from functions.domain.errors import InputError
from functions.plan import NO_DATA, plan
from functions.services.models_table import LATEST
from tests.functions.versions import LABELS, alias, program, put, table, version
from tests.functions.world import World


def test_a_plan_pins_the_labels_and_the_base_data(empty_world: World) -> None:
    world = empty_world
    put(world, "labels/mine.fasta")
    put(world, "labels/mine.fasta", LABELS + b">P2 Cytoplasm-S\nMKW\n")
    put(world, "labels/notes.docx")
    put(world, "other.fasta")
    put(world, "data/base/deeploc.fasta", bucket="models")
    version(world, "one")
    alias(world, "one", revision=4)
    with pytest.raises(InputError, match="no training program"):
        plan({}, world.aws)
    program(world, "s3://models/code/1/sourcedir.tar.gz")
    planned = plan({}, world.aws)
    assert planned["source"] == "s3://models/code/1/sourcedir.tar.gz"
    assert (planned["champion"], planned["champion_artifact"], planned["revision"]) == (
        "one",
        "s3://models/one",
        4,
    )
    assert planned["nothing"] == ""
    key = f"snapshots/{planned['snapshot']}/sources.json"
    written = json.loads(world.s3.get_object(Bucket="models", Key=key)["Body"].read())
    assert [(each["uri"], each["kind"]) for each in written["sources"]] == [
        ("s3://models/data/base/deeploc.fasta", "base"),
        ("s3://uploads/labels/mine.fasta", "labels"),
    ]
    assert written["sources"][1]["size"] > len(LABELS)  # the newer one
    pinned = written["sources"][1]["version_id"]
    assert (
        world.s3.get_object(Bucket="uploads", Key="labels/mine.fasta", VersionId=pinned)["ContentLength"] > 20
    )
    assert (written["snapshot"], written["parent"]) == (planned["snapshot"], None)


def test_the_same_files_are_the_same_snapshot_and_nothing_new_once_they_were_judged(
    empty_world: World,
) -> None:
    world = empty_world
    assert plan({}, world.aws)["nothing"] == NO_DATA
    program(world, "s3://models/code/1/sourcedir.tar.gz")
    put(world, "labels/mine.fasta")
    first = plan({}, world.aws)
    put(world, "labels/mine.fasta")  # a new version with the same in it
    assert plan({}, world.aws)["snapshot"] == first["snapshot"]
    table(world).put_item(Item=LATEST | {"snapshot": first["snapshot"], "version": "two"})
    assert "two" in plan({}, world.aws)["nothing"]
    again = plan({"again": True}, world.aws)
    assert (again["snapshot"], again["nothing"]) == (first["snapshot"], "")
    put(world, "labels/more.tsv")
    more = plan({}, world.aws)
    assert more["nothing"] == "" and more["snapshot"] != first["snapshot"]
    key = f"snapshots/{more['snapshot']}/sources.json"
    assert (
        json.loads(world.s3.get_object(Bucket="models", Key=key)["Body"].read())["parent"]
        == first["snapshot"]
    )


def test_hyperparameters_are_the_stacks_with_those_of_the_input_over_them(empty_world: World) -> None:
    world = empty_world
    stacks = '{"start": "champion", "epochs": 9}'
    object.__setattr__(world.aws.settings, "training_hyperparameters", stacks)
    assert plan({}, world.aws)["hyperparameters"] == {"epochs": "9"}  # there is no champion to start from
    version(world, "one")
    alias(world, "one")
    planned = plan({"hyperparameters": {"epochs": 3, "precision": "fp32"}}, world.aws)
    assert planned["hyperparameters"] == {"start": '"champion"', "epochs": "3", "precision": '"fp32"'}
    assert plan({"hyperparameters": {"start": None}}, world.aws)["hyperparameters"] == {"epochs": "9"}
    for name in ("sagemaker_program", "model-version"):
        with pytest.raises(InputError, match=name):
            plan({"hyperparameters": {name: "x"}}, world.aws)


def test_an_artifact_needs_no_labels(empty_world: World) -> None:
    planned = plan({"artifact": "s3://models/two"}, empty_world.aws)
    assert (planned["nothing"], planned["champion"], planned["revision"]) == ("", "", 0)


@pytest.mark.parametrize(
    ("records", "marked", "enough"), [(279, 0, False), (280, 0, True), (60, 35, False), (60, 39, True)]
)
@pytest.mark.parametrize("table", [False, True])
def test_too_few_proteins_to_judge_by_are_refused_before_anything_runs(
    empty_world: World, records: int, marked: int, enough: bool, table: bool
) -> None:
    world = empty_world
    program(world, "s3://models/code/1/sourcedir.tar.gz")
    marks = [number < marked for number in range(records)]
    if table:
        rows = [f"P{n}\tMKV\tNucleus\tS\t{'test' if mark else ''}" for n, mark in enumerate(marks, 1)]
        put(
            world,
            "labels/mine.tsv",
            "\n".join(["accession\tsequence\tlocation\tmembrane\tsplit", *rows]).encode(),
        )
    else:
        lines = [f">P{n} Nucleus-S{' test' if mark else ''}\r\nMKV\r\n" for n, mark in enumerate(marks, 1)]
        put(world, "labels/mine.fasta", "".join(lines).encode())
    planned = plan({}, world.aws)
    if enough:
        assert planned["nothing"] == ""
        return
    assert planned["nothing"].startswith(f"there are {records} labelled proteins, of which 4")
    assert "about 350 proteins, or 50 marked test" in planned["nothing"]
    assert "Contents" not in world.s3.list_objects_v2(Bucket="models", Prefix="snapshots/")


def test_no_more_proteins_can_be_held_out_than_there_are(empty_world: World) -> None:
    program(empty_world, "s3://models/code/1/sourcedir.tar.gz")
    put(empty_world, "labels/mine.fasta", b">P1 Nucleus-S\nMKV\n>P2 Nucleus-S test\nMKW\n")
    planned = plan({}, empty_world.aws)["nothing"]
    assert planned.startswith("there are 2 labelled proteins, of which 2 can be held out at most")


def test_what_was_held_out_before_counts(empty_world: World) -> None:
    world = empty_world
    program(world, "s3://models/code/1/sourcedir.tar.gz")
    table(world).put_item(Item=LATEST | {"snapshot": "before", "version": "two"})
    manifest = json.dumps({"splits": {"holdout": {"proteins": 45}}}).encode()
    put(world, "snapshots/before/manifest.json", manifest, bucket="models")
    put(world, "labels/mine.fasta", b">P1 Nucleus-S\nMKV\n" * 60)
    assert plan({}, world.aws)["nothing"] == ""
