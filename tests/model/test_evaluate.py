"""Both models answer the same holdout as they are served; the evaluation is whole and finite, and changes neither model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model import evaluate as challenge
from model import snapshot
from model.judging.figures import HEADLINE
from model.proteins import seen
from model.proteins.labelled import LOCATIONS, LabelledProtein
from model.proteins.training_data import digest
from model.serving.artifact import pack
from model.serving.inference import model_fn, predict_fn
from tests.model.test_snapshot import A, write_sources
from tests.model.tiny import build_tiny_artifact, random_sequences, write_labelled

ROOT = Path(challenge.__file__).parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot with 40 proteins held out, the champion packed and the challenger as a folder."""
    folder = tmp_path_factory.mktemp("challenge")
    (folder / "base").mkdir()
    write_labelled(folder / "base" / "a.fasta", 160, test=40)
    sources = write_sources(folder, A, [("base/a.fasta", "base")])
    snapshot.main(["--sources", str(sources), "--output", str(folder / A)])
    build_tiny_artifact(folder / "challenger", "tiny-2", seed=2)
    pack(build_tiny_artifact(folder / "champion", "tiny-1", seed=1), folder / "champion.tar.gz")
    return folder


def arguments(place: Path, output: str, *, champion: bool = True) -> list[str]:
    before = ("--champion", str(place / "champion.tar.gz"), "--champion-version", "tiny-1")
    return [
        *("--challenger", str(place / "challenger"), "--challenger-version", "tiny-2"),
        *(before if champion else ()),
        *("--snapshot", str(place / A), "--output", str(place / output)),
    ]


@pytest.fixture(scope="module")
def evaluation(place: Path) -> dict[str, Any]:
    challenge.main(arguments(place, "both"))
    answer: dict[str, Any] = json.loads(
        (place / "both" / "evaluation.json").read_text(), parse_constant=pytest.fail
    )
    return answer


def test_it_names_models_holdout_and_what_was_learned_from(evaluation: dict[str, Any], place: Path) -> None:
    holdout = snapshot.read_split(str(place / A), "holdout")
    assert evaluation["holdout"] == {
        "sha256": digest(holdout),
        "proteins": 40,
        "looked_at_by": ["tiny-2", "tiny-1"],
    }
    assert evaluation["snapshot"] == A and evaluation["schema"] == 1
    for side, version in (("challenger", "tiny-2"), ("champion", "tiny-1")):
        assert evaluation[side]["version"] == version and evaluation[side]["training_sha256"] == "0" * 64
        assert evaluation[side]["proteins"] == 40 and list(evaluation[side]["locations"]) == list(LOCATIONS)
        assert set(HEADLINE) <= evaluation[side].keys() and "confusion" not in evaluation[side]


def test_figures_are_those_of_the_answers_that_are_served(evaluation: dict[str, Any], place: Path) -> None:
    holdout = snapshot.read_split(str(place / A), "holdout")
    for side, folder in (("challenger", "challenger"), ("champion", "champion")):
        answers = predict_fn([each.sequence for each in holdout], model_fn(str(place / folder)))[
            "predictions"
        ]
        named = [max(range(10), key=each["probabilities"].__getitem__) for each in answers]
        right = sum(one == each.location for one, each in zip(named, holdout, strict=True))
        assert evaluation[side]["q10"] == pytest.approx(right / 40)
        assert evaluation["against"]["q10"][side] == evaluation[side]["q10"]
    difference = evaluation["challenger"]["q10"] - evaluation["champion"]["q10"]
    assert evaluation["against"]["q10"]["difference"] == pytest.approx(difference, abs=1e-4)
    assert len(evaluation["against"]["recall"]) == 10


def test_golden_answers_are_the_challengers_and_spread_over_locations(
    evaluation: dict[str, Any], place: Path
) -> None:
    holdout = {each.sequence: each for each in snapshot.read_split(str(place / A), "holdout")}
    golden = evaluation["golden"]
    assert len({holdout[each["sequence"]].location for each in golden}) == len(golden) == 8
    model = model_fn(str(place / "challenger"))
    for each in golden:
        (alone,) = predict_fn([each["sequence"]], model)["predictions"]
        assert each["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
        assert each["membrane"] == pytest.approx(alone["membrane"], abs=1e-5)
    assert 0 < evaluation["batch_seconds"] < 60


def test_proteins_that_a_model_has_learned_are_a_figure_of_their_own(place: Path) -> None:
    holdout = snapshot.read_split(str(place / A), "holdout")
    folder = build_tiny_artifact(place / "knowing", "tiny-1", seed=1)
    seen.write(folder, holdout[:15])
    words = arguments(place, "apart")
    words[words.index("--champion") + 1] = str(folder)
    challenge.main(words)
    written = json.loads((place / "apart" / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert written["holdout"]["proteins"] == 40 and written["holdout"]["sha256"] == digest(holdout)
    assert written["learned"]["proteins"] == 15
    assert written["learned"]["champion"]["learned"] == 15 == written["champion"]["holdout_learned"]
    assert written["learned"]["challenger"]["learned"] is None  # it does not say
    model = model_fn(str(place / "challenger"))
    answers = predict_fn([each.sequence for each in holdout], model)["predictions"]
    right = [
        max(range(10), key=each["probabilities"].__getitem__) == protein.location
        for each, protein in zip(answers, holdout, strict=True)
    ]
    assert written["challenger"]["proteins"] == written["champion"]["proteins"] == 25
    assert written["challenger"]["q10"] == pytest.approx(sum(right[15:]) / 25)
    assert written["against"]["q10"]["challenger"] == written["challenger"]["q10"]
    assert written["learned"]["challenger"]["q10"] == pytest.approx(sum(right[:15]) / 15, abs=1e-4)
    page = (place / "apart" / "report.html").read_text()
    assert "answered the same 25 proteins" in page and "15 proteins that count apart" in page
    assert "tiny-1 has learned from 15 of them" in page
    seen.write(folder, holdout)
    with pytest.raises(SystemExit, match="that neither model has learned from, found none of 40"):
        challenge.main(words)


def test_neither_artifact_is_changed(evaluation: dict[str, Any], place: Path) -> None:
    assert "looks" not in json.loads((place / "challenger" / "artifact.json").read_text())["metrics"]


def test_without_a_champion_there_is_nothing_to_compare_with(place: Path) -> None:
    challenge.main(arguments(place, "alone", champion=False))
    written = json.loads((place / "alone" / "evaluation.json").read_text())
    assert (
        written["champion"] is None
        and written["against"] is None
        and written["holdout"]["looked_at_by"] == ["tiny-2"]
    )
    assert "the first version" in (place / "alone" / "report.html").read_text()


def test_golden_proteins_are_short_and_of_the_largest_locations_first() -> None:
    lengths, places = [1001, 50, 60, 1000, 70, 80], [3, 3, 3, 3, 7, 8]
    proteins = [
        LabelledProtein(f"P{n}", sequence, places[n], 0.0, False)
        for n, sequence in enumerate(random_sequences(lengths))
    ]
    assert [each.accession for each in challenge.golden_proteins(proteins)] == ["P1", "P4", "P5", "P2", "P3"]
    assert [each.accession for each in challenge.golden_proteins(proteins * 2)] == [
        "P1",
        "P4",
        "P5",
        "P2",
        "P4",
        "P5",
        "P3",
        "P1",
    ]
    assert challenge.golden_proteins(proteins[:1]) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--challenger-version": "tiny-3"}, "expected version tiny-3 in .*, found tiny-2"),
        ({"--champion-version": "tiny-3"}, "expected version tiny-3 in .*, found tiny-1"),
        ({"--champion": "nowhere.tar.gz"}, "expected a model.tar.gz at nowhere.tar.gz"),
        ({"--snapshot": "nowhere"}, "expected a file nowhere/manifest.json"),
    ],
)
def test_what_cannot_be_compared_ends_with_a_reason_and_writes_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    words = arguments(place, "none")
    for name, value in changed.items():
        words[words.index(name) + 1] = value
    with pytest.raises(SystemExit, match=message):
        challenge.main(words)
    assert (tmp_path / "failure").read_text().startswith("expected ")
    assert not (place / "none").exists()


def test_it_runs_as_a_file(place: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-P", str(ROOT / "model" / "evaluate.py"), *arguments(place, "run", champion=False)],
        capture_output=True, text=True, check=False, cwd=place, env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["challenger"]["version"] == "tiny-2"
    for protein in snapshot.read_split(str(place / A), "holdout"):
        assert protein.sequence not in run.stdout + run.stderr
