"""What the suites of the command line and of the whole flow share: one cloud, made ready once."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.handlers
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from click.testing import CliRunner, Result

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "events" / "sample.fasta"


@dataclass(frozen=True)
class Embedded:
    """A cloud with the project's stack and a model in service, and the command line pointed at it."""

    home: Path
    client: Any  # protloc.client.Client

    def protloc(self, *arguments: object, stdin: bytes | None = None, **environment: str) -> Result:
        """Run a command in this process; as on a pipe, nothing is a terminal."""
        from protloc.cli import main

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
    """Where moto answers, the service's model does first: moto takes much that the service would not."""
    mocks = sys.modules.get("moto.core.models")
    if mocks is None or not mocks.botocore_stubber.enabled:
        return
    from protloc.cloud import front_door, validation

    if found := validation.violations(model, params):
        code, message = front_door.coded(model, found)
        raise ClientError({"Error": {"Code": code, "Message": message}}, model.name)


def pytest_configure() -> None:
    # Last, since boto3's resources write their parameters in another form until then.
    hook = ("before-parameter-build", refuse_what_services_refuse, botocore.handlers.REGISTER_LAST)
    botocore.handlers.BUILTIN_HANDLERS.append(hook)


@pytest.fixture(scope="session")
def start_embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Embedded]]:
    """Makes clouds of their own, and ends them all when the tests are over."""
    from protloc.cloud import lifecycle
    from protloc.embedded import ready
    from tests.model.tiny import build_tiny_artifact

    homes = []

    def start(model: Path | None = None) -> Embedded:
        home = tmp_path_factory.mktemp("home")
        homes.append(home)
        model = model or build_tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny-1")
        return Embedded(home, ready(home, lambda _: None, model=model))

    yield start
    for home in homes:
        lifecycle.down(home, erase=True)


@pytest.fixture(scope="session")
def embedded(start_embedded: Callable[..., Embedded]) -> Embedded:
    """The cloud that tests share; whoever breaks it makes a cloud of its own."""
    return start_embedded()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results go into the current folder unless said otherwise: that must not be the project's."""
    if "cli" in request.path.parts or "end_to_end" in request.path.parts:
        monkeypatch.chdir(tmp_path)
