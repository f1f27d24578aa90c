"""An artifact survives packing byte for byte, is refused when it is not whole, and serves by itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from model.serving import artifact
from model.serving.artifact import ArtifactError, pack, read_artifact, serving_code, unpack
from model.serving.inference import model_fn, predict_fn
from tests.model.tiny import random_sequences


def test_packing_and_unpacking_gives_the_same_files_and_the_serving_code(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    unpacked = unpack(pack(tiny_artifact, tmp_path / "model.tar.gz"), tmp_path / "out")
    assert unpacked.version == "tiny-1" and unpacked.max_residues == 510
    original = {path.name: path.read_bytes() for path in tiny_artifact.iterdir()}
    original |= {name: content for name, content in serving_code().items() if "/" not in name}
    assert {path.name: path.read_bytes() for path in unpacked.folder.iterdir() if path.is_file()} == original
    assert {"config.yaml", "deployment.py"} < original.keys()
    code = {
        path.relative_to(unpacked.folder / "code").as_posix() for path in unpacked.folder.rglob("code/**/*")
    }
    assert {
        "inference.py",
        "requirements.txt",
        "model/serving/inference.py",
        "model/serving/classifier.py",
    } <= code
    assert "model/train.py" not in code


def test_the_same_artifact_packs_into_the_same_bytes(tiny_artifact: Path, tmp_path: Path) -> None:
    first = pack(tiny_artifact, tmp_path / "first.tar.gz").read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(tiny_artifact, copy)
    for path in copy.iterdir():
        os.utime(path, (time.time() - 1e6,) * 2)
    assert pack(copy, tmp_path / "another-name.tar.gz").read_bytes() == first
    with tarfile.open(tmp_path / "first.tar.gz") as archive:
        assert archive.getnames() == sorted(archive.getnames())
        assert {(entry.mtime, entry.uid, entry.mode) for entry in archive} == {(0, 0, 0o644)}


def test_packing_an_unpacked_archive_again_renews_its_code_only(tiny_artifact: Path, tmp_path: Path) -> None:
    archive = pack(tiny_artifact, tmp_path / "model.tar.gz")
    unpacked = unpack(archive, tmp_path / "out")
    (unpacked.folder / "code" / "stale.py").write_text("raise SystemExit")
    assert pack(unpacked.folder, tmp_path / "again.tar.gz").read_bytes() == archive.read_bytes()


SERVE = """
import json, sys
from inference import input_fn, model_fn, output_fn, predict_fn
import model.serving.inference
assert model.serving.inference.__file__.startswith(sys.argv[1]), model.serving.inference.__file__
assert "model.train" not in sys.modules and "model.proteins.labelled" not in sys.modules
loaded = model_fn(sys.argv[1])
request = input_fn(sys.stdin.read(), "application/json")
print(output_fn(predict_fn(request, loaded), "application/json"))
"""


def test_a_packed_artifact_serves_from_its_own_code_in_a_fresh_interpreter(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    folder = unpack(pack(tiny_artifact, tmp_path / "model.tar.gz"), tmp_path / "opt" / "ml" / "model").folder
    sequences = random_sequences([30, 200])
    run = subprocess.run(
        [sys.executable, "-c", SERVE, str(folder)],
        input=json.dumps({"sequences": sequences}),
        env={"PYTHONPATH": str(folder / "code"), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected = predict_fn(sequences, model_fn(str(tiny_artifact)))["predictions"]
    for answer, row in zip(json.loads(run.stdout)["predictions"], expected, strict=True):
        assert answer["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)


def test_reading_a_description_needs_no_torch(tiny_artifact: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from model.serving.artifact import pack, read_artifact; "
        "read_artifact(Path(sys.argv[1])); assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tiny_artifact)], check=True, env=dict(os.environ, PYTHONPATH=".")
    )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt", "artifact.json"])
def test_an_artifact_without_one_of_its_files_is_refused_by_name(
    tiny_artifact: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_artifact, copy)
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        read_artifact(copy)
    with pytest.raises(ArtifactError, match=name):
        pack(copy, tmp_path / "model.tar.gz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "expected artifact format 1, found 2"),
        ({"version": "Small_1"}, "found 'Small_1'"),
        ({"version": "x" * 41}, "at most 40"),
        ({"version": "-x"}, "found '-x'"),
        ({"locations": None}, "whole artifact.json"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tiny_artifact: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_artifact, copy)
    description = json.loads((copy / "artifact.json").read_text())
    (copy / "artifact.json").write_text(json.dumps(description | change))
    with pytest.raises(ArtifactError, match=message):
        read_artifact(copy)


@pytest.mark.parametrize("name", ["../outside", "{here}/outside", "a/../../outside"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo(name.format(here=tmp_path))
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(ArtifactError):
        unpack(archive, tmp_path / "folder")
    outside = [path for path in tmp_path.rglob("outside") if tmp_path / "folder" not in path.parents]
    assert not outside


def archived(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_an_archive_holds_neither_links_nor_devices(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("weights")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with pytest.raises(ArtifactError, match="expected only files that stay in their folder, found 'weights'"):
        unpack(archived(tmp_path / "model.tar.gz", (entry, b"")), tmp_path / "folder")


def test_an_archive_that_unpacks_to_far_more_than_it_is_fills_no_disk(tmp_path: Path) -> None:
    bomb = archived(tmp_path / "model.tar.gz", (tarfile.TarInfo("zeros"), bytes(100 << 20)))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ArtifactError, match="at most 100 times its size"):
        unpack(bomb, tmp_path / "folder")
    assert sum(path.stat().st_size for path in (tmp_path / "folder").rglob("*")) < 65 << 20


def test_an_archive_whose_headers_are_enormous_fills_no_memory(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("weights")
    entry.pax_headers = {"comment": "x" * (20 << 20)}
    with pytest.raises(ArtifactError, match="expected headers of at most"):
        unpack(archived(tmp_path / "model.tar.gz", (entry, b"")), tmp_path / "folder")


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "MAX_MEMBERS", 5)
    entries = [(tarfile.TarInfo(f"f{number}"), b"x") for number in range(6)]
    with pytest.raises(ArtifactError, match="at most 5 files"):
        unpack(archived(tmp_path / "model.tar.gz", *entries), tmp_path / "folder")


def test_an_archive_of_more_than_any_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "MAX_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(ArtifactError, match="it holds more"):
        unpack(
            archived(tmp_path / "model.tar.gz", (tarfile.TarInfo("f"), os.urandom(2 << 20))), tmp_path / "out"
        )


@pytest.mark.parametrize("contents", [b"", b"not an archive"])
def test_what_is_no_archive_is_refused(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(contents)
    with pytest.raises(ArtifactError):
        unpack(path, tmp_path / "out")


def test_half_an_archive_is_refused(tiny_artifact: Path, tmp_path: Path) -> None:
    path = pack(tiny_artifact, tmp_path / "model.tar.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ArtifactError):
        unpack(path, tmp_path / "out")


def test_the_card_says_what_the_description_says(tiny_artifact: Path) -> None:
    card = (tiny_artifact / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "# tiny-1" in card and "| Q10 (accuracy) | 0.1000 |" in card and "| Peroxisome | 0.1000 |" in card
