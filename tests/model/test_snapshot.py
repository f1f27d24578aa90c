"""A snapshot is a function of its sources and its parent, written once, and accounts for every record."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from model import snapshot
from model.proteins.labelled import LOCATIONS, read_channel
from model.proteins.training_data import digest, split
from model.snapshot import Source, Sources, main
from tests.model.proteins.test_related import DEEPLOC, labelled
from tests.model.tiny import write_labelled

ROOT = Path(snapshot.__file__).parents[1]
A, B = "a" * 16, "b" * 16


def write_sources(
    folder: Path, name: str, files: Sequence[tuple[str, str]], parent: str | None = None
) -> Path:
    """A `sources.json` of local files, each with its kind."""
    place = folder / f"{name}.json"
    listed = [{"uri": uri, "version_id": "null", "etag": "", "size": 0, "kind": kind} for uri, kind in files]
    place.write_text(json.dumps({"schema": 1, "snapshot": name, "sources": listed, "parent": parent}))
    return place


def write_families(path: Path, *, rows: slice = slice(None), extra: str = "") -> Path:
    path.parent.mkdir(exist_ok=True)
    proteins = list(zip(*labelled(), strict=True))[rows]
    names = LOCATIONS
    path.write_text("".join(f">{a} {names[place]}-S\n{s}\n" for s, place, a in proteins) + extra)
    return path


def run(sources: Path, name: str = A) -> dict[str, Any]:
    """The manifest of a snapshot beside its sources."""
    main(["--sources", str(sources), "--output", str(sources.parent / name)])
    manifest: dict[str, Any] = json.loads((sources.parent / name / "manifest.json").read_text())
    return manifest


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_families(tmp_path / "base" / "a.fasta", rows=slice(0, 300))
    write_families(
        tmp_path / "labels" / "b.fasta", rows=slice(290, 330), extra=">X Nukleus-S\nMKV\n>Y Nucleus\nMKV\n"
    )
    return tmp_path


def both(place: Path, name: str = A, parent: str | None = None) -> Path:
    return write_sources(place, name, [("labels/b.fasta", "labels"), ("base/a.fasta", "base")], parent)


def test_the_manifest_counts_every_record_once_and_names_what_was_wrong(place: Path) -> None:
    manifest = run(both(place))
    counts = {
        each["uri"]: [each[name] for name in ("proteins", "duplicates", "left_out")]
        for each in manifest["sources"]
    }
    assert counts == {"base/a.fasta": [300, 0, 0], "labels/b.fasta": [30, 10, 2]}
    assert sum(each["proteins"] for each in manifest["splits"].values()) == 330
    problems = manifest["problems"]
    assert {kind: problem["total"] for kind, problem in problems.items()} == {
        "malformed": 1, "unknown_locations": 1, "conflicts": 0, "duplicates": 10, "leaks": 0,
    }  # fmt: skip
    assert problems["malformed"]["first"][0]["where"] == "labels/b.fasta line 83"
    assert problems["unknown_locations"]["first"][0]["problem"].startswith(
        "unknown location 'Nukleus'; expected"
    )
    assert manifest["changes"] == {"since": None, "added": 330, "removed": 0, "relabelled": 0}
    for each in manifest["splits"].values():
        assert each["proteins"] == sum(each["locations"].values()) > 0


def test_training_reads_the_very_proteins_that_the_manifest_names(place: Path) -> None:
    splits = run(both(place))["splits"]
    training, validation = split(read_channel(place / A / "training"), place / A / "validation")
    assert digest(training) == splits["training"]["sha256"]
    assert digest(validation) == splits["validation"]["sha256"]
    assert digest(snapshot.read_split(str(place / A), "holdout")) == splits["holdout"]["sha256"]


def test_the_same_sources_give_the_same_bytes_and_a_second_run_accepts_them(place: Path) -> None:
    run(both(place))
    first = bytes_of(place / A)
    run(both(place))
    assert bytes_of(place / A) == first
    backwards = write_sources(place, A, [("base/a.fasta", "base"), ("labels/b.fasta", "labels")])
    main(["--sources", str(backwards), "--output", str(place / "other")])
    assert bytes_of(place / "other") == first
    assert sorted(first) == [
        "holdout/proteins.tsv",
        "manifest.json",
        "training/proteins.tsv",
        "validation/proteins.tsv",
    ]


def test_another_snapshot_is_never_written_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(both(place))
    before = bytes_of(place / A)
    sources = write_sources(place, A, [("base/a.fasta", "base")])
    with pytest.raises(SystemExit, match="found something else"):
        run(sources)
    assert bytes_of(place / A) == before


def test_the_holdout_of_the_parent_stays_and_changes_are_counted(place: Path) -> None:
    first = run(write_sources(place, A, [("base/a.fasta", "base")]))
    write_families(
        place / "labels" / "b.fasta", rows=slice(300, 330), extra=">new Nucleus-M\n" + "MKWY" * 20 + "\n"
    )
    proteins = (place / "base" / "a.fasta").read_text().split(">")[1:]
    moved = "Golgi.apparatus" if "Nucleus" in proteins[0] else "Nucleus"
    proteins[0] = proteins[0].replace(proteins[0].split()[1], f"{moved}-S")
    (place / "base" / "a.fasta").write_text("".join(f">{each}" for each in proteins[:-2]))
    second = run(both(place, B, A), B)
    assert second["changes"] == {"since": A, "added": 31, "removed": 2, "relabelled": 1}
    old, new = ({p.sequence for p in snapshot.read_split(str(place / name), "holdout")} for name in (A, B))
    learned = {
        p.sequence for name in ("training", "validation") for p in snapshot.read_split(str(place / B), name)
    }
    assert len(old) == first["splits"]["holdout"]["proteins"] and not old & learned and new & old


def test_of_each_kind_of_problem_the_first_hundred_are_told(place: Path) -> None:
    (place / "labels" / "b.fasta").write_text("".join(f">Y{n} Nucleus\nMKV\n" for n in range(150)))
    malformed = run(both(place))["problems"]["malformed"]
    assert (malformed["total"], malformed["left_out"], len(malformed["first"])) == (150, 150, 100)
    assert [each["where"] for each in malformed["first"][:2]] == [
        "labels/b.fasta line 1",
        "labels/b.fasta line 3",
    ]


def test_a_missing_parent_is_an_error(place: Path) -> None:
    with pytest.raises(SystemExit, match="expected a file"):
        run(both(place, B, A), B)
    assert not (place / B).exists()


@pytest.mark.parametrize(
    ("proteins", "message"),
    [
        (">P1 Nucleus-S\nMKV\n>P2 Nukleus-S\nMKVA\n", "at least 20 proteins to learn from, found 1; left out: 1 unknown locations .first: base/a.fasta line 3: unknown location 'Nukleus'"),
        ("".join(f">P{n} Nucleus-S\nMKV{'A' * n}\n" for n in range(40)), "two locations or more"),
        ("".join(f">P{n} {'Nucleus' if n % 2 else 'Plastid'}-S{' test' if n == 50 else ''}\n{'MKVW' * 9}{'ACDEFGHIKL' * n}\n" for n in range(40)), "none to choose on|none to hold out"),
    ],
)  # fmt: skip
def test_too_few_proteins_are_reported_in_the_failure_file_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proteins: str, message: str
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path / "output"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a.fasta").write_text(proteins)
    with pytest.raises(SystemExit, match=message):
        run(write_sources(tmp_path, A, [("base/a.fasta", "base")]))
    failure = (tmp_path / "output" / "failure").read_text()
    assert failure.startswith("expected ") and len(failure) <= 1024
    assert not (tmp_path / A).exists()


@pytest.mark.parametrize(
    "sources", ["[]", "{", '{"schema": 2}', '{"schema": 1, "snapshot": "a", "parent": null, "sources": [{}]}']
)
def test_what_is_no_list_of_sources_is_an_error(tmp_path: Path, sources: str) -> None:
    (tmp_path / "sources.json").write_text(sources)
    with pytest.raises(SystemExit, match="expected"):
        main(["--sources", str(tmp_path / "sources.json"), "--output", str(tmp_path / A)])


def test_a_file_of_another_kind_is_reported_and_costs_nothing_else(place: Path) -> None:
    (place / "labels" / "b.fasta").rename(place / "labels" / "b.docx")
    manifest = run(write_sources(place, A, [("labels/b.docx", "labels"), ("base/a.fasta", "base")]))
    assert manifest["problems"]["malformed"]["total"] == 1 and manifest["sources"][1]["left_out"] == 1


def test_in_s3_the_pinned_versions_are_read_and_the_same_bytes_written(bucket: Any, place: Path) -> None:
    run(both(place))
    listed = []
    for uri, kind in (("base/a.fasta", "base"), ("labels/b.fasta", "labels")):
        content = (place / uri).read_bytes()
        answer = bucket.put_object(Bucket="models", Key=uri, Body=content)
        bucket.put_object(Bucket="models", Key=uri, Body=b"written later")
        listed.append(
            {
                "uri": uri,
                "version_id": answer["VersionId"],
                "etag": answer["ETag"],
                "size": len(content),
                "kind": kind,
            }
        )
    sources = {
        "schema": 1,
        "snapshot": A,
        "parent": None,
        "sources": [each | {"uri": f"s3://models/{each['uri']}"} for each in listed],
    }
    bucket.put_object(Bucket="models", Key=f"snapshots/{A}/sources.json", Body=json.dumps(sources).encode())
    arguments = [
        "--sources",
        f"s3://models/snapshots/{A}/sources.json",
        "--output",
        f"s3://models/snapshots/{A}",
    ]
    main(arguments)
    main(arguments)
    for name in ("training", "validation", "holdout"):
        key = f"snapshots/{A}/{name}/proteins.tsv"
        assert (
            bucket.get_object(Bucket="models", Key=key)["Body"].read()
            == (place / A / name / "proteins.tsv").read_bytes()
        )
    keys = [
        each["Key"] for each in bucket.list_object_versions(Bucket="models", Prefix="snapshots")["Versions"]
    ]
    assert len(keys) == len(set(keys)) == 5, "nothing was written twice"
    bucket.put_object(Bucket="models", Key=f"snapshots/{A}/manifest.json", Body=b"{}")
    with pytest.raises(SystemExit, match="found something else"):
        main(arguments)


def test_it_runs_as_a_file_and_needs_no_torch(place: Path) -> None:
    command = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); assert 'torch' not in sys.modules and 'boto3' not in sys.modules"
    run = subprocess.run(
        [sys.executable, "-P", "-c", command, str(ROOT / "model" / "snapshot.py"), "--sources", str(both(place)), "--output", str(place / A)],
        capture_output=True, text=True, check=False, env={"PATH": ""}, cwd=place,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["snapshot"] == A


@pytest.mark.shared
@pytest.mark.skipif(not DEEPLOC.exists(), reason="needs DeepLoc")
def test_deeploc_and_labels_are_divided_in_well_under_two_minutes(tmp_path: Path) -> None:
    content = DEEPLOC.read_bytes()
    labels = write_labelled(tmp_path / "b.fasta", 300).read_bytes()
    files = [
        Source(name, "null", "", 0, kind) for name, kind in (("deeploc.fasta", "base"), ("b.fasta", "labels"))
    ]
    started = time.process_time()
    splits, manifest = snapshot.snapshot(Sources(A, None, files), [content, labels], None)
    assert time.process_time() - started < 100
    accounts = [
        [each[name] for name in ("proteins", "duplicates", "left_out")] for each in manifest["sources"]
    ]
    assert [sum(each) for each in accounts] == [13620, 300]
    marked = {protein.sequence for protein in read_channel(DEEPLOC) if protein.test}
    assert marked <= {protein.sequence for protein in splits["holdout"]}
    parts = [{protein.sequence for protein in each} for each in splits.values()]
    assert sum(map(len, parts)) == len(set.union(*parts))
