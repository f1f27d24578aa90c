"""Fixtures of the command line's and the whole flow's suites: one cloud, made ready once."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.handlers
import botocore.loaders
import hypothesis
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from click.testing import CliRunner, Result
from hypothesis.internal.conjecture import providers
from xdist.scheduler import LoadFileScheduling

# Two processes of tests share the cores with what they start; read when torch is imported, here and there.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long a case takes depends on what else the machine does, so there is no deadline. The same cases in each run,
# so that a run is red for what was changed and nothing else; `pytest --hypothesis-profile explore` looks for others.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("repeatable")
# Nor do the cases depend on which modules a worker happens to have imported, whose constants would be drawn.
providers._get_local_constants = lambda: providers._local_constants

# A server more of each model is the import of PyTorch once more; `tests/cloud` has as many as there are cores.
os.environ.setdefault("PROTLOC_MODEL_SERVERS", "1")

os.environ.pop("COLUMNS", None)  # pytest-xdist gives its workers a terminal's width

# However this process ends, its clouds end with it; with pytest-xdist each worker is a process that reads this.
os.environ["PROTLOC_CLOUD_OWNER"] = str(os.getpid())

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "events" / "sample.fasta"
WAITING = {"protloc", "cloud", "end_to_end"}  # folders of tests that mostly wait for a cloud
SHARING_ONE = {"hostile"}  # folders whose tests all look at one world
SHARING_NOTHING = {"functions", "retraining", "simulation"}  # folders of tests that each make their own world


def pytest_configure() -> None:
    """Check requests to moto, and have SIGTERM end the run as Ctrl-C does: what the fixtures hold is given back."""

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # asked again, as `timeout` does, the end is not cut short
        pytest.exit("ended by SIGTERM", returncode=128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
    # Once a process, not once a session: what a client reads of its service takes longer than most tests.
    botocore.loaders.JSONFileLoader.load_file = cache_files(botocore.loaders.JSONFileLoader.load_file)
    # Last, since boto3's resources write their parameters in another form until then.
    hook = ("before-parameter-build", refuse_what_services_refuse, botocore.handlers.REGISTER_LAST)
    botocore.handlers.BUILTIN_HANDLERS.append(hook)
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep the garbage collector from the objects that the imports have left, which it would visit again and again."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def cache_files(load: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Wrap botocore's reader of its JSON files; sessions share what they read, as the clients of one do.

    But for the model of S3, of which a client takes the bucket out of every path:
    https://github.com/boto/botocore/blob/develop/botocore/handlers.py (remove_bucket_from_url_paths_from_model)
    """

    @cache
    def read(path: str) -> Any:
        return load(botocore.loaders.JSONFileLoader(), path)

    return lambda loader, path: load(loader, path) if "/s3" in path else read(path)


@dataclass(frozen=True)
class Embedded:
    """A cloud with the project's stack and a model in service, and the command line pointed at it."""

    home: Path
    client: Any  # protloc.stack.client.Client

    def protloc(self, *arguments: object, stdin: bytes | None = None, **environment: str) -> Result:
        """Run a command in this process; as on a pipe, nothing is a terminal."""
        from protloc.cli.main import main

        environment = {"PROTLOC_HOME": str(self.home), **environment}
        return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin, env=environment)

    def answer(self, *arguments: object, stdin: bytes | None = None) -> dict[str, Any]:
        """The JSON object of a command that ends well."""
        result = self.protloc(*arguments, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def rows(self, upload: str) -> list[dict[str, Any]]:
        """The rows of an upload, as JSON Lines hold them."""
        result = self.protloc("results", upload, "--format", "jsonl", "--output", "-")
        return [json.loads(line) for line in result.stdout.splitlines()]


def from_tsv(text: str, delimiter: str = "\t") -> list[dict[str, str]]:
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting))


def refuse_what_services_refuse(params: dict[str, Any], model: OperationModel, **_: Any) -> None:
    """Check a request against its service's model before moto answers, which takes much that the service would not."""
    mocks = sys.modules.get("moto.core.models")
    if mocks is None or not mocks.botocore_stubber.enabled:
        return
    from protloc.cloud.contracts import front_door, validation

    if problems := validation.violations(model, params):
        code, message = front_door.coded(model, problems)
        raise ClientError({"Error": {"Code": code, "Message": message}}, model.name)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Keeps each file, or folder, in the worker that makes what its tests share; the rest fills up the workers."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        if folder in SHARING_ONE:
            return folder
        return nodeid if folder in SHARING_NOTHING else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Share the tests out in their order."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep binary values out of the names of tests.

    A gzip file holds the second it was written in, so that two workers would not collect the same tests.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return f"{argname} of {len(val)} bytes"
    return None


def make_ids_unique(items: list[pytest.Item]) -> None:
    """Number the tests that share an id, as schemathesis's do: pytest-xdist would run one of them alone."""
    shared = {nodeid for nodeid, times in Counter(item.nodeid for item in items).items() if times > 1}
    for number, item in enumerate(item for item in items if item.nodeid in shared):
        item._id = item.id.parse(f"{item.nodeid}[{number}]")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, in the random order it has: what is short fills up the end."""
    make_ids_unique(items)
    own_cloud = {item.path for item in items if "start_embedded" in getattr(item, "fixturenames", ())}

    def turn(item: pytest.Item) -> tuple[bool, bool, bool]:
        folders = set(item.nodeid.partition("::")[0].split("/"))
        return item.path not in own_cloud, not WAITING & folders, bool(SHARING_NOTHING & folders)

    items.sort(key=turn)


# The models of tests wait at gates that lie outside their folders; `test_confined` takes this away.
os.environ["PROTLOC_MODEL_FOLDERS"] = tempfile.gettempdir()


@contextmanager
def embedded_clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Embedded]]:
    """Within, makes clouds; afterwards they are gone."""
    from protloc.cloud import lifecycle
    from protloc.embedded import ready
    from tests.model.tiny import build_tiny_artifact

    homes = []

    def start(model: Path | None = None) -> Embedded:
        home = tmp_path_factory.mktemp("home")
        homes.append(home)
        model = model or build_tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny-1")
        return Embedded(home, ready(home, lambda _: None, model=model))

    try:
        yield start
    finally:
        for home in homes:
            lifecycle.down(home, erase=True)


@pytest.fixture(scope="module")
def start_embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Embedded]]:
    """Makes clouds for the tests of one file, which end with it: idle ones take time from the others."""
    with embedded_clouds(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The cloud that tests share; a test that breaks it makes a cloud of its own."""
    with embedded_clouds(tmp_path_factory) as start:
        yield start()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results go into the current folder unless said otherwise: that must not be the project's."""
    if request.node.nodeid.split("/")[1] in ("protloc", "end_to_end"):
        monkeypatch.chdir(tmp_path)
