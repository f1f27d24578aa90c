"""Labels of one's own, several of them a protein: from a labelled file to every export, and back to the ten."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow.parquet
import pytest

from functions.domain.rows import COLUMNS
from protloc.errors import Problem
from tests.conftest import SAMPLE, Embedded, from_tsv
from tests.end_to_end.test_training_guide import surroundings
from tests.model.several import NAMES, sequence_of, write_task
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow

ASKED = ((0,), (0, 1), (1, 2), (2,))
GO = {"Matrix": "GO:0005759", "Inner membrane": "GO:0005743", "Nucleus": "GO:0005634,GO:0031981"}
OWN_COLUMNS = [
    *COLUMNS[: COLUMNS.index("go") + 1],
    *(f"p:{name}" for name in NAMES),
    *COLUMNS[-2:],
]


def run_of(folder: Path) -> list[str]:
    """The command that learns the task as a training job of the stack."""
    labels, labelled = write_task(folder)
    return [
        *(sys.executable, "-m", "model.launch", "--name", "several-1", "--stack", "protloc"),
        *("--training", str(labelled), "--labels", str(labels)),
        *(
            word
            for setting in (
                *("several=true", "hidden=32", "batch_size=8", "token_budget=800", "max_residues=64"),
                *("epochs=6", "label_smoothing=0", "average=0.9"),
            )
            for word in ("--hyperparameter", setting)
        ),
    ]


def write_asked(path: Path) -> Path:
    """Proteins of known places, and a record that is no protein."""
    random = np.random.default_rng(5)
    records = [
        f">{'+'.join(NAMES[at] for at in places).replace(' ', '-')} made up\n{sequence_of(places, random)}\n"
        for places in ASKED
    ]
    path.write_text("".join(records) + ">none\nMK1V\n")
    return path


@pytest.fixture(scope="module")
def cloud(start_embedded: Callable[..., Embedded], tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """A cloud whose active model was trained on the task by its own training job."""
    embedded, folder = start_embedded(), tmp_path_factory.mktemp("task")
    embedded.answer("predict", SAMPLE, "-o", folder / "before.tsv")
    done = subprocess.run(
        run_of(folder),
        cwd=folder,
        env=surroundings(embedded, folder),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    added = embedded.protloc("models", "add", done.stdout.strip(), "--yes")
    assert added.exit_code == 0, added.output
    return embedded


@pytest.fixture(scope="module")
def upload(cloud: Embedded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rows that `predict` writes for the proteins that are asked about."""
    folder = tmp_path_factory.mktemp("asked")
    return cloud.answer("predict", write_asked(folder / "asked.fasta"), "-o", folder / "out.tsv")


def test_a_file_of_labels_leads_to_rows_that_name_several_of_them(
    cloud: Embedded, upload: dict[str, Any]
) -> None:
    assert (upload["status"], upload["predicted"], upload["rejected"]) == ("complete", 4, 1)
    rows = cloud.rows(upload["upload"])
    assert all(list(row) == OWN_COLUMNS for row in rows)
    for places, row in zip(ASKED, rows, strict=False):
        names = [NAMES[at] for at in places]
        assert row["location"] == "|".join(names)
        assert row["go"] == ",".join(GO[name] for name in names)
        chances = {name: row[f"p:{name}"] for name in NAMES}
        product = np.prod([chance if name in names else 1 - chance for name, chance in chances.items()])
        assert row["confidence"] == pytest.approx(product, abs=2e-3)
        assert row["second"] not in names and row["second_confidence"] == chances[row["second"]]
        assert row["locations_90"] is None and row["membrane"] is not None
    assert rows[4]["status"] == "rejected" and rows[4]["p:Matrix"] is None


def test_every_export_has_a_column_for_each_label(
    cloud: Embedded, upload: dict[str, Any], tmp_path: Path
) -> None:
    def fetched(format_name: str) -> Path:
        path = tmp_path / f"rows.{format_name}"
        result = cloud.protloc("results", upload["upload"], "--format", format_name, "-o", path)
        assert result.exit_code == 0, result.output
        return path

    rows = cloud.rows(upload["upload"])
    for text in (fetched("tsv").read_text(), fetched("csv").read_text()):
        delimiter = "\t" if "\t" in text else ","
        table = from_tsv(text, delimiter)
        assert list(table[0]) == OWN_COLUMNS
        assert [each["location"] for each in table] == [row["location"] or "" for row in rows]
        assert table[1]["p:Inner membrane"] == f"{rows[1]['p:Inner membrane']:.4f}"
    parquet = pyarrow.parquet.read_table(fetched("parquet"))
    assert parquet.column_names == OWN_COLUMNS
    assert parquet.column("p:Matrix").to_pylist() == [row["p:Matrix"] for row in rows]
    sheet = openpyxl.load_workbook(fetched("xlsx")).active
    assert [cell.value for cell in sheet[1]] == OWN_COLUMNS and sheet["C3"].value == "Matrix|Inner membrane"


def test_the_api_filters_rows_by_each_of_their_locations(cloud: Embedded, upload: dict[str, Any]) -> None:
    wanted = [row for row in cloud.rows(upload["upload"]) if "Nucleus" in (row["location"] or "").split("|")]
    filtered = list(cloud.client.predictions(upload["upload"], "Nucleus"))
    assert [each["location"] for each in filtered] == [row["location"] for row in wanted]
    assert [each["p:Nucleus"] for each in filtered] == [row["p:Nucleus"] for row in wanted]
    assert [each["second"] for each in filtered] == [row["second"] for row in wanted]
    with pytest.raises(Problem, match="one of Matrix, Inner membrane, Nucleus"):
        list(cloud.client.predictions(upload["upload"], "Cytoplasm"))
    rows = cloud.client.protein("Matrix+Inner-membrane")
    [one] = [row for row in rows if row["upload"] == upload["upload"]]
    assert one["location"] == "Matrix|Inner membrane" and one["go"] == "GO:0005759,GO:0005743"
    result = cloud.protloc("protein", "Matrix+Inner-membrane")
    assert result.exit_code == 0 and "Inner membrane" in result.output


def test_model_upload_and_report_say_what_the_labels_are(
    cloud: Embedded, upload: dict[str, Any], tmp_path: Path
) -> None:
    [model] = [each for each in cloud.answer("models")["models"] if each["active"]]
    assert [each["name"] for each in model["labels"]] == list(NAMES)
    assert all(0 < each["threshold"] < 1 for each in model["labels"])
    assert model["metrics"]["macro_f1"] > 0.6
    view = cloud.client.upload(upload["upload"])
    assert view["labels"] == model["labels"]
    result = cloud.protloc("report", upload["upload"], "-o", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text()
    start = page.index('id="data">') + 10
    data = json.loads(page[start : page.index("</script>", start)])
    assert data["several"] and [each[1] for each in data["locations"]][1] == "Mitochondrial inner membrane"
    assert [short[11] for short in data["rows"][:4]] == [list(places) for places in ASKED]
    assert data["summary"]["locations"]["Nucleus"][0] == 2
    table = cloud.protloc("predict", write_asked(tmp_path / "again.fasta"), "--table")
    assert "A protein in several locations is counted in each." in table.output
    assert ["Cell", "nucleus", "2", "50%"] in [line.split() for line in table.output.splitlines()]


def test_a_retraining_learns_the_labels_of_the_active_model(cloud: Embedded, tmp_path: Path) -> None:
    """From `labels add` to a challenger that was judged beside the champion and answers in its place or not."""
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("accession\tsequence\tlocation\tmembrane\nP1\tMKVLAAGIVG\tCytoplasm\tS\n")
    refused = cloud.protloc("labels", "add", wrong)
    assert refused.exit_code != 0 and "one of Matrix, Inner membrane, Nucleus" in refused.output
    _, labelled = write_task(tmp_path, proteins=480, seed=7)
    added = cloud.answer("labels", "add", labelled)
    assert (added["proteins"], added["enough"]) == (480, True)
    assert added["locations"] == {"Matrix": 240, "Inner membrane": 180, "Nucleus": 240}
    cloud.protloc("retrain", "--set", "epochs=2", "--set", "batch_size=8", "--set", "token_budget=800")
    (new,) = [each for each in cloud.answer("models")["models"] if each["version"].startswith("model-")]
    assert new["state"] in ("in_service", "rejected"), new["reason"]
    assert "accuracy" in new["reason"] and new["metrics"]["macro_f1"] > 0.6
    assert [each["name"] for each in new["labels"]] == list(NAMES)
    assert all(0 < each["threshold"] < 1 for each in new["labels"])
    asked = cloud.answer("predict", write_asked(tmp_path / "after.fasta"), "-o", tmp_path / "after.tsv")
    version = cloud.client.upload(asked["upload"])["model_version"]
    assert (version == new["version"]) == new["active"]
    assert [row["location"] for row in cloud.rows(asked["upload"])][:2] == ["Matrix", "Matrix|Inner membrane"]
    if new["active"]:
        assert cloud.protloc("models", "rollback").exit_code == 0


def test_the_ten_are_answered_as_before_once_their_model_is_back(cloud: Embedded, tmp_path: Path) -> None:
    first = next(each for each in cloud.answer("models")["models"] if each["version"] == "tiny-1")
    assert "labels" not in first
    assert cloud.protloc("models", "promote", "tiny-1").exit_code == 0
    try:
        (older,) = [each for each in cloud.client.uploads() if each["model_version"] == "tiny-1"]
        cloud.answer("predict", SAMPLE, "-o", tmp_path / "now.tsv")
        then = cloud.protloc("results", older["upload"], "-o", tmp_path / "then.tsv")
        assert then.exit_code == 0
        assert (tmp_path / "now.tsv").read_bytes() == (tmp_path / "then.tsv").read_bytes()
        with (tmp_path / "now.tsv").open() as file:
            assert next(csv.reader(file, delimiter="\t")) == list(COLUMNS)
    finally:
        assert cloud.protloc("models", "promote", "several-1").exit_code == 0
