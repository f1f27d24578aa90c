"""docs/notebooks/finetune.ipynb runs from its first cell to its last on the embedded cloud, with a tiny encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Embedded
from tests.end_to_end.test_training_guide import surroundings, write_pickled_encoder
from tests.model.tiny import write_labelled
from tests.waiting import LIMIT_SECONDS

NOTEBOOK = ROOT / "docs" / "notebooks" / "finetune.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.toolkit
def test_the_notebook_leads_from_labels_to_answers(
    start_embedded: Callable[..., Embedded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    embedded = start_embedded()
    write_pickled_encoder(tmp_path / "tiny_bert")
    write_labelled(tmp_path / "mine.fasta", 60)
    (tmp_path / "template.yaml").symlink_to(ROOT / "template.yaml")
    (tmp_path / "events").symlink_to(ROOT / "events")
    for name, value in surroundings(embedded, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENCODER", "tiny_bert")
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=LIMIT_SECONDS).execute(cwd=str(tmp_path))
    printed = json.dumps([cell.get("outputs") for cell in notebook.cells])
    assert "test:accuracy" in printed and "image/png" in printed
    answers = (tmp_path / "article.tsv").read_text().splitlines()[1:]
    assert [answer.split("\t")[0] for answer in answers] == ["article-1", "article-2", "article-3"]
    assert all("\tprotbert-20" in answer for answer in answers), "by the version that was trained here"
