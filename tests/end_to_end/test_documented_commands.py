"""The commands that README.md and docs/ show are run as they stand there, on the embedded cloud.

`tests/documented.py` says by which rules some of them are not.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLE, Embedded
from tests.documented import Block, blocks
from tests.model.tiny import build_tiny_artifact, write_labelled
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow

# A guide is one story from its first command to its last, which a test of its own runs.
GUIDES = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*_guide.py"))
HERE = [
    (block, [command.text for command in block.commands if not command.needs])
    for block in blocks()
    if any(not command.needs for command in block.commands) and Path(block.document).name not in GUIDES
]


@pytest.fixture(scope="module")
def cloud(start_embedded: Callable[..., Embedded], tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """A cloud with a version in service, one before it and one that was judged, as after some weeks."""
    embedded, folder = start_embedded(), tmp_path_factory.mktemp("second")
    artifact = build_tiny_artifact(folder / "tiny-2", "tiny-2", seed=2)
    earlier = write_labelled(folder / "earlier.fasta", 160, test=60, seed=3)
    for command in (
        ("models", "add", artifact, "--yes"),
        ("labels", "add", earlier),
        ("retrain", "--version", "mine-1", "--set", "epochs=1"),
    ):
        done = embedded.protloc(*command)
        assert done.exit_code == 0, done.output
    return embedded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands name."""
    folder = tmp_path_factory.mktemp("own")
    sample = SAMPLE.read_bytes()
    for name in ("proteome.fasta", "proteome.faa", "second.faa", "my_proteins.fasta"):
        (folder / name).write_bytes(sample)
    (folder / "proteome.faa.gz").write_bytes(gzip.compress(sample))
    write_labelled(folder / "mine.fasta", 200, test=60)
    (folder / "events").symlink_to(ROOT / "events")
    (folder / ".curlrc").write_text("fail-with-body\n")  # where the server does not answer 2xx
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return folder


def with_names(command: str) -> str:
    """A command with names that there are, where the documentation has words in capitals."""
    names = {"UPLOAD": "latest", "A": "tiny-1", "B": "tiny-2"}
    return re.sub(r"(?<![\w$-])(UPLOAD|A|B)(?![\w=-])", lambda match: names[match[1]], command)


@pytest.mark.parametrize(("block", "commands"), HERE, ids=[block.place for block, _ in HERE])
def test_a_block_of_commands_ends_well(
    cloud: Embedded, folder: Path, block: Block, commands: list[str]
) -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "PROTLOC_HOME": str(cloud.home),
        "PROTLOC_CLOUD_OWNER": os.environ["PROTLOC_CLOUD_OWNER"],
        "PROTLOC_MODEL_SERVERS": "1",
        "OMP_NUM_THREADS": "1",
    }
    script = "\n".join(
        f"printf '+ %s\\n' {shlex.quote(command)} >&2\n{with_names(command)}" for command in commands
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * LIMIT_SECONDS,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{block.place}\n{done.stderr[-4000:]}"


def test_there_are_commands_to_run() -> None:
    assert {block.document for block, _ in HERE} >= {
        *("README.md", "docs/biologist.md", "docs/bioinformatician.md", "docs/retraining.md")
    }
